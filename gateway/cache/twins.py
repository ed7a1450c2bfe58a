"""Questions under way, by meaning: another wording of one that is being answered right now can wait for its answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from gateway.cache.inflight import Flight
from gateway.chat import CachedQuestion, CacheKey, Neighbor, Scope
from gateway.clock import Clock
from gateway.ports import Vector

NEAR = 8  # nearest ones that are looked at
AFTER_S = 2.0  # an answer that is done may still be on its way into the index


@dataclass(slots=True, eq=False)
class Flying:
    """One question whose answer is being made."""

    question: str
    key: CacheKey
    vector: Vector
    place: str  # where its flight is found
    flight: Flight | None  # None once it is over: whoever saw it near keeps nothing but the words
    ticket: int
    ended_at: float = 0.0  # on the clock


@dataclass(frozen=True, slots=True)
class Near:
    neighbor: Neighbor
    flying: Flying


class Twins:
    """Who came first leads: a question only ever follows an earlier one, so no two wait for each other."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._scopes: dict[Scope, list[Flying]] = {}
        self._ended: deque[Flying] = deque()  # the first to end, first
        self._tickets = 0

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))

    @contextmanager
    def entered(self, question: str, key: CacheKey, vector: Vector, place: str, flight: Flight) -> Iterator[Flying]:
        """The question is under way inside the block, and a moment longer."""
        self._tickets += 1
        flying = Flying(question, key, vector, place, flight, self._tickets)
        self._scopes.setdefault(key.scope, []).append(flying)
        try:
            yield flying
        finally:
            flying.flight, flying.ended_at = None, self._clock()
            self._ended.append(flying)
            self._tidy()

    def withdraw(self, flying: Flying) -> None:
        """It follows another one, or failed: nobody need follow it."""
        there = self._scopes.get(flying.key.scope, [])
        if flying in there:
            there.remove(flying)
        if not there:
            self._scopes.pop(flying.key.scope, None)

    def before(self, mine: Flying) -> list[Near]:
        """The nearest that came earlier, most similar first."""
        self._tidy()
        others = [f for f in self._scopes.get(mine.key.scope, ()) if f.ticket < mine.ticket and f.key != mine.key]
        near = [Near(Neighbor(CachedQuestion(f.question, f.key), float(np.dot(mine.vector, f.vector))), f)
                for f in others if f.vector.shape == mine.vector.shape]  # fmt: skip
        return sorted(near, key=lambda n: -n.neighbor.similarity)[:NEAR]

    def _tidy(self) -> None:
        oldest = self._clock() - AFTER_S
        while self._ended and self._ended[0].ended_at <= oldest:
            self.withdraw(self._ended.popleft())
