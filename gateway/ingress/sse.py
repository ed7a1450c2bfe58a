"""Answer events → server-sent events (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import orjson

from gateway.chat import Answer, ChatRequest, Delta, Json, Opened
from gateway.errors import GatewayError
from gateway.ingress import openai
from gateway.retrieval.grounding import context


class Writer(Protocol):
    """One answer as one API writes it: as a whole, or the frames of a stream."""

    def whole(self, answer: Answer, opened: Opened, answer_id: str) -> Json: ...

    def opened(self, event: Opened) -> bytes: ...

    def delta(self, event: Delta) -> bytes: ...

    def closed(self, answer: Answer, stages: Mapping[str, tuple[float, str]], total_s: float) -> bytes: ...

    def failed(self, error: GatewayError) -> bytes:
        """An error after the first byte; nothing follows it."""


class ChatWriter:
    """Writes one answer as a chat completion. Provider chunks go out byte for byte as they came in."""

    def __init__(self, request: ChatRequest, *, timing: bool) -> None:
        self._question = request.question
        self._include_usage = request.include_usage
        self._timing = timing
        self._id = ""
        self._model = ""
        self._context: Json | None = None

    def whole(self, answer: Answer, opened: Opened, answer_id: str) -> Json:
        return openai.completion(answer, answer_id, self._cited(opened))

    def opened(self, event: Opened) -> bytes:
        self._model, self._context = event.model, self._cited(event)
        return b""

    def delta(self, event: Delta) -> bytes:
        frame = _frame(event.raw)
        if not self._id:
            self._id = str(event.chunk.get("id") or "")
        if self._context is not None:  # Azure On Your Data sends it in a first chunk of its own
            model = str(event.chunk.get("model") or self._model)
            first = openai.chunk(model, self._id, {"role": "assistant", "context": self._context})
            frame, self._context = _frame(orjson.dumps(first)) + frame, None
        return frame

    def closed(self, answer: Answer, stages: Mapping[str, tuple[float, str]], total_s: float) -> bytes:
        frames = b""
        if self._include_usage:
            frames += _frame(orjson.dumps(openai.usage_chunk(answer, self._id)))
        if self._timing:
            frames += timing_comment(stages, total_s)
        return frames + DONE

    def failed(self, error: GatewayError) -> bytes:
        return error_frame(error)

    def _cited(self, opened: Opened) -> Json | None:
        return context(opened.citations, self._question) if opened.citations else None


def timing_comment(stages: Mapping[str, tuple[float, str]], total_s: float) -> bytes:
    """A comment, which clients skip: never a made-up chunk."""
    milliseconds = {stage: round(seconds * 1000, 1) for stage, (seconds, _) in stages.items()}
    return b": ocho-timing " + orjson.dumps(milliseconds | {"total": round(total_s * 1000, 1)}) + b"\n\n"


KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


def served_by_comment(opened: Opened) -> bytes:
    """For a stream whose headers left before this was known."""
    return f": ocho-served-by {opened.served_by} cache {opened.cache}\n\n".encode()


def error_frame(error: GatewayError) -> bytes:
    """An error after the first byte; no [DONE] follows it."""
    return _frame(orjson.dumps(error.body()))


def _frame(payload: bytes) -> bytes:
    if b"\n" in payload:  # a payload that came in several data lines goes out in several
        payload = payload.replace(b"\n", b"\ndata: ")
    return b"data: " + payload + b"\n\n"
