"""Keeps finished answers, after the reply and off its path."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog

from gateway.cache import freshness
from gateway.cache.admission import NOT_FOUND_REASON, Limits, Verdict, admissible, why_only_exact
from gateway.cache.canonical import alias, followed
from gateway.cache.decision import Rule
from gateway.cache.keys import Keys
from gateway.cache.learning import LINK_FLOOR, agreement, same_answer
from gateway.chat import Answer, CachedQuestion, CacheEntry, CacheKey, CacheWishes, ChatRequest, Evidence, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.facts import Verdict as FactVerdict
from gateway.ports import AnswerStore, DocumentRecord, Finding, FindingKind, QuestionIndex, ReviewQueue, Vector
from gateway.stages import ended

log = structlog.get_logger()
COMPARED = 4  # near answers that a fresh one is compared with


@dataclass(frozen=True, slots=True)
class Wording:
    """Another way to ask what a canonical entry answers."""

    key: CacheKey
    question: str
    evidence: Evidence  # what is found for it


@dataclass(frozen=True, slots=True)
class _Offer:
    """An entry to keep, a wording to lead to a canonical entry, or both."""

    entry: CacheEntry | None
    vector: Vector | None  # None: not to be found by another wording
    wording: Wording | None = None
    canonical: CacheKey | None = None  # that ``wording`` leads to
    open: bool = False  # the answer was not found: to be looked for again when a near question is answered
    system: str | None = None  # the caller's instructions; None: nobody could review it, it does not stand alone
    reopens: bool = True  # near questions that were not answered are made anew when they come next


class CacheWriter:
    """A bounded queue and one task. Full queue, store away, documents changed: the answer is not kept, nothing else.

    ``on_outcome`` hears "kept", "linked", "alias", "gone" (what an alias leads to), "dropped", "store away",
    "document changed", "failed", or why it was not admitted. ``on_compared`` hears whether two answers to the very same
    question agreed; ``review`` is offered those that contradict each other.
    """

    def __init__(
        self,
        store: AnswerStore,
        index: QuestionIndex | None = None,
        *,
        rule: Rule | None = None,
        record: DocumentRecord | None = None,
        review: ReviewQueue | None = None,
        on_outcome: Callable[[str], None] = lambda outcome: None,
        on_compared: Callable[[bool], None] = lambda agreed: None,
        wall_clock: WallClock = time.time,
        max_waiting: int = 1_000,
    ) -> None:
        self._store = store
        self._index = index
        self._rule = rule
        self._record = record
        self._review = review
        self._tell = on_outcome
        self._tell_compared = on_compared
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
        canonical: CacheKey | None = None,
        reopens: bool = True,
    ) -> Verdict:
        """Take an answer for keeping if it is admissible. Returns at once; never raises for what happens later.

        ``canonical``: the entry that it takes the place of, where this wording is an alias. ``reopens``: kept refusals
        of near questions are made anew when they come next.
        """
        verdict = admissible(request, answer, evidence, wishes, limits)
        if not verdict.keep:
            self._tell(verdict.reason)
            return verdict
        entry = CacheEntry(
            key=canonical or keys.exact,
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
        wording = Wording(keys.exact, request.question, evidence) if entry.key != keys.exact else None
        open = keys.semantic and verdict.reason == NOT_FOUND_REASON
        self._put(
            _Offer(
                entry, vector if findable or open else None, wording, canonical, open, instructions(request), reopens
            )
        )
        return verdict

    def renew(self, keys: Keys, request: ChatRequest, earlier: CacheEntry, evidence: Evidence, vector: Vector | None,
              ttl_s: float) -> None:  # fmt: skip
        """Keep an earlier answer for another life: it was asked for again, and its facts still stand."""
        entry = replace(
            earlier, created_at=self._now(), ttl_s=ttl_s, epoch=evidence.epoch, generation=keys.generation
        )  # fmt: skip
        wording = Wording(keys.exact, request.question, evidence) if entry.key != keys.exact else None
        reason = why_only_exact(entry.answer)
        open = keys.semantic and reason == NOT_FOUND_REASON
        findable = keys.semantic and not reason
        self._put(_Offer(entry, vector if findable or open else None, wording, entry.key, open))

    def alias(
        self, keys: Keys, request: ChatRequest, canonical: CacheKey, evidence: Evidence, vector: Vector | None
    ) -> None:
        """From now on this wording is answered by what is kept under ``canonical``."""
        self._put(_Offer(None, vector, Wording(keys.exact, request.question, evidence), canonical))

    def _put(self, offer: _Offer) -> None:
        try:
            self._queue.put_nowait(offer)
        except asyncio.QueueFull:
            self._tell("dropped")
            return
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

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
            await ended(self._worker)
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
        entry, outcome = offer.entry, "kept"
        if entry is not None:
            if not freshness.documents_unchanged(entry, self._record):
                return "document changed"  # between the search and now: the answer may rest on the old text
            with suppress(StoreUnavailable):
                await self._compare_with_itself(entry, offer.system)
            await self._store.put(entry)
            if offer.open and offer.vector is not None and self._index is not None:
                await leave_open(self._index, entry, offer.vector)
            elif offer.wording is None and offer.vector is not None and self._index is not None:
                if offer.reopens:
                    await reopen(self._store, self._index, entry, offer.vector)
                wrong = partial(self._found, "wrong_hit", entry, offer.system)
                outcome = await index_question(self._store, self._index, entry, offer.vector, self._rule, wrong)
        if offer.wording is not None and offer.canonical is not None and not offer.open:
            return await self._lead(offer.wording, offer.canonical, offer.vector)
        return outcome

    async def _lead(self, wording: Wording, canonical: CacheKey, vector: Vector | None) -> str:
        """Keep an alias, and let yet other wordings find the canonical entry by it."""
        found = await self._store.get(canonical)
        entry = await followed(self._store, found) if found is not None else None
        if entry is None or entry.key == wording.key or not freshness.documents_unchanged(entry, self._record):
            return "gone"  # or not kept, and what is there is older than its documents
        if reason := why_only_exact(entry.answer):
            return reason
        made = alias(wording.key, wording.question, entry, wording.evidence, self._now())
        await self._store.put(made)
        if vector is not None and self._index is not None:
            text = unicodedata.normalize("NFC", wording.question)
            await self._index.add(CachedQuestion(text, entry.key), vector, made.ttl_s)
        return "alias"

    async def _compare_with_itself(self, entry: CacheEntry, system: str | None) -> None:
        """How far a provider's answers to the very same question differ, wherever one is asked for again."""
        if self._rule is None:
            return
        before = await self._store.get(entry.key)
        if before is None or dict(before.dependencies) != dict(entry.dependencies):
            return
        verdict = agreement(before, entry).verdict
        if before.answer.model == entry.answer.model:  # else it may be a draft that the big model corrects
            self._rule.repeated(verdict is FactVerdict.SAME)
            if verdict is not FactVerdict.UNCLEAR:
                self._tell_compared(verdict is FactVerdict.SAME)
        if verdict is FactVerdict.DIFFERENT:
            self._found("flip", entry, system, before)

    def _found(self, kind: FindingKind, fresh: CacheEntry, system: str | None, kept: CacheEntry) -> None:
        """Put two answers up for review, that was kept and that is fresh."""
        if self._review is None or system is None:
            return
        self._review.offer(
            Finding(
                kind,
                fresh.key.scope.tenant_id,
                fresh.requested_model,
                fresh.question,
                kept.answer.text,
                fresh.answer.text,
                fresh.namespace,
                system,
                kept.dependencies,
                kept.citations,
            )
        )


