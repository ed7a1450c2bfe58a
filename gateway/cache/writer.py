"""Keeps finished answers, after the reply and off its path."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.cache import freshness
from gateway.cache.admission import Limits, Verdict, admissible
from gateway.cache.decision import Rule
from gateway.cache.keys import Keys
from gateway.cache.learning import LINK_FLOOR, same_answer, same_facts
from gateway.chat import Answer, CachedQuestion, CacheEntry, CacheKey, CacheWishes, ChatRequest, Evidence
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore, DocumentRecord, QuestionIndex, Vector

log = structlog.get_logger()
COMPARED = 4  # near answers that a fresh one is compared with


@dataclass(frozen=True, slots=True)
class _Offer:
    entry: CacheEntry
    vector: Vector | None  # None: not to be found by another wording


class CacheWriter:
    """A bounded queue and one task. Full queue, store away, documents changed: the answer is not kept, nothing else.

    ``on_outcome`` hears "kept", "linked", "dropped", "store away", "document changed", "failed",
    or why it was not admitted.
    """

    def __init__(
        self,
        store: AnswerStore,
        index: QuestionIndex | None = None,
        *,
        rule: Rule | None = None,
        record: DocumentRecord | None = None,
        on_outcome: Callable[[str], None] = lambda outcome: None,
        wall_clock: WallClock = time.time,
        max_waiting: int = 1_000,
    ) -> None:
        self._store = store
        self._index = index
        self._rule = rule
        self._record = record
        self._tell = on_outcome
        self._now = wall_clock
        self._queue: asyncio.Queue[_Offer] = asyncio.Queue(max_waiting)
        self._worker: asyncio.Task[None] | None = None

    def offer(
        self,
        keys: Keys,
        request: ChatRequest,
        answer: Answer,
        evidence: Evidence,
        vector: Vector | None,
        wishes: CacheWishes,
        limits: Limits = Limits(),  # noqa: B008  frozen
        took_s: float = 0.0,
    ) -> Verdict:
        """Take an answer for keeping if it is admissible. Returns at once; never raises for what happens later."""
        verdict = admissible(request, answer, evidence, wishes, limits)
        if not verdict.keep:
            self._tell(verdict.reason)
            return verdict
        entry = CacheEntry(
            key=keys.exact,
            question=request.question,
            answer=answer,
            requested_model=request.requested_model,
            created_at=self._now(),
            ttl_s=verdict.ttl_s,
            evidence=evidence.ids,
            citations=evidence.passages,
            dependencies=evidence.dependencies,
            epoch=evidence.epoch,
            tags=wishes.tags,
            namespace=wishes.namespace,
            generation=keys.generation,
            took_s=took_s,
        )
        findable = keys.semantic and verdict.semantic
        try:
            self._queue.put_nowait(_Offer(entry, vector if findable else None))
        except asyncio.QueueFull:
            self._tell("dropped")
            return verdict
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return verdict

    async def drain(self) -> None:
        """Wait until everything offered so far is kept or given up."""
        await self._queue.join()

    async def close(self, within_s: float = 5.0) -> None:
        """Drain, then stop. What is not written in time is lost: it was only a cache."""
        try:
            async with asyncio.timeout(within_s):
                await self.drain()
        except TimeoutError:
            log.info("answers not kept at shutdown", count=self._queue.qsize())
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None

    async def _work(self) -> None:
        while True:
            offer = await self._queue.get()
            try:
                self._tell(await self._keep(offer))
            except StoreUnavailable:
                self._tell("store away")
            except Exception:
                self._tell("failed")
                log.warning("answer not kept", exc_info=True)
            finally:
                self._queue.task_done()

    async def _keep(self, offer: _Offer) -> str:
        entry = offer.entry
        if not freshness.documents_unchanged(entry, self._record):
            return "document changed"  # between the search and now: the answer may rest on the old text
        if self._rule is not None:
            await self._compare_with_itself(entry)
        await self._store.put(entry)
        if offer.vector is not None and self._index is not None:
            return await index_question(self._store, self._index, entry, offer.vector, self._rule)
        return "kept"

    async def _compare_with_itself(self, entry: CacheEntry) -> None:
        """How far a provider's answers to the very same question differ, wherever one is asked for again."""
        before = await self._store.get(entry.key)
        if self._rule is not None and before is not None and dict(before.dependencies) == dict(entry.dependencies):
            self._rule.repeated(same_facts(before, entry))


async def index_question(
    store: AnswerStore, index: QuestionIndex, entry: CacheEntry, vector: Vector, rule: Rule | None = None
) -> str:
    """Make a kept answer findable by meaning: "kept", or "linked" where a near question has the same answer.

    A linked question points to the earlier answer, so that all wordings get the same bytes, and vouch for each other.
    ``rule`` hears which of the near answers the fresh one agrees with.
    """
    text = unicodedata.normalize("NFC", entry.question)
    near = await index.search(entry.key.scope, vector, rule.candidates if rule is not None else COMPARED)
    others = [n for n in near if n.question.key != entry.key and n.question.text != text]  # itself, being renewed
    same: dict[CacheKey, bool] = {}
    linked: CacheEntry | None = None
    for key in dict.fromkeys(n.question.key for n in others if n.similarity >= LINK_FLOOR):
        kept = await store.get(key) if len(same) < COMPARED else None
        if kept is not None:
            same[key] = same_facts(kept, entry)  # also where they rest on other passages
            linked = kept if linked is None and same_answer(kept, entry) else linked
    if rule is not None and len(others) == len(near):
        rule.learn(text, others, same)
    if linked is None:
        await index.add(CachedQuestion(text, entry.key), vector, entry.ttl_s)
        return "kept"
    ttl_s = min(entry.ttl_s, max(0.0, linked.ttl_s - linked.age_s(entry.created_at)))
    await index.add(CachedQuestion(text, linked.key), vector, ttl_s)
    return "linked"
