"""Cache entries as bytes that cannot be forged: version, 16 bytes of keyed blake2b over key and payload, payload.

Whoever can write to the store but does not hold the secret can at worst cause a miss.
"""

from __future__ import annotations

import hmac
from typing import Any

import orjson

from gateway.cache.keys import mac
from gateway.chat import Answer, CacheEntry, CacheKey, Passage, Scope, Usage

VERSION = b"\x01"
_HEAD = 1 + 16


def encode(secret: bytes, entry: CacheEntry) -> bytes:
    payload = dump(entry)
    return VERSION + _seal(secret, entry.key, payload) + payload


def decode(secret: bytes, key: CacheKey, data: bytes) -> CacheEntry | None:
    """The entry kept under ``key``; damaged, foreign, planted or outdated bytes are ``None``."""
    if len(data) <= _HEAD or data[:1] != VERSION:
        return None
    payload = data[_HEAD:]
    if not hmac.compare_digest(data[1:_HEAD], _seal(secret, key, payload)):
        return None
    try:
        return _load(key, orjson.loads(payload))
    except (ValueError, TypeError, KeyError):
        return None


def decode_any(secret: bytes, digest: str, id: str, data: bytes) -> CacheEntry | None:
    """As ``decode`` where only the store's own key is known (listing, purging): the tenant is read, then proven."""
    try:
        tenant_id = orjson.loads(data[_HEAD:])["tenant"]
    except (ValueError, TypeError, KeyError):
        return None
    return decode(secret, CacheKey(Scope(str(tenant_id), digest), id), data)


def dump(entry: CacheEntry) -> bytes:
    """The payload alone; its length is the entry's size."""
    answer = entry.answer
    fields: dict[str, Any] = {
        "tenant": entry.key.scope.tenant_id,
        "question": entry.question,
        "choices": answer.choices,
        "model": answer.model,
        "usage": answer.usage,
        "extras": answer.extras,
        "requested_model": entry.requested_model,
        "created_at": entry.created_at,
        "ttl_s": entry.ttl_s,
        "evidence": entry.evidence,
        "citations": entry.citations,
        "dependencies": entry.dependencies,
        "epoch": entry.epoch,
        "tags": entry.tags,
        "namespace": entry.namespace,
        "generation": entry.generation,
        "took_s": entry.took_s,
    }
    if entry.alias_of:
        fields["alias_of"] = entry.alias_of
    return orjson.dumps(fields, default=dict)


def _seal(secret: bytes, key: CacheKey, payload: bytes) -> bytes:
    return mac(secret, b"entry", (VERSION, key.scope.tenant_id, key.scope.digest, key.digest, payload))


def _load(key: CacheKey, fields: dict[str, Any]) -> CacheEntry:
    usage = fields["usage"]
    return CacheEntry(
        key=key,
        question=str(fields["question"]),
        answer=Answer(
            choices=tuple(fields["choices"]),
            model=str(fields["model"]),
            usage=Usage(**usage) if usage is not None else None,
            extras=dict(fields["extras"]),
        ),
        requested_model=str(fields["requested_model"]),
        created_at=float(fields["created_at"]),
        ttl_s=float(fields["ttl_s"]),
        evidence=tuple(fields["evidence"]),
        citations=tuple(Passage(**passage) for passage in fields["citations"]),
        dependencies=dict(fields["dependencies"]),
        epoch=str(fields["epoch"]),
        tags=tuple(fields["tags"]),
        namespace=str(fields["namespace"]),
        generation=int(fields.get("generation", 0)),
        took_s=float(fields.get("took_s", 0.0)),
        alias_of=str(fields.get("alias_of", "")),
    )
