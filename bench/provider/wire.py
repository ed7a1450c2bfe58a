"""JSON shapes of the OpenAI and Azure OpenAI APIs (pure). Field for field as the services answer, seen 2023 to 2025."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import orjson

from bench.provider.generation import Choice
from bench.provider.logprobs import TokenLogprob

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"
_SAFE = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_FILTER = [{"prompt_index": 0, "content_filter_results": _SAFE}]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all JSON objects of one answer share."""

    id: str  # without its prefix
    created: int  # Unix seconds
    model: str
    azure: bool  # classic Azure paths add content filter results
    include_usage: bool  # stream_options.include_usage
    usage: Json

    def around(self, prefix: str, kind: str, choices: list[Json], **more: Any) -> Json:
        head = {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}
        return {**head, "system_fingerprint": "fp_ocho_bench", "choices": choices, **more}


class Wire(Protocol):
    """Chat completions and legacy completions differ in shape only."""

    def reply(self, envelope: Envelope, choices: Sequence[Choice]) -> Json:
        """The whole answer of a request without `stream`."""

    def opening(self, envelope: Envelope, index: int, choice: Choice) -> list[Json]:
        """Chunks before a choice's first token."""

    def piece(self, envelope: Envelope, index: int, choice: Choice, position: int) -> Json:
        """The chunk of one token."""

    def closing(self, envelope: Envelope, index: int, choice: Choice) -> Json:
        """The chunk with the finish reason."""

    def ending(self, envelope: Envelope) -> Json:
        """The chunk with usage and no choices."""


class ChatWire:
    """`/chat/completions`."""

    def reply(self, envelope: Envelope, choices: Sequence[Choice]) -> Json:
        written = [self._whole(envelope, index, choice) for index, choice in enumerate(choices)]
        more = {"prompt_filter_results": _PROMPT_FILTER} if envelope.azure else {}
        return envelope.around("chatcmpl", "chat.completion", written, usage=envelope.usage, **more)

    def opening(self, envelope: Envelope, index: int, choice: Choice) -> list[Json]:
        if call := choice.tool_call:
            function = {"name": call.name, "arguments": ""}
            tool = {"index": 0, "id": _call_id(envelope, index), "type": "function", "function": function}
            return [self._chunk(envelope, index, {"role": "assistant", "content": None, "tool_calls": [tool]})]
        return [self._chunk(envelope, index, {"role": "assistant", "content": "", "refusal": None})]

    def piece(self, envelope: Envelope, index: int, choice: Choice, position: int) -> Json:
        token = choice.tokens[position]
        if choice.tool_call:
            return self._chunk(envelope, index, {"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
        logprobs = _chat_logprobs(choice.logprobs[position : position + 1]) if choice.logprobs is not None else None
        return self._chunk(envelope, index, {"content": token}, logprobs)

    def closing(self, envelope: Envelope, index: int, choice: Choice) -> Json:
        return self._chunk(envelope, index, {}, finish=choice.finish_reason)

    def ending(self, envelope: Envelope) -> Json:
        return envelope.around("chatcmpl", "chat.completion.chunk", [], usage=envelope.usage)

    def _chunk(
        self,
        envelope: Envelope,
        index: int,
        delta: Json,
        logprobs: Json | None = None,
        finish: str | None = None,
    ) -> Json:
        choice: Json = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if envelope.azure:
            choice["content_filter_results"] = {} if finish or "role" in delta else _SAFE
        more = {"usage": None} if envelope.include_usage else {}
        return envelope.around("chatcmpl", "chat.completion.chunk", [choice], **more)

    def _whole(self, envelope: Envelope, index: int, choice: Choice) -> Json:
        message: Json = {"role": "assistant", "content": choice.text, "refusal": None, "annotations": []}
        if call := choice.tool_call:
            function = {"name": call.name, "arguments": choice.text}
            tool = {"id": _call_id(envelope, index), "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [tool]}
        logprobs = _chat_logprobs(choice.logprobs) if choice.logprobs is not None else None
        written = {"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}
        return {**written, "content_filter_results": _SAFE} if envelope.azure else written


class TextWire:
    """`/completions`, the legacy endpoint."""

    def reply(self, envelope: Envelope, choices: Sequence[Choice]) -> Json:
        written = [self._choice(i, c.text, _text_logprobs(c, 0, None), c.finish_reason) for i, c in enumerate(choices)]
        return envelope.around("cmpl", "text_completion", written, usage=envelope.usage)

    def opening(self, envelope: Envelope, index: int, choice: Choice) -> list[Json]:
        return []

    def piece(self, envelope: Envelope, index: int, choice: Choice, position: int) -> Json:
        logprobs = _text_logprobs(choice, position, position + 1)
        return self._chunk(envelope, self._choice(index, choice.tokens[position], logprobs, None))

    def closing(self, envelope: Envelope, index: int, choice: Choice) -> Json:
        return self._chunk(envelope, self._choice(index, "", None, choice.finish_reason))

    def ending(self, envelope: Envelope) -> Json:
        return envelope.around("cmpl", "text_completion", [], usage=envelope.usage)

    def _choice(self, index: int, text: str, logprobs: Json | None, finish_reason: str | None) -> Json:
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}

    def _chunk(self, envelope: Envelope, choice: Json) -> Json:
        return envelope.around(
            "cmpl", "text_completion", [choice], **({"usage": None} if envelope.include_usage else {})
        )


def azure_prompt_chunk() -> Json:
    """Azure opens a chat stream with a chunk that has no choices and empty names."""
    empty = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    return {**empty, "prompt_filter_results": _PROMPT_FILTER}


def event(chunk: Json) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int | None) -> Json:
    """``completion_tokens`` None: embeddings, which have none."""
    if completion_tokens is None:
        return {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def embeddings(model: str, vectors: Sequence[str | list[float]], prompt_tokens: int) -> Json:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": model, "usage": usage(prompt_tokens, None)}


def model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1_687_882_411, "owned_by": "ocho-bench"}


def models(names: Sequence[str]) -> Json:
    return {"object": "list", "data": [model(name) for name in names]}


@dataclass
class ApiError(Exception):
    """An error as the services word it. Azure's classic paths use the same shape with fewer fields."""

    status: int
    message: str
    code: str | None = None
    type: str = "invalid_request_error"
    param: str | None = None
    headers: Mapping[str, str] | None = None

    def body(self) -> bytes:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


def _call_id(envelope: Envelope, index: int) -> str:
    return f"call_{envelope.id[:20]}{index:04d}"


def _chat_logprobs(entries: Sequence[TokenLogprob]) -> Json:
    def one(token: str, logprob: float) -> Json:
        return {"token": token, "logprob": round(logprob, 6), "bytes": list(token.encode())}

    content = [{**one(e.token, e.logprob), "top_logprobs": [one(*pair) for pair in e.alternatives]} for e in entries]
    return {"content": content, "refusal": None}


def _text_logprobs(choice: Choice, start: int, stop: int | None) -> Json | None:
    if choice.logprobs is None:
        return None
    entries = choice.logprobs[start:stop]
    offsets = [0, *accumulate(map(len, choice.tokens))][start : start + len(entries)]
    return {
        "tokens": [entry.token for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": [dict(entry.alternatives) for entry in entries],
        "text_offset": offsets,
    }
