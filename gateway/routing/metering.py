"""What a reply that is passed on as bytes costs: the provider's count, found without parsing the reply."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.chat import Json
from gateway.ports import Forwarded, Outgoing

# Wherever it stands in the object. A quotation mark inside a text is escaped, so no text looks like this.
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_PROMPT = re.compile(rb'"(?:prompt|input)_tokens"\s*:\s*(\d{1,12})')
_COMPLETION = re.compile(rb'"(?:completion|output)_tokens"\s*:\s*(\d{1,12})')
KEPT = 4096  # bytes of the beginning and of the end that are looked at; usage stands in either
LOOK_AT = 1024  # bytes after "usage"
PATHS = frozenset({"chat/completions", "completions", "embeddings", "responses"})

Charge = Callable[[tuple[int, int] | None, int], None]  # (prompt and completion tokens or None, pieces that came)


class Metered:
    """``Forwarded`` that tells ``charge`` at its end what the reply cost."""

    __slots__ = ("_beginning", "_charge", "_end", "_events", "_reply")

    def __init__(self, reply: Forwarded, charge: Charge) -> None:
        self._reply = reply
        self._charge: Charge | None = charge
        self._beginning = b""
        self._end = b""
        self._events = 0

    @property
    def status(self) -> int:
        return self._reply.status

    @property
    def headers(self) -> Json:
        return self._reply.headers

    @property
    def retry_after_s(self) -> float | None:
        return self._reply.retry_after_s

    @property
    def content_seen(self) -> bool:
        return self._reply.content_seen

    def rest(self) -> bytes | None:
        whole = self._reply.rest()
        if whole is not None:
            self._saw(whole)
        return whole

    async def read(self) -> bytes:
        piece = await self._reply.read()
        self._saw(piece)
        return piece

    def _saw(self, piece: bytes) -> None:
        if len(self._beginning) < KEPT:
            self._beginning += piece[: KEPT - len(self._beginning)]
        self._end = (self._end + piece)[-KEPT:]
        self._events += piece.count(b"\ndata:") + piece.startswith(b"data:")

    def close(self) -> None:
        self._reply.close()
        if self._charge is not None:
            charge, self._charge = self._charge, None
            charge(usage_in(self._end) or usage_in(self._beginning), self._events)


def usage_in(data: bytes) -> tuple[int, int] | None:
    """Prompt and completion tokens of the last usage object in ``data``; embeddings complete nothing."""
    places = [match.end() for match in _USAGE.finditer(data)]
    for place in reversed(places):
        around = data[place : place + LOOK_AT]
        if prompt := _PROMPT.search(around):
            completion = _COMPLETION.search(around)
            return int(prompt[1]), int(completion[1]) if completion else 0
    return None


def costs(sent: Outgoing) -> bool:
    """Whether a reply to this is paid for by the token."""
    return sent.method == "POST" and sent.path in PATHS
