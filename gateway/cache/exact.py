"""The exact tier: the same request, the same answer, as long as the documents stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.cache import freshness
from gateway.cache.keys import Keys
from gateway.chat import CacheEntry, CacheHit, CacheOutcome, CacheWishes, Evidence
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore, DocumentRecord, StoreAtHand
from gateway.values import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that was found, and where, to look for it once more."""

    entry: CacheEntry
    collections: tuple[str, ...]  # that it was found for


class ExactCache:
    def __init__(self, store: AnswerStore, *, wall_clock: WallClock = time.time) -> None:
        self._store = store
        self._now = wall_clock
        self._at_once = store if isinstance(store, StoreAtHand) else None

    @property
    def generation(self) -> int:
        return self._store.generation

    async def lookup(
        self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None = None, collections: Sequence[str] = ()
    ) -> CacheHit | None:
        """The kept answer if nothing happened to its documents or their collections; a store in trouble is a miss."""
        hit = await self._unchanged(keys, wishes, record)
        return hit if hit is not None and freshness.nothing_new(hit.entry, record, collections) else None

    @property
    def at_hand(self) -> bool:
        """Whether ``again`` can find anything."""
        return self._at_once is not None

    def again(self, found: Found, record: DocumentRecord | None) -> CacheHit | None:
        """What ``lookup`` would find for the same request without wishes, if it is still the very same answer."""
        entry = self._at_once.look(found.entry.key) if self._at_once is not None else None
        if entry is None or entry is not found.entry or entry.age_s(self._now()) >= entry.ttl_s:
            return None
        if not freshness.documents_unchanged(entry, record):
            return None
        if not freshness.nothing_new(entry, record, found.collections):
            return None
        return CacheHit(entry, CacheOutcome.EXACT)

    async def confirm(
        self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None, evidence: Evidence
    ) -> CacheHit | None:
        """After ``lookup`` missed and fresh ``evidence`` is at hand: the kept answer if it rests on the same passages.

        Something was ingested or deleted, but nothing that this question finds. The entry moves to the new epoch.
        """
        hit = await self._unchanged(keys, wishes, record)
        if hit is None or not freshness.same_evidence(hit.entry, evidence):
            return None
        if hit.entry.epoch == evidence.epoch:
            return hit
        entry = replace(hit.entry, epoch=evidence.epoch)
        with suppress(StoreUnavailable):  # else it is confirmed again next time
            await self._store.put(entry)
        return CacheHit(entry, hit.outcome)

    async def stale(
        self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None, evidence: Evidence
    ) -> CacheEntry | None:
        """What was answered before its documents changed, for when nothing better is ready in time. To be labelled.

        Every document that it rests on must have been found for this caller just now: one that was deleted, or that
        he may no longer read, gives no answer.
        """
        if not wishes.read or wishes.max_age_s is not None or record is None:
            return None
        try:
            entry = await self._store.get(keys.exact)
        except StoreUnavailable:
            return None
        if entry is None or not entry.dependencies or not set(entry.dependencies) <= set(evidence.dependencies):
            return None
        return entry

    async def _unchanged(self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None) -> CacheHit | None:
        if not wishes.read:
            return None
        try:
            entry = await self._store.get(keys.exact)
        except StoreUnavailable:
            return None
        if entry is None or freshness.too_old(entry, wishes, self._now()):
            return None
        if not freshness.documents_unchanged(entry, record):
            return None
        return CacheHit(entry, CacheOutcome.EXACT)
