"""Reading and checking request bodies; every mistake is an `ApiError` as OpenAI words it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.provider.wire import ApiError

LEGACY_MAX_TOKENS = 16  # default of /v1/completions
MAX_CHOICES = 128


def read_body(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"We could not parse the JSON body of your request: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(400, "The JSON body of your request must be an object.")
    return body


def read_model(body: Mapping[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "you must provide a model parameter", param="model")
    return name


def read_messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        raise ApiError(400, "Missing required parameter: 'messages'.", "missing_required_parameter", param="messages")
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and "role" in message for message in messages
    ):
        raise ApiError(
            400, "Invalid type for 'messages': expected an array of messages.", "invalid_type", param="messages"
        )
    if not messages:
        raise ApiError(400, "Invalid 'messages': empty array.", "empty_array", param="messages")
    return messages


def read_prompts(body: Mapping[str, Any]) -> list[str]:
    """Prompts of `/completions` or inputs of `/embeddings`: a string, strings, or token numbers (told apart only)."""
    found = body.get("prompt") if "prompt" in body else body.get("input")
    if isinstance(found, str):
        return [found]
    if isinstance(found, list) and found:
        if all(isinstance(item, str) for item in found):
            return list(found)
        if all(isinstance(item, int) for item in found):
            return [" ".join(map(str, found))]
        if all(isinstance(item, list) for item in found):
            return [" ".join(map(str, item)) for item in found]
    raise ApiError(400, "Missing or invalid 'prompt' or 'input': give a string or an array of strings.", "invalid_type")


def read_count(body: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    """A positive whole number; None: not given."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ApiError(400, f"Invalid type for '{name}': expected an integer.", "invalid_type", param=name)
    if value < 1 or (most is not None and value > most):
        raise ApiError(
            400, f"Invalid '{name}': must be at least 1{f' and at most {most}' if most else ''}.", param=name
        )
    return value
