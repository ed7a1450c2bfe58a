"""The in-process cache: answers on shelves bounded by bytes, questions as rows of one set of cells per scope."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from gateway.cache.cells import Cells
from gateway.cache.disk import Disk
from gateway.cache.entry_codec import dump
from gateway.cache.purging import Ledger, Selection
from gateway.cache.shelf import Shelf
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.ports import Vector

EARLIER_SHARE = 0.125  # of max_bytes: answers that are remembered although they were evicted or their time is up
OBJECT_OVERHEAD = 2.0  # parsed JSON in memory against its bytes, roughly; keeps max_bytes honest


class MemoryStore:
    """AnswerStore in this process. Out of room, the tenant that holds most gives up what is worth least.

    ``tenant_bytes`` is what one tenant may hold at most, also while there is room; 0: no such limit.
    ``on_evict`` hears why an entry went: "room", "tenant" (over its limit) or "ended" (its time was up).
    """

    def __init__(
        self,
        max_bytes: int = 256 << 20,
        wall_clock: WallClock = time.time,
        *,
        tenant_bytes: int = 0,
        on_evict: Callable[[str], None] = lambda reason: None,
        disk: Disk | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._tenant_bytes = min(tenant_bytes or max_bytes, max_bytes)
        self._now = wall_clock
        self._on_evict = on_evict
        self._ledger = Ledger()
        self._shelves: dict[str, Shelf] = {}  # by tenant
        self._endings: list[tuple[float, int, CacheKey]] = []  # (wall seconds, ticket, key); may name what is gone
        self._tickets = count()
        self._bytes = 0
        self._evicted = 0
        self._earlier = Earlier(int(max_bytes * EARLIER_SHARE))
        self._disk = disk  # holds nothing that was purged

    @property
    def generation(self) -> int:
        return self._ledger.generation

    async def get(self, key: CacheKey) -> CacheEntry | None:
        return self.look(key)

    def look(self, key: CacheKey) -> CacheEntry | None:
        entry = self._live(key)
        if entry is not None:
            self._shelves[key.scope.tenant_id].use(key)
        return entry

    async def earlier(self, key: CacheKey) -> CacheEntry | None:
        if (entry := self._live(key) or self._earlier.get(key)) is not None or self._disk is None:
            return entry
        generation = self.generation  # what is purged while the disk is read is void
        found = await self._disk.get(key)
        if found is None:
            return None
        found = replace(found, generation=generation)  # that of an earlier process, whose numbers were its own
        return None if self._ledger.voids(found) else found

    async def put(self, entry: CacheEntry) -> None:
        if self._ledger.voids(entry):
            return
        size = int(len(dump(entry)) * OBJECT_OVERHEAD)
        self._earlier.put(entry, size)
        self._shelve(entry, size)
        if self._disk is not None:
            await self._disk.put(entry)

    def _shelve(self, entry: CacheEntry, size: int) -> None:
        if size > self._tenant_bytes:
            self._drop(entry.key)
            return
        tenant = entry.key.scope.tenant_id
        shelf = self._shelves.setdefault(tenant, Shelf())
        self._bytes -= shelf.bytes
        shelf.put(entry, size)
        self._bytes += shelf.bytes
        heapq.heappush(self._endings, (entry.created_at + entry.ttl_s, next(self._tickets), entry.key))
        if self._bytes > self._max_bytes or len(self._endings) > 2 * self._count() + 64:
            self._drop_ended()
        while shelf.bytes > self._tenant_bytes:
            self._evict(tenant, "tenant")
        while self._bytes > self._max_bytes:
            self._evict(max(self._shelves, key=lambda name: self._shelves[name].bytes), "room")

    async def delete(self, key: CacheKey) -> bool:
        self._earlier.drop(key)
        gone = self._drop(key)
        if self._disk is not None:
            await self._disk.delete(key)
        return gone

    async def find(self, handle: str) -> CacheEntry | None:
        for shelf in self._shelves.values():
            for entry in shelf:
                if entry.key.handle == handle:
                    return self._live(entry.key)
        return None

    async def purge(self, selection: Selection) -> AsyncIterator[Sequence[CacheEntry]]:
        self._ledger.cut(self._ledger.generation + 1, selection)
        doomed = [entry for shelf in self._shelves.values() for entry in shelf if selection.selects(entry)]
        for entry in doomed:
            self._drop(entry.key)
        self._earlier.purge(selection)
        if self._disk is not None:
            await self._disk.purge(selection)
        yield doomed

    async def entries(self) -> AsyncIterator[CacheEntry]:
        for number, key in enumerate([entry.key for shelf in self._shelves.values() for entry in shelf]):
            if number % 1000 == 999:
                await asyncio.sleep(0)
            if (entry := self._live(key)) is not None:
                yield entry

    async def stats(self) -> dict[str, float]:
        return {
            "entries": self._count(), "bytes": self._bytes, "max_bytes": self._max_bytes, "evictions": self._evicted
        }  # fmt: skip

    def _count(self) -> int:
        return sum(len(shelf) for shelf in self._shelves.values())

    def _live(self, key: CacheKey) -> CacheEntry | None:
        shelf = self._shelves.get(key.scope.tenant_id)
        entry = shelf.peek(key) if shelf is not None else None
        if entry is not None and entry.age_s(self._now()) >= entry.ttl_s:
            self._drop(key)
            return None
        return entry

    def _drop_ended(self) -> None:
        now = self._now()
        while self._endings and self._endings[0][0] <= now:
            key = heapq.heappop(self._endings)[2]
            shelf = self._shelves.get(key.scope.tenant_id)
            if shelf is not None and shelf.peek(key) is not None and self._live(key) is None:
                self._on_evict("ended")
        if len(self._endings) > 2 * self._count() + 64:  # mostly of what is gone
            self._endings = [
                (entry.created_at + entry.ttl_s, next(self._tickets), entry.key)
                for shelf in self._shelves.values()
                for entry in shelf
            ]
            heapq.heapify(self._endings)

    def _evict(self, tenant: str, reason: str) -> None:
        shelf = self._shelves[tenant]
        before = shelf.bytes
        shelf.evict()
        self._bytes -= before - shelf.bytes
        self._evicted += 1
        self._on_evict(reason)
        if not shelf:
            del self._shelves[tenant]

    def _drop(self, key: CacheKey) -> bool:
        shelf = self._shelves.get(key.scope.tenant_id)
        if shelf is None or shelf.peek(key) is None:
            return False
        before = shelf.bytes
        shelf.drop(key)
        self._bytes -= before - shelf.bytes
        if not shelf:
            del self._shelves[key.scope.tenant_id]
        return True


class Earlier:
    """What was answered before, after it left the shelves: bounded by bytes, the longest unused goes first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[CacheKey, tuple[CacheEntry, int]] = OrderedDict()

    def get(self, key: CacheKey) -> CacheEntry | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, entry: CacheEntry, size: int) -> None:
        self.drop(entry.key)
        self._kept[entry.key] = (entry, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._kept)))

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0

    def drop(self, key: CacheKey) -> None:
        if (found := self._kept.pop(key, None)) is not None:
            self._bytes -= found[1]

    def purge(self, selection: Selection) -> None:
        for entry in [entry for entry, _ in self._kept.values() if selection.selects(entry)]:
            self.drop(entry.key)


