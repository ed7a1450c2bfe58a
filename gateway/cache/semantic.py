"""The semantic tier: another wording of a question that was answered before, verified before it is served."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.cache import freshness
from gateway.cache.admission import why_only_exact
from gateway.cache.canonical import followed
from gateway.cache.decision import Rule, StrictRule
from gateway.cache.grey import Grey, grey
from gateway.cache.keys import Keys
from gateway.chat import CacheEntry, CacheHit, CacheKey, CacheOutcome, CacheWishes, Evidence, Neighbor, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore, DocumentRecord, QuestionIndex, Vector


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A kept answer that may be the one: the rule cannot tell, and nothing contradicts it."""

    near: Grey
    entry: CacheEntry
    reviewed: CacheHit | None = None  # as it is given, where a person has the say in it

    def hit(self) -> CacheHit:
        return self.reviewed or CacheHit(self.entry, CacheOutcome.SEMANTIC, self.near.neighbor.similarity)


@dataclass(frozen=True, slots=True)
class Look:
    """What a lookup came to: a hit, or a miss with what a judge may still find."""

    hit: CacheHit | None
    doubts: tuple[Doubtful, ...] = ()


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
        return (await self.look(keys, question, vector, evidence, wishes)).hit

    async def look(
        self,
        keys: Keys,
        question: str,
        vector: Awaitable[Vector | None],
        evidence: Awaitable[Evidence] | None,
        wishes: CacheWishes,
        *,
        judged: bool = False,
        rechecked: bool = False,
        beyond: CacheKey | None = None,
    ) -> Look:
        """As ``lookup``; where it misses and there is a judge (``judged``), also what he should look at: where an
        answer to another wording is held against what this one finds (``rechecked``), also what rests on nothing of
        it. ``beyond``: an entry that does not count."""
        embedded = await vector
        if not keys.semantic or not wishes.read:
            return self._miss("not allowed")
        if embedded is None:
            return self._miss("no vector")
        try:
            if self._recall is not None:
                await self._recall(keys.scope)
            neighbors = await self._index.search(keys.scope, embedded, self._rule.candidates)
            neighbors = [n for n in neighbors if n.question.key != beyond]
            found = await self._find(keys, question, neighbors)
            if isinstance(found, CacheHit):
                reason = await self._why_stale(found.entry, evidence, wishes)
                return self._miss(reason) if reason else Look(found)
            self._reject(found)
            greys = grey(question, neighbors) if judged and found != "audit" else []
            if evidence is None:
                greys = self._likely(question, neighbors, greys)
            doubts = [await self._doubt(keys, near, evidence, wishes, rechecked) for near in greys]
        except StoreUnavailable:
            return self._miss("store away")
        return Look(None, tuple({d.entry.key: d for d in reversed(doubts) if d is not None}.values())[::-1])

    async def _find(self, keys: Keys, question: str, neighbors: Sequence[Neighbor]) -> CacheHit | str:
        """The hit by meaning alone, or why there is none."""
        decision = self._rule.decide(question, neighbors)
        if decision.neighbor is None:
            return decision.reason
        entry = await self._kept(keys, decision.neighbor)
        if entry is None:
            return "gone"
        return CacheHit(entry, CacheOutcome.SEMANTIC, decision.neighbor.similarity)

    def _likely(self, question: str, neighbors: Sequence[Neighbor], near: list[Grey]) -> list[Grey]:
        """What is worth a judge: he errs now and then, so nothing is put to him that is hardly the same question."""
        worth = self._rule.worth_asking(question, neighbors, [g.neighbor.question.key for g in near])
        return near[:1] if worth is None else [g for g in near if g.neighbor.question.key in worth]

    async def _kept(self, keys: Keys, neighbor: Neighbor) -> CacheEntry | None:
        """The canonical entry that answers a neighbour."""
        key = neighbor.question.key
        entry = await self._store.get(key) if key.scope == keys.scope else None
        entry = await followed(self._store, entry) if entry is not None else None
        return None if entry is None or why_only_exact(entry.answer) else entry  # it may have been put right since

    async def _doubt(
        self, keys: Keys, near: Grey, evidence: Awaitable[Evidence] | None, wishes: CacheWishes, rechecked: bool
    ) -> Doubtful | None:
        """A neighbour with the answer it leads to, where age and documents speak for it."""
        entry = await self._kept(keys, near.neighbor)
        if entry is None or freshness.too_old(entry, wishes, self._now()):
            return None
        if not freshness.documents_unchanged(entry, self._record):
            return None
        if evidence is None:
            return None if entry.evidence else Doubtful(near, entry)
        why_not = freshness.why_documents_disagree(entry, await evidence, apart=rechecked)
        return None if why_not else Doubtful(near, entry)

    async def _why_stale(self, entry: CacheEntry, evidence: Awaitable[Evidence] | None, wishes: CacheWishes) -> str:
        if freshness.too_old(entry, wishes, self._now()):
            return "too old"
        if not freshness.documents_unchanged(entry, self._record):
            return "document changed"
        if evidence is None:
            return "evidence differs" if entry.evidence else ""
        return freshness.why_evidence_disagrees(entry, await evidence)

    def _miss(self, reason: str) -> Look:
        self._reject(reason)
        return Look(None)
