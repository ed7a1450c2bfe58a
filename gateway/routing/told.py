"""A text that was made or chosen here, told as the stream a provider would send. Pure but for ids and the clock."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gateway.chat import Answer, Closed, Delta, Opened, Send, Usage

_PIECE = re.compile(r"\S*\s*", re.DOTALL)
_PIECES = 32
NOTHING: Mapping[str, Any] = MappingProxyType({})


def tell(text: str, opened: Opened, usage: Usage | None, send: Send) -> Answer:
    """Send ``opened``, ``text`` in pieces, and Closed; the answer they add up to."""
    answer = whole(text, opened.model, usage)
    telling = Telling(opened, send)
    telling.begin(text)
    telling.end(answer)
    return answer


def whole(text: str, model: str, usage: Usage | None) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": None, "finish_reason": "stop"}
    return Answer((choice,), model, usage)


@dataclass(slots=True)
class Telling:
    """One answer on its way out: its beginning, pieces if there are more, its end."""

    opened: Opened
    send: Send
    _id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    _created: int = field(default_factory=lambda: int(time.time()))

    def begin(self, text: str) -> None:
        """The first chunk says who answered (``ocho.served_by``): a stream's headers may have left before that was
        known."""
        self.send(self.opened)
        mark = {"ocho": {"served_by": str(self.opened.served_by), "labelled": self.opened.labelled}}
        self._chunk({"role": "assistant", "content": ""}, None, mark)
        for piece in _pieces(text):
            self.piece(piece)

    def piece(self, text: str) -> None:
        self._chunk({"content": text}, None)

    def end(self, answer: Answer) -> None:
        """``answer``: all that was told."""
        self._chunk({}, "stop")
        self.send(Closed(answer, self.opened.stages))

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None, mark: Mapping[str, Any] = NOTHING) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self.opened.model}
        self.send(Delta.of({**head, **mark, "choices": [choice]}))


def _pieces(text: str) -> list[str]:
    words = [word for word in _PIECE.findall(text) if word]
    step = -(-len(words) // _PIECES) or 1
    return ["".join(words[start : start + step]) for start in range(0, len(words), step)]
