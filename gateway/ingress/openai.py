"""OpenAI wire JSON ⇄ our nouns (pure)."""

from __future__ import annotations

import random
import time
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.chat import Answer, ChatRequest, Json, Message
from gateway.errors import InvalidRequest

MAX_DEPTH = 64


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises InvalidRequest."""
    if not body:
        raise InvalidRequest("the request has no body; send a JSON object", code="invalid_json")
    try:
        parsed = orjson.loads(body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as cause:
        raise InvalidRequest(f"the body is not valid JSON: {cause}", code="invalid_json") from cause
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    if _opens_often(body) and _depth(parsed) > MAX_DEPTH:
        raise InvalidRequest(f"the body is nested more than {MAX_DEPTH} levels deep", code="invalid_json")
    return parsed


def model_of(body: Json, path_model: str | None = None) -> str:
    """The model asked for: Azure's path names it, else the body must."""
    model = path_model or body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("you must give a model, as a string", param="model", code="missing_model")
    if len(model) > 256 or not model.isprintable() or model in {".", ".."}:
        raise InvalidRequest("the model's name is not a name", param="model")
    return model


def check_chat(body: Json) -> None:
    """Raises InvalidRequest. Only what we read is checked; the rest is the provider's business."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list with at least one message", param="messages")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("stream must be true or false", param="stream")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequest("stream_options must be an object", param="stream_options")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequest("a message must be an object", param=f"messages[{index}]")
        if not isinstance(message.get("role"), str):
            raise InvalidRequest("a message needs a role, as a string", param=f"messages[{index}].role")
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            _check_parts(content, f"messages[{index}].content")


def _check_parts(content: Any, param: str) -> None:
    if not isinstance(content, list):
        raise InvalidRequest("content must be a string or a list of parts", param=param)
    for number, part in enumerate(content):
        if not isinstance(part, dict):
            raise InvalidRequest("a content part must be an object", param=f"{param}[{number}]")


def parse_chat(body: Json) -> ChatRequest:
    """The request in a body. Raises InvalidRequest."""
    model = model_of(body)
    check_chat(body)
    return chat_request(body, model)


def chat_request(body: Json, model: str) -> ChatRequest:
    """The request in a body that was checked."""
    return ChatRequest(
        requested_model=model,
        messages=tuple(map(_message, body["messages"])),
        stream=bool(body.get("stream")),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        body={**body, "model": model},
    )


def _message(raw: Json) -> Message:
    """Of a checked body."""
    role, content = raw["role"], raw.get("content")
    bare = all(name in {"role", "content"} or value is None or value == [] for name, value in raw.items())
    if content is None:
        return Message(role, "", False, raw)
    if isinstance(content, str):
        return Message(role, content, bare, raw)
    texts = [part["text"] for part in content if part.get("type") == "text" and isinstance(part.get("text"), str)]
    plain = bare and len(texts) == len(content) and all(p.keys() == {"type", "text"} for p in content)
    return Message(role, "\n".join(texts), plain, raw)


def completion(answer: Answer, answer_id: str, context: Json | None) -> dict[str, Any]:
    """A ``chat.completion`` object. ``context``: citations, where Azure OpenAI On Your Data puts them."""
    choices = list(answer.choices)
    if context is not None and choices:
        first = dict(choices[0])
        first["message"] = {**first.get("message", {}), "context": context}
        choices[0] = first
    body: dict[str, Any] = {
        "id": answer_id or new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answer.model,
        "choices": choices,
        **answer.extras,
    }
    if answer.usage is not None:
        body["usage"] = answer.usage.raw
    return body


def chunk(model: str, answer_id: str, delta: Json) -> dict[str, Any]:
    """A ``chat.completion.chunk`` made here."""
    return {
        "id": answer_id or new_id(),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
    }


def usage_chunk(answer: Answer, answer_id: str) -> dict[str, Any]:
    made = chunk(answer.model, answer_id, {})
    return made | {"choices": [], "usage": answer.usage.raw if answer.usage is not None else None}


def models(names: Sequence[str], created: int) -> dict[str, Any]:
    return {"object": "list", "data": [model(name, created) for name in names]}


def model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "ocho"}


def new_id() -> str:
    return f"chatcmpl-{random.getrandbits(128):032x}"


def _opens_often(body: bytes) -> bool:
    """Whether there are enough brackets in it to be nested too deep. A few ``find`` are quicker than one ``count``."""
    found = 0
    for opener in (b"[", b"{"):
        at = body.find(opener)
        while at >= 0 and found <= MAX_DEPTH:
            found += 1
            at = body.find(opener, at + 1)
    return found > MAX_DEPTH


def _depth(value: Any) -> int:
    deepest = 0
    layer: list[Any] = [value]
    while layer:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
            if isinstance(inner, dict | list)
        ]
    return deepest
