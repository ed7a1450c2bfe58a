"""Small values for the cache tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.cache.keys import Keys, Sharing, cache_keys
from gateway.chat import Answer, CacheEntry, CacheKey, ChatRequest, Evidence, Message, Passage, Scope, Tenant, Usage
from gateway.ports import Vector

SECRET = b"a server secret that is longer than the sixty-four bytes blake2b would take as a key"


class Wall:
    """A clock that tests move."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def message(role: str, content: Any, **more: Any) -> Message:
    text = content if isinstance(content, str) else "\n".join(p.get("text", "") for p in content or ())
    plain = isinstance(content, str) or all(part.get("type") == "text" for part in content or ())
    return Message(role, text, plain, {"role": role, "content": content, **more})


def ask(question: Any = "연차는 며칠인가요?", *earlier: Message, model: str = "handbook", **fields: Any) -> ChatRequest:
    messages = (*earlier, message("user", question))
    body = {"model": model, "messages": [m.raw for m in messages], **fields}
    return ChatRequest(model, messages, bool(fields.get("stream")), False, body)


def sharing(**changes: Any) -> Sharing:
    facts: dict[str, Any] = {
        "answers_with": "gpt-4o",
        "share": "tenant",
        "key_id": "k1",
        "groups": frozenset(),
        "collections": (),
        "embedder": "e5",
        "prompt_version": "1",
        "namespace": "",
    }
    return Sharing(**{**facts, **changes})


def keys_of(request: ChatRequest, tenant: str = "acme", secret: bytes = SECRET, **changes: Any) -> Keys:
    return cache_keys(secret, Tenant(tenant), request, sharing(**changes))


def answer(text: str = "15일입니다.", finish_reason: str = "stop", **message_fields: Any) -> Answer:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message_fields},
        "finish_reason": finish_reason,
    }
    return Answer((choice,), "gpt-4o-2024-11-20", Usage(10, 5, {"prompt_tokens": 10, "completion_tokens": 5}))


def passage(document: str = "leave.md", version: str = "v1", position: int = 0, score: float = 1.0) -> Passage:
    return Passage("hr", document, version, position, "휴가 규정", "연차", "연차는 15일이다.", score)


def evidence(*passages: Passage, epoch: str = "e1", partial: bool = False) -> Evidence:
    return Evidence(tuple(passages), epoch, partial)


def key(digest: str = "ab12", scope: str = "5c", tenant: str = "acme") -> CacheKey:
    return CacheKey(Scope(tenant, scope), digest)


def entry(under: CacheKey | None = None, text: str = "15일입니다.", **changes: Any) -> CacheEntry:
    fields: dict[str, Any] = {
        "key": under or key(),
        "question": "연차는 며칠인가요?",
        "answer": answer(text),
        "requested_model": "handbook",
        "created_at": 1_700_000_000.0,
        "ttl_s": 3_600.0,
    }
    return CacheEntry(**{**fields, **changes})


def unit(*numbers: float) -> Vector:
    vector = np.asarray(numbers, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


class Record:
    """A DocumentRecord that tests write."""

    def __init__(self, versions: Mapping[str, str] | None = None, epoch: str = "e1") -> None:
        self.current = dict(versions or {})
        self.now = epoch

    def epoch(self, collections: Sequence[str]) -> str:
        return self.now

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        return {document: self.current[document] for document in documents if document in self.current}

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        return all(document in self.current for document in documents)
