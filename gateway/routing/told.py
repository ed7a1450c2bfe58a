"""A text that was made or chosen here, told as the stream a provider would send. Pure but for ids and the clock."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from gateway.chat import Answer, Closed, Delta, Opened, Send, Usage

_PIECE = re.compile(r"\S*\s*", re.DOTALL)
_PIECES = 32


def tell(text: str, opened: Opened, usage: Usage | None, send: Send) -> Answer:
    """Send ``opened``, ``text`` in pieces, and Closed; the answer they add up to.

    The first chunk says who answered (``ocho.served_by``): a stream's headers may have left before that was known.
    """
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": "stop"}
    answer = Answer((choice,), opened.model, usage)
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()),
        "model": opened.model,
    }  # fmt: skip
    send(opened)
    mark: dict[str, Any] = {"ocho": {"served_by": str(opened.served_by), "labelled": opened.labelled}}
    send(Delta.of({**head, **mark, "choices": [_choice({"role": "assistant", "content": ""}, None)]}))
    for piece in _pieces(text):
        send(Delta.of({**head, "choices": [_choice({"content": piece}, None)]}))
    send(Delta.of({**head, "choices": [_choice({}, "stop")]}))
    send(Closed(answer, opened.stages))
    return answer


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _pieces(text: str) -> list[str]:
    words = [word for word in _PIECE.findall(text) if word]
    step = -(-len(words) // _PIECES) or 1
    return ["".join(words[start : start + step]) for start in range(0, len(words), step)]
