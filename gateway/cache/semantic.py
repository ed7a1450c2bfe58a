"""The semantic tier: another wording of a question that was answered before, verified before it is served."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.cache import freshness
from gateway.cache.decision import Rule, StrictRule
from gateway.cache.keys import Keys
from gateway.chat import CacheEntry, CacheHit, CacheOutcome, CacheWishes, Evidence, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore, DocumentRecord, QuestionIndex, Vector


class SemanticCache:
    """Search, decide, fetch, check against the documents; whatever is in doubt is a miss.

    ``recall`` is awaited before the first search in a scope and brings back what was learned there.
    ``on_reject`` hears why a lookup missed, one of few fixed words or a facet's name: fit for a metric's label.
    """

    def __init__(
        self,
        store: AnswerStore,
        index: QuestionIndex,
        *,
        rule: Rule | None = None,
        record: DocumentRecord | None = None,
        recall: Callable[[Scope], Awaitable[None]] | None = None,
        on_reject: Callable[[str], None] = lambda reason: None,
        wall_clock: WallClock = time.time,
    ) -> None:
        self._store = store
        self._index = index
        self._rule = rule or StrictRule()
        self._record = record
        self._recall = recall
        self._reject = on_reject
        self._now = wall_clock

    async def lookup(
        self,
        keys: Keys,
        question: str,
        vector: Awaitable[Vector | None],
        evidence: Awaitable[Evidence] | None,
        wishes: CacheWishes,
    ) -> CacheHit | None:
        """A verified hit or ``None``. ``evidence`` is awaited only where there is a candidate; ``vector`` always."""
        embedded = await vector
        if not keys.semantic or not wishes.read:
            return self._miss("not allowed")
        if embedded is None:
            return self._miss("no vector")
        try:
            found = await self._find(keys, question, embedded)
        except StoreUnavailable:
            return self._miss("store away")
        if isinstance(found, str):
            return self._miss(found)
        if reason := await self._why_stale(found.entry, evidence, wishes):
            return self._miss(reason)
        return found

    async def _find(self, keys: Keys, question: str, vector: Vector) -> CacheHit | str:
        """The hit by meaning alone, or why there is none."""
        if self._recall is not None:
            await self._recall(keys.scope)
        neighbors = await self._index.search(keys.scope, vector, self._rule.candidates)
        decision = self._rule.decide(question, neighbors)
        if decision.neighbor is None:
            return decision.reason
        key = decision.neighbor.question.key
        entry = await self._store.get(key) if key.scope == keys.scope else None
        if entry is None:
            return "gone"
        return CacheHit(entry, CacheOutcome.SEMANTIC, decision.neighbor.similarity)

    async def _why_stale(self, entry: CacheEntry, evidence: Awaitable[Evidence] | None, wishes: CacheWishes) -> str:
        if freshness.too_old(entry, wishes, self._now()):
            return "too old"
        if not freshness.documents_unchanged(entry, self._record):
            return "document changed"
        if evidence is None:
            return "evidence differs" if entry.evidence else ""
        return freshness.why_evidence_disagrees(entry, await evidence)

    def _miss(self, reason: str) -> CacheHit | None:
        self._reject(reason)
        return None
