"""One tenant's kept answers in memory: when room is needed, the least valuable one goes.

Greedy-Dual-Size-Frequency (Cherkasova 1998): an answer is worth its uses times the seconds that one use
saves, per byte. What is evicted raises the floor that later ones start from, so what is no longer
used ages away.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.chat import CacheEntry, CacheKey

LEAST_S = 0.05  # saved by any hit, also on an answer of which nobody knows how long it took


@dataclass(slots=True)
class _Place:
    entry: CacheEntry
    size: int  # bytes
    uses: int
    worth: float
    ticket: int  # of the one heap node that stands for it


class Shelf:
    def __init__(self) -> None:
        self._places: dict[CacheKey, _Place] = {}
        self._heap: list[tuple[float, int, CacheKey]] = []  # (worth when put there, ticket, key)
        self._floor = 0.0
        self._tickets = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[CacheEntry]:
        return iter([place.entry for place in self._places.values()])

    def peek(self, key: CacheKey) -> CacheEntry | None:
        place = self._places.get(key)
        return place.entry if place is not None else None

    def use(self, key: CacheKey) -> None:
        place = self._places[key]
        place.uses += 1
        place.worth = self._worth(place)  # its heap node is put right when it comes up

    def put(self, entry: CacheEntry, size: int) -> None:
        """Keep ``entry``; one that it replaces hands on its uses."""
        before = self._places.get(entry.key)
        uses = before.uses if before is not None else 1
        self.drop(entry.key)
        self._tickets += 1
        place = _Place(entry, size, uses, 0.0, self._tickets)
        place.worth = self._worth(place)
        self._places[entry.key] = place
        self.bytes += size
        self._push(place)

    def drop(self, key: CacheKey) -> bool:
        place = self._places.pop(key, None)
        if place is None:
            return False
        self.bytes -= place.size
        if len(self._heap) > 2 * len(self._places) + 64:  # mostly nodes of what is gone
            self._heap = [(p.worth, p.ticket, p.entry.key) for p in self._places.values()]
            heapq.heapify(self._heap)
        return True

    def evict(self) -> CacheEntry:
        """Take the least valuable entry away. The shelf must not be empty."""
        while True:
            worth, ticket, key = heapq.heappop(self._heap)
            place = self._places.get(key)
            if place is None or place.ticket != ticket:
                continue
            if place.worth > worth:  # used since
                self._push(place)
                continue
            self._floor = worth
            self.drop(key)
            return place.entry

    def _push(self, place: _Place) -> None:
        heapq.heappush(self._heap, (place.worth, place.ticket, place.entry.key))

    def _worth(self, place: _Place) -> float:
        return self._floor + place.uses * max(place.entry.took_s, LEAST_S) / place.size
