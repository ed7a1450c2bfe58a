"""The exact tier: the same request, the same answer, as long as the documents stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.cache import canonical, freshness
from gateway.cache.keys import Keys
from gateway.chat import CacheEntry, CacheHit, CacheKey, CacheOutcome, CacheWishes, Evidence
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore, DocumentRecord, StoreAtHand
from gateway.values import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """An answer that was found, and where, to look for it once more."""

    entry: CacheEntry
    collections: tuple[str, ...]  # that it was found for


@dataclass(frozen=True, slots=True)
class _Found:
    entry: CacheEntry  # whose answer is given
    own: CacheEntry  # of this very wording: the same one, or an alias with its own evidence


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
        found = await self._found(keys, wishes, record)
        if found is None or not freshness.nothing_new(found.own, record, collections):
            return None
        return CacheHit(found.entry, CacheOutcome.EXACT)

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
        found = await self._found(keys, wishes, record)
        if found is None or not freshness.same_evidence(found.own, evidence):
            return None
        entry = replace(found.entry, epoch=evidence.epoch)
        with suppress(StoreUnavailable):  # else it is confirmed again next time
            if found.own.alias_of and found.own.epoch != evidence.epoch:
                await self._store.put(replace(found.own, epoch=evidence.epoch))
            elif found.entry.epoch != evidence.epoch:
                await self._store.put(entry)
        return CacheHit(entry, CacheOutcome.EXACT)

    async def restored(
        self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None, evidence: Evidence
    ) -> CacheHit | None:
        """After ``lookup`` missed: an answer that was evicted before its time, put back."""
        entry = await self.before(keys, record, evidence)
        if entry is None or not wishes.read or freshness.too_old(entry, wishes, self._now()):
            return None
        with suppress(StoreUnavailable):
            await self._store.put(entry)
        return CacheHit(entry, CacheOutcome.EXACT)

    async def newest(self, key: CacheKey, similarity: float) -> CacheHit | None:
        """What was kept a moment ago under another wording's key."""
        try:
            own = await self._store.get(key)
            return (
                CacheHit(await canonical.followed(self._store, own), CacheOutcome.SEMANTIC, similarity) if own else None
            )
        except StoreUnavailable:
            return None

    async def before(self, keys: Keys, record: DocumentRecord | None, evidence: Evidence) -> CacheEntry | None:
        """What this wording was answered with before, whatever its age, if its documents still say so."""
        try:
            own = await self._store.earlier(keys.exact)
            if own is None:
                return None
            entry = await canonical.earlier(self._store, own)
        except StoreUnavailable:
            return None
        if not freshness.documents_unchanged(own, record) or not freshness.documents_unchanged(entry, record):
            return None
        return entry if freshness.still_so(own, evidence) else None

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
            entry = await canonical.followed(self._store, entry) if entry is not None else None
        except StoreUnavailable:
            return None
        if entry is None or not entry.dependencies or not set(entry.dependencies) <= set(evidence.dependencies):
            return None
        return entry

    async def _found(self, keys: Keys, wishes: CacheWishes, record: DocumentRecord | None) -> _Found | None:
        """What is kept for this wording, if it is young enough and its documents have not changed."""
        if not wishes.read:
            return None
        try:
            own = await self._store.get(keys.exact)
            entry = await canonical.followed(self._store, own) if own is not None else None
        except StoreUnavailable:
            return None
        if own is None or entry is None or freshness.too_old(entry, wishes, self._now()):
            return None
        if not freshness.documents_unchanged(entry, record):
            return None
        if own is not entry and not freshness.documents_unchanged(own, record):
            return None
        return _Found(entry, own)
