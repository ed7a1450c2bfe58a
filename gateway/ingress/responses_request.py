"""OpenAI's Responses API → the chat request that asks the same (pure). What chat cannot say is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.chat import Json
from gateway.errors import InvalidRequest

OUR_ID = "resp_ocho"  # how the ids of responses made here begin
_SAME = ("temperature", "top_p", "user", "service_tier", "safety_identifier", "prompt_cache_key")
_READ = frozenset({*_SAME, "model", "input", "instructions", "stream", "max_output_tokens", "metadata", "text",
                   "reasoning", "include", "tools", "truncation"})  # fmt: skip
# They change nothing: nothing is kept, there are no tools, streams are not obfuscated, the prompt cache is another's.
_IDLE = frozenset({"store", "stream_options", "tool_choice", "parallel_tool_calls", "max_tool_calls",
                   "prompt_cache_retention"})  # fmt: skip
_STATELESS = "no response is kept here to be gone on from: send the whole conversation as input"
_HINTS = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "background": "responses are made while the caller waits; leave background out",
    "prompt": "prompts kept at the provider cannot be read here: send their text as instructions and input",
    "top_logprobs": "log-probabilities are given at /v1/chat/completions",
}
_ROLES = ("user", "assistant", "system", "developer")
_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}  # type of part → its field with words


def previous_is_ours(body: Json) -> bool:
    """The request goes on from a response that was made here, and that nobody kept."""
    return str(body.get("previous_response_id") or "").startswith(OUR_ID)


def chat_body(body: Json) -> dict[str, Any]:
    """The body of the chat completion that asks the same. Documents were taken out of the tools. Raises
    InvalidRequest."""
    _refuse_what_is_not_read(body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise InvalidRequest("stream must be true or false", param="stream")
    chat: dict[str, Any] = {"model": body.get("model"), "messages": _messages(body), "stream": bool(stream)}
    chat |= {name: body[name] for name in _SAME if body.get(name) is not None}
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if effort := _object(body, "reasoning", ("effort",)).get("effort"):
        chat["reasoning_effort"] = effort
    text = _object(body, "text", ("format", "verbosity"))
    if text.get("verbosity") is not None:
        chat["verbosity"] = text["verbosity"]
    if (form := _response_format(text.get("format"))) is not None:
        chat["response_format"] = form
    return chat


def _refuse_what_is_not_read(body: Json) -> None:
    for name, value in body.items():
        if name not in _READ and name not in _IDLE and value not in (None, False):
            raise _unsupported(_HINTS.get(name, "it means nothing to this model's answers here; leave it out"), name)
    if body.get("tools"):
        raise _unsupported(
            "of the tools only file_search over vector stores kept here works; functions do at /v1/chat/completions",
            "tools",
        )
    if body.get("truncation") not in (None, "disabled"):
        raise _unsupported("nothing of the input is dropped: shorten it yourself", "truncation")
    include = body.get("include") or ()
    if not isinstance(include, list | tuple) or "message.output_text.logprobs" in include:
        raise _unsupported(_HINTS["top_logprobs"], "include")
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidRequest("metadata must be an object of texts", param="metadata")


def _messages(body: Json) -> list[dict[str, Any]]:
    given, instructions = body.get("input"), body.get("instructions")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise InvalidRequest("input must be a text or a list with at least one message", param="input")
    messages = [_message(item, f"input[{index}]") for index, item in enumerate(given) if not _is_search(item)]
    if not messages:
        raise InvalidRequest("input has no message", param="input")
    if instructions is None:
        return messages
    if not isinstance(instructions, str):
        raise InvalidRequest("instructions must be a text", param="instructions")
    return [{"role": "system", "content": instructions}, *messages]


def _is_search(item: Any) -> bool:
    """An earlier search of ours, sent back with the conversation: each question is searched for anew."""
    return isinstance(item, Mapping) and item.get("type") == "file_search_call"


def _message(item: Any, param: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise InvalidRequest("an input item must be an object", param=param)
    if (kind := item.get("type") or "message") != "message":
        raise _unsupported(f"input can only be messages, not {str(kind)[:40]!r}", f"{param}.type")
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise InvalidRequest(f"the role must be one of {', '.join(_ROLES)}", param=f"{param}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list) or not content:
        raise InvalidRequest("content must be a text or a list of parts", param=f"{param}.content")
    texts = [_text(part, f"{param}.content[{number}]") for number, part in enumerate(content)]
    if len(texts) == 1:
        return {"role": role, "content": texts[0]}
    return {"role": role, "content": [{"type": "text", "text": text} for text in texts]}


def _text(part: Any, param: str) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise _unsupported(f"a part must be input_text or output_text, found {str(kind)[:40]!r}", f"{param}.type")
    text = part.get(_TEXTS[kind])
    if not isinstance(text, str):
        raise InvalidRequest("the part has no text", param=f"{param}.{_TEXTS[kind]}")
    return text


def _response_format(given: Any) -> dict[str, Any] | None:
    """``text.format`` as chat's ``response_format``, which holds a schema one level deeper."""
    if given is None or given == {"type": "text"}:
        return None
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise _unsupported("the format must be text, json_object or json_schema", "text.format.type")
    return {"type": "json_schema", "json_schema": {name: value for name, value in given.items() if name != "type"}}


def _object(body: Json, name: str, known: tuple[str, ...]) -> Json:
    given = body.get(name)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"{name} must be an object", param=name)
    for field, value in given.items():
        if field not in known and value is not None:
            raise _unsupported(f"of {name} only {' and '.join(known)} can be set here", f"{name}.{field}")
    return given


def _unsupported(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_parameter")