def instructions(request: ChatRequest) -> str | None:
    """What the caller told the model; None where the question does not stand alone."""
    if request.earlier:
        return None
    return "\n".join(m.text for m in request.messages if m.role in {"system", "developer"})


async def leave_open(index: QuestionIndex, entry: CacheEntry, vector: Vector) -> None:
    """Remember a question that no answer was found for, apart from those that can answer another."""
    question = CachedQuestion(
        unicodedata.normalize("NFC", entry.question), CacheKey(_open(entry.key), entry.key.digest)
    )
    await index.add(question, vector, entry.ttl_s)


async def reopen(store: AnswerStore, index: QuestionIndex, entry: CacheEntry, vector: Vector) -> None:
    """A question was answered: near ones that were not are looked at again when they come next. It may be the same
    question, in words that do not find the document."""
    for near in await index.search(_open(entry.key), vector, COMPARED):
        key = CacheKey(entry.key.scope, near.question.key.digest)
        kept = await store.get(key) if near.similarity >= LINK_FLOOR else None
        if kept is not None and why_only_exact(kept.answer) == NOT_FOUND_REASON:
            await store.put(replace(kept, ttl_s=0.0))  # its time is up; it stays known as what was said before


def _open(key: CacheKey) -> Scope:
    return Scope(key.scope.tenant_id, f"{key.scope.digest}-open")


async def index_question(
    store: AnswerStore,
    index: QuestionIndex,
    entry: CacheEntry,
    vector: Vector,
    rule: Rule | None = None,
    on_wrong: Callable[[CacheEntry], None] = lambda kept: None,
) -> str:
    """Make a kept answer findable by meaning: "kept", or "linked" where a near question has the same answer.

    A linked question points to the earlier answer, so that all wordings get the same bytes, and vouch for each other.
    ``rule`` hears which of the near answers the fresh one agrees with; ``on_wrong`` the one that it would have given
    although it contradicts the fresh one.
    """
    text = unicodedata.normalize("NFC", entry.question)
    near = await index.search(entry.key.scope, vector, rule.candidates if rule is not None else COMPARED)
    others = [n for n in near if n.question.key != entry.key and n.question.text != text]  # itself, being renewed
    same: dict[CacheKey, bool] = {}
    wrong: dict[CacheKey, CacheEntry] = {}
    linked: CacheEntry | None = None
    for key in dict.fromkeys(n.question.key for n in others if n.similarity >= LINK_FLOOR):
        kept = await store.get(key) if len(same) < COMPARED else None
        if kept is not None:
            verdict = agreement(kept, entry).verdict  # also where they rest on other passages
            same[key] = verdict is FactVerdict.SAME
            if verdict is FactVerdict.DIFFERENT:
                wrong[key] = kept
            linked = kept if linked is None and same_answer(kept, entry) else linked
    if rule is not None and len(others) == len(near):
        given = rule.learn(text, others, same)
        if given in wrong:
            on_wrong(wrong[given])
    if linked is None:
        await index.add(CachedQuestion(text, entry.key), vector, entry.ttl_s)
        return "kept"
    ttl_s = min(entry.ttl_s, max(0.0, linked.ttl_s - linked.age_s(entry.created_at)))
    await index.add(CachedQuestion(text, linked.key), vector, ttl_s)
    return "linked"
