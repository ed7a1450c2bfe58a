"""The in-process cache: answers in an LRU bounded by bytes, questions as rows of one matrix per scope."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gateway.cache.entry_codec import dump
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.ports import Vector, Vectors

OBJECT_OVERHEAD = 2.0  # parsed JSON in memory against its bytes, roughly; keeps max_bytes honest


class MemoryStore:
    """AnswerStore in this process: the least recently used entries go when ``max_bytes`` is reached."""

    def __init__(self, max_bytes: int = 256 << 20, wall_clock: WallClock = time.time) -> None:
        self._max_bytes = max_bytes
        self._now = wall_clock
        self._entries: OrderedDict[CacheKey, tuple[CacheEntry, int]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: CacheKey) -> CacheEntry | None:
        found = self._entries.get(key)
        if found is None:
            return None
        entry, _ = found
        if entry.age_s(self._now()) >= entry.ttl_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    async def put(self, entry: CacheEntry) -> None:
        size = int(len(dump(entry)) * OBJECT_OVERHEAD)
        self._drop(entry.key)
        if size > self._max_bytes:
            return
        self._entries[entry.key] = (entry, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def delete(self, key: CacheKey) -> bool:
        return self._drop(key)

    async def purge(self, matches: Callable[[CacheEntry], bool]) -> int:
        """Delete every entry that ``matches``; how many there were."""
        doomed = [key for key, (entry, _) in self._entries.items() if matches(entry)]
        return sum(self._drop(key) for key in doomed)

    async def stats(self) -> dict[str, float]:
        return {"entries": len(self._entries), "bytes": self._bytes}

    def _drop(self, key: CacheKey) -> bool:
        found = self._entries.pop(key, None)
        if found is None:
            return False
        self._bytes -= found[1]
        return True


class MemoryIndex:
    """QuestionIndex in this process. The longest unused scope goes first, in a full scope the oldest question."""

    def __init__(self, max_rows: int = 20_000, max_scopes: int = 1_000, wall_clock: WallClock = time.time) -> None:
        self._max_rows = max_rows  # per scope
        self._max_scopes = max_scopes
        self._now = wall_clock
        self._scopes: OrderedDict[Scope, _Rows] = OrderedDict()

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None:
        scope = question.key.scope
        rows = self._scopes.get(scope)
        if rows is None or rows.dimensions != vector.shape[0]:
            rows = self._scopes[scope] = _Rows(vector.shape[0], self._max_rows)
        self._scopes.move_to_end(scope)
        rows.add(question, vector, self._now() + ttl_s)
        if len(self._scopes) > self._max_scopes:
            self._scopes.popitem(last=False)

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        rows = self._scopes.get(scope)
        if rows is None or rows.dimensions != vector.shape[0]:
            return []
        self._scopes.move_to_end(scope)
        return list(rows.search(vector, k, self._now()))


@dataclass(slots=True)
class _Rows:
    """The questions of one scope. A ring: when full, the next question takes the oldest one's row."""

    dimensions: int
    limit: int
    questions: list[CachedQuestion] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    next_row: int = 0
    vectors: Vectors = field(init=False)  # (capacity, dimensions) float32, unit rows
    expires: NDArray[np.float64] = field(init=False)  # (capacity,) wall seconds

    def __post_init__(self) -> None:
        self.vectors = np.zeros((min(64, self.limit), self.dimensions), np.float32)
        self.expires = np.zeros(min(64, self.limit), np.float64)

    def add(self, question: CachedQuestion, vector: Vector, expires: float) -> None:
        row = self.row_of.get(question.text)
        if row is None:
            row = self._take_row(question)
        self.questions[row] = question
        self.row_of[question.text] = row
        self.vectors[row] = vector
        self.expires[row] = expires

    def search(self, vector: Vector, k: int, now: float) -> Iterator[Neighbor]:
        count = len(self.questions)
        similarity = self.vectors[:count] @ vector
        similarity[self.expires[:count] <= now] = -2.0
        best = np.argpartition(-similarity, k)[:k] if count > k else np.arange(count)
        for row in best[np.argsort(-similarity[best], kind="stable")]:
            if similarity[row] > -1.5:
                yield Neighbor(self.questions[row], float(similarity[row]))

    def _take_row(self, question: CachedQuestion) -> int:
        if len(self.questions) < self.limit:
            self.questions.append(question)
            row = len(self.questions) - 1
            if row == len(self.vectors):
                grown = min(2 * row, self.limit)
                self.vectors = np.concatenate([self.vectors, np.zeros((grown - row, self.dimensions), np.float32)])
                self.expires = np.concatenate([self.expires, np.zeros(grown - row)])
            return row
        row, self.next_row = self.next_row, (self.next_row + 1) % self.limit
        self.row_of.pop(self.questions[row].text, None)
        return row
