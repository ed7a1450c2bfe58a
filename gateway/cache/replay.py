"""A kept answer as the stream it once was, with a fresh identity. Pure but for ``send``."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.chat import Answer, CacheHit, Closed, Delta, Opened, Send
from gateway.clock import WallClock

_PIECE = re.compile(r"\S*\s*", re.DOTALL)  # a word and the space after it; the pieces re-join byte for byte
MAX_PIECES = 64  # longer answers are cut coarser: a replay is instant, nobody watches the words arrive


def replay(hit: CacheHit, send: Send, *, pieces: bool = True, wall_clock: WallClock = time.time) -> None:
    """Send the kept answer: ``Opened``, the chunks a provider would send (with ``pieces``), ``Closed``."""
    entry, now = hit.entry, wall_clock()
    send(
        Opened(
            served_by=hit.served_by,
            cache=hit.outcome,
            model=entry.answer.model,
            age_s=entry.age_s(now),
            similarity=hit.similarity,
            entry=entry.key.handle,
            citations=entry.citations,
            labelled=hit.labelled,
        )
    )
    for chunk in chunks(entry.answer, now) if pieces else ():
        send(Delta.of(chunk))
    send(Closed(entry.answer))


def chunks(answer: Answer, now: float) -> Iterator[Mapping[str, Any]]:
    """``chat.completion.chunk`` objects that add up to ``answer``. ``now`` in wall seconds."""
    head = {
        **answer.extras,
        "id": f"chatcmpl-{random.getrandbits(128):032x}",
        "object": "chat.completion.chunk",
        "created": int(now),
        "model": answer.model,
    }
    for choice in answer.choices:
        index = choice.get("index", 0)
        for delta, logprobs in _deltas(choice):
            yield {**head, "choices": [_choice(index, delta, None, logprobs)]}
        yield {**head, "choices": [_choice(index, {}, choice.get("finish_reason"), None)]}


def _choice(index: int, delta: Mapping[str, Any], finish_reason: str | None, logprobs: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish_reason}
    if logprobs is not None:
        choice["logprobs"] = logprobs
    return choice


def _deltas(choice: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    message = choice.get("message") or {}
    special = {"role", "content", "refusal", "tool_calls"}
    others = {name: value for name, value in message.items() if name not in special and value is not None}
    yield (
        {
            "role": message.get("role", "assistant"),
            "content": "" if message.get("content") is not None else None,
            **others,
        },
        None,
    )
    logprobs = choice.get("logprobs")  # whole, with the first piece: the pieces are not the provider's tokens
    for name in ("content", "refusal"):
        for piece in pieces(message.get(name) or ""):
            yield {name: piece}, logprobs
            logprobs = None
    if logprobs is not None:
        yield {}, logprobs
    for position, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": position, **call}]}, None


def pieces(text: str) -> list[str]:
    """``text`` cut after its spaces into at most ``MAX_PIECES`` pieces that re-join exactly."""
    words = [word for word in _PIECE.findall(text) if word]
    step = -(-len(words) // MAX_PIECES) or 1
    return ["".join(words[start : start + step]) for start in range(0, len(words), step)]