class MemoryIndex:
    """QuestionIndex in this process. The longest unused scope goes first, in a full scope the oldest question."""

    def __init__(self, max_rows: int = 20_000, max_scopes: int = 1_000, wall_clock: WallClock = time.time) -> None:
        self._max_rows = max_rows  # per scope
        self._max_scopes = max_scopes
        self._now = wall_clock
        self._scopes: OrderedDict[Scope, Rows] = OrderedDict()

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None:
        scope = question.key.scope
        rows = self._scopes.get(scope)
        if rows is None or rows.dimensions != vector.shape[0]:
            rows = self._scopes[scope] = Rows(vector.shape[0], self._max_rows)
        self._scopes.move_to_end(scope)
        rows.add(question, vector, self._now() + ttl_s)
        if len(self._scopes) > self._max_scopes:
            self._scopes.popitem(last=False)

    async def forget(self, entries: Sequence[CacheEntry]) -> None:
        """No question leads to ``entries`` any more."""
        doomed = frozenset(entry.key for entry in entries)
        for scope in {key.scope for key in doomed}:
            if (rows := self._scopes.get(scope)) is not None:
                rows.forget(doomed)

    async def clear(self, tenant: str = "") -> None:
        """Forget every question, or those of one tenant."""
        for scope in [scope for scope in self._scopes if tenant in ("", scope.tenant_id)]:
            del self._scopes[scope]

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        rows = self._scopes.get(scope)
        if rows is None or rows.dimensions != vector.shape[0]:
            return []
        self._scopes.move_to_end(scope)
        return list(rows.search(vector, k, self._now()))


@dataclass(slots=True)
class Rows:
    """The questions of one scope. A ring: when full, the next question takes the oldest one's row."""

    dimensions: int
    limit: int
    questions: list[CachedQuestion] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    next_row: int = 0
    cells: Cells = field(init=False)
    expires: NDArray[np.float64] = field(init=False)  # (capacity,) wall seconds

    def __post_init__(self) -> None:
        self.cells = Cells(self.dimensions)
        self.expires = np.zeros(min(64, self.limit), np.float64)

    def add(self, question: CachedQuestion, vector: Vector, expires: float) -> None:
        row = self.row_of.get(question.text)
        if row is None:
            row = self._take_row(question)
        self.questions[row] = question
        self.row_of[question.text] = row
        self.cells.add(row, vector)
        self.expires[row] = expires

    def search(self, vector: Vector, k: int, now: float) -> Iterator[Neighbor]:
        rows, similarity = self.cells.near(vector)
        alive = self.expires[rows] > now
        rows, similarity = rows[alive], similarity[alive]
        best = np.argpartition(-similarity, k)[:k] if len(rows) > k else np.arange(len(rows))
        for found in best[np.argsort(-similarity[best], kind="stable")]:
            yield Neighbor(self.questions[rows[found]], float(similarity[found]))

    def forget(self, keys: frozenset[CacheKey]) -> None:
        """Empty the rows of ``keys``: nothing of their questions stays in memory, and the rows find nothing."""
        for row, question in enumerate(self.questions):
            if question.key in keys:
                self.row_of.pop(question.text, None)
                self.questions[row] = CachedQuestion("", question.key)
                self.cells.remove(row)
                self.expires[row] = 0.0

    def _take_row(self, question: CachedQuestion) -> int:
        if len(self.questions) < self.limit:
            self.questions.append(question)
            row = len(self.questions) - 1
            if row == len(self.expires):
                self.expires = np.concatenate([self.expires, np.zeros(min(row, self.limit - row))])
            return row
        row, self.next_row = self.next_row, (self.next_row + 1) % self.limit
        self.row_of.pop(self.questions[row].text, None)  # "" where it was forgotten
        return row
