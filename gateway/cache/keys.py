"""What must agree before two requests may share one answer. Pure.

The *scope* is a keyed hash over everything that can change an answer except the words of the last user message:
who may see it, which model and documents answer, every other field of the body, every earlier message. The exact
key adds those words. Questions are compared by meaning only inside one scope.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any, Literal

import orjson

from gateway.cache.language import language
from gateway.chat import CacheKey, ChatRequest, Message, Scope, Tenant
from gateway.defaults import is_default
from gateway.values import dataclass

SCHEMA = 1  # of scope and entries; another number starts an empty cache
MAX_TEMPERATURE = 1.0  # above it a caller wants variety, not the same answer again
LONG_QUESTION = 400  # characters; a longer text is a task with material in it, and slow to embed
DIGEST_BYTES = 20

# Fields that cannot change what is answered. "model" is represented by the names in Sharing and ChatRequest.
NEUTRAL = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "ocho",
    ]
)
# Fields whose effect is understood: they are part of the scope, and within it meaning may be compared.
UNDERSTOOD = frozenset(
    [
        "temperature",
        "top_p",
        "seed",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "n",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "logprobs",
        "top_logprobs",
        "modalities",
    ]
)
# Of these the default is the same at every provider: with it a request is the same as without. Of others it is not:
# penalties and stop words may stand in a model file, as Ollama's do.
SAME_DEFAULT = frozenset(["n", "logprobs", "response_format", "modalities", "logit_bias", "tools", "functions"])
NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")  # 0 and 0.0 are one wish


@dataclass(frozen=True, slots=True)
class Sharing:
    """Facts about the model a request goes to that decide who may share its answers, and are not in the request."""

    answers_with: str  # model that answers
    share: Literal["key", "tenant", "all"]
    key_id: str
    groups: frozenset[str]  # document access groups of the caller
    collections: tuple[str, ...]
    embedder: str
    prompt_version: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the answer to one request is kept, and whether another wording may find it."""

    exact: CacheKey
    semantic: bool
    reason: str = ""  # why meaning must not be used; "" where it may
    generation: int = 0  # of the store when the request began

    @property
    def scope(self) -> Scope:
        return self.exact.scope


def cache_keys(secret: bytes, tenant: Tenant, request: ChatRequest, sharing: Sharing) -> Keys:
    """The request's place in the cache under the server's ``secret``. Never raises on any JSON body."""
    last = request.messages[-1] if request.messages else None
    words, frame = _take_words(last) if last is not None else ([], None)
    owner = {"key": [tenant.id, sharing.key_id], "tenant": [tenant.id], "all": []}[sharing.share]
    facts = {
        "schema": SCHEMA,
        "share": sharing.share,
        "owner": owner,
        "groups": sorted(tenant.groups | sharing.groups),
        "requested_model": request.requested_model,
        "answers_with": sharing.answers_with,
        "collections": list(sharing.collections),
        "embedder": sharing.embedder,
        "prompt_version": sharing.prompt_version,
        "namespace": sharing.namespace,
        "fields": _fields(request.body),
        "earlier": [_plain_content(message.raw) for message in request.messages[:-1]],
        "last": frame,
        "language": language(request.question),
    }
    tenant_id = "*" if sharing.share == "all" else tenant.id
    scope = Scope(tenant_id, _digest(secret, b"scope", facts))
    exact = CacheKey(scope, _digest(secret, b"exact", [scope.tenant_id, scope.digest, words]))
    reason = _why_not_by_meaning(request)
    return Keys(exact, not reason, reason)


def canonical(value: Any) -> bytes:
    """One byte string per JSON value: sorted keys, Unicode NFC.

    Normalising the serialised text is the same as normalising each string: no structural character of JSON takes
    part in any canonical composition.
    """
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return text if text.isascii() else unicodedata.normalize("NFC", text.decode()).encode()


def _digest(secret: bytes, purpose: bytes, value: Any) -> str:
    return blake2b(
        canonical(value), key=_short(secret), digest_size=DIGEST_BYTES, person=b"ocho-" + purpose
    ).hexdigest()


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Every field that can change the answer. ``null`` in a field we understand is the same as its absence."""
    fields = {name: value for name, value in body.items() if name not in NEUTRAL and not _says_nothing(name, value)}
    for name in NUMBERS:
        if isinstance(fields.get(name), int):
            fields[name] = float(fields[name])
    return fields


def _says_nothing(name: str, value: Any) -> bool:
    return (value is None and name in UNDERSTOOD) or (name in SAME_DEFAULT and is_default(name, value))


def _take_words(message: Message) -> tuple[list[str], Mapping[str, Any]]:
    """Split a message into its texts and everything else about it."""
    raw = _plain_content(message.raw)
    content = raw.get("content")
    if isinstance(content, str):
        return [content], {**raw, "content": ""}
    if not isinstance(content, list):
        return [], raw
    words = []
    parts = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            words.append(part["text"])
            part = {**part, "text": ""}
        parts.append(part)
    return words, {**raw, "content": parts}


def _plain_content(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """``raw`` with a content of one bare text part written as the string it stands for."""
    content = raw.get("content")
    if isinstance(content, list) and len(content) == 1:
        part = content[0]
        if isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text":
            return {**raw, "content": part["text"]}
    return raw


def _why_not_by_meaning(request: ChatRequest) -> str:
    body = request.body
    if not request.question.strip():
        return "no question"
    if len(request.question) > LONG_QUESTION:
        return "long question"
    if not request.messages[-1].plain:
        return "image"
    if not all(message.plain for message in request.messages[:-1]):
        return "history"
    for name, value in body.items():
        if name not in NEUTRAL and name not in UNDERSTOOD and value is not None:
            return f"unknown field {name[:40]}"
    return _why_not_by_fields(body)


def _why_not_by_fields(body: Mapping[str, Any]) -> str:
    if (body.get("tools") or body.get("functions")) and body.get("tool_choice") != "none":
        return "tools"
    if body.get("n") not in (None, 1):
        return "n"
    if body.get("logprobs") or body.get("top_logprobs"):
        return "logprobs"
    if body.get("modalities") not in (None, ["text"]):
        return "modalities"
    temperature = body.get("temperature")
    if temperature is not None and not (isinstance(temperature, int | float) and temperature <= MAX_TEMPERATURE):
        return "temperature"
    return ""


@lru_cache(maxsize=8)
def _short(secret: bytes) -> bytes:
    """blake2b takes at most 64 bytes of key."""
    return sha256(secret).digest()


def framed(*parts: str | bytes) -> bytes:
    """Parts joined so that no other parts give the same bytes: each carries its length."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in map(_bytes, parts))


def _bytes(part: str | bytes) -> bytes:
    return part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part


def mac(secret: bytes, purpose: bytes, parts: Sequence[str | bytes]) -> bytes:
    """16 bytes that only a holder of ``secret`` can make for exactly these parts."""
    return blake2b(framed(*parts), key=_short(secret), digest_size=16, person=b"ocho-" + purpose).digest()
