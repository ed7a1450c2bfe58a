"""What the documents hold on a question: found by its own words and, for a follow-up, by what it means as well."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from gateway.chat import Evidence
from gateway.clock import Deadline
from gateway.errors import GatewayError
from gateway.meaning import Meaning, Meant
from gateway.metrics import Metrics
from gateway.plan import Job
from gateway.ports import Embedder, Vector
from gateway.retrieval.gather import Found, Gatherer
from gateway.retrieval.question import besides, follows_up
from gateway.routing.rewriting import Rewriter, TooDear
from gateway.stages import Stages, Start
from gateway.values import dataclass

log = structlog.get_logger()
SEARCHES = 2  # at most, where every source was late or failed
PROMISED_SHARE = 0.2  # of the time that is left of a promise: as long as a rewriting may take of it


@dataclass(frozen=True, slots=True)
class Budgets:
    """Seconds that optional stages may take; a stage that is late is left out."""

    exact_s: float = 0.1
    embed_s: float = 0.5
    semantic_s: float = 1.0  # it waits for the embedding and, for document models, for the evidence
    retrieval_s: float = 1.0
    judge_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Begun:
    """What is looked for, beside each other."""

    vector: asyncio.Task[Vector | None]
    evidence: asyncio.Task[Evidence]
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Finder:
    embedder: Embedder | None  # finds documents
    wordings: Embedder | None  # tells questions apart for the cache; may be the same
    stages: Stages
    metrics: Metrics
    budgets: Budgets = Budgets()

    def begin(self, job: Job, text: str, start: Start) -> Begun:
        """Side by side: the question's vector for the cache, the search in documents, and what a follow-up means, which
        nothing here waits for."""
        embedding = start(self.vector(job, text))
        search = start(self._found(job, text, embedding))
        rewriter = self._rewriter(job)
        meaning = Meaning(start(self._meant(job, rewriter, search)) if rewriter is not None and text else None)
        return Begun(start(self.meaning(job, text, embedding)), start(self._evidence(job, search)), meaning)

    async def vector(self, job: Job, text: str) -> Vector | None:
        """The question's vector for the search in documents; None when nobody needs it, or it is off, late or fails."""
        return await self._vector(job, text, self.embedder) if job.plan.gatherer is not None else None

    async def meaning(self, job: Job, text: str, known: asyncio.Task[Vector | None] | None = None) -> Vector | None:
        """The question's vector for the cache; where that is the same one, ``known`` has it already."""
        if not job.keys.semantic or not (job.reads or job.writes or job.case):
            return None
        if known is not None and self.wordings is self.embedder and job.plan.gatherer is not None:
            return await asyncio.shield(known)
        return await self._vector(job, text, self.wordings)

    async def _vector(self, job: Job, text: str, embedder: Embedder | None) -> Vector | None:
        if embedder is None or not text:
            return None
        budget = job.ctx.deadline.within(self.budgets.embed_s)
        vectors = await self.stages.attempt(job.ctx, "embed", embedder.embed([text], query=True), budget, None)
        return vectors[0] if vectors is not None else None

    async def _found(self, job: Job, text: str, embedding: asyncio.Task[Vector | None]) -> Found:
        """What is found for ``text`` in time. Where every source was late or failed, they are asked once more: without
        passages the model can only say that nothing is there."""
        if job.plan.gatherer is None or not text:
            return Found()
        ctx, found = job.ctx, Found(partial=True)
        for _ in range(SEARCHES):
            search = self._searched(job, job.plan.gatherer, text, embedding)
            budget = ctx.deadline.within(self.budgets.retrieval_s)
            found = await self.stages.attempt(ctx, "retrieve", search, budget, found)
            if found.ranked or not found.partial:
                break
        return found

    async def _searched(self, job: Job, gatherer: Gatherer, text: str, embedding: asyncio.Task[Vector | None]) -> Found:
        """For what may be a follow-up both with what was asked before and by its own words."""

        async def vector() -> Vector | None:
            return await asyncio.shield(embedding)

        groups, collections, deadline = job.ctx.tenant.groups, job.plan.collections, job.ctx.deadline
        search = gatherer.find(text, groups, collections, vector, deadline)
        other = besides(job.request)
        if not other:
            return await search
        search_other = gatherer.find(other, groups, collections, partial(self._embedded, other), deadline)
        return gatherer.both(*await asyncio.gather(search, search_other))

    async def _evidence(self, job: Job, search: asyncio.Task[Found]) -> Evidence:
        found, gatherer = await asyncio.shield(search), job.plan.gatherer
        if gatherer is None:
            return Evidence()
        evidence = gatherer.chosen(found)
        self.metrics.evidence(len(evidence.passages))
        return evidence

    def _rewriter(self, job: Job) -> Rewriter | None:
        """The rewriter of a question that needs one."""
        rewriter = job.plan.rewriter
        wanted = job.plan.gatherer is not None and not job.ctx.wishes.only_if_cached and follows_up(job.request)
        return rewriter if wanted else None

    async def _meant(self, job: Job, rewriter: Rewriter, search: asyncio.Task[Found]) -> Meant | None:
        """The stand-alone question that a follow-up means, if that is known in time, and what its search adds to
        ``search``. A rewriting that is late, fails or is too dear changes nothing."""
        ctx = job.ctx
        promised_s = ctx.promise.remaining_s() if ctx.promise is not None else float("inf")
        by = ctx.deadline.within(min(rewriter.patience_s, PROMISED_SHARE * promised_s))
        work = self._rewritten(job, rewriter, search, by)
        result, meant = await self.stages.attempt(ctx, "rewrite", work, by, ("late", None))
        self.metrics.rewritten(result)
        return meant

    async def _rewritten(
        self, job: Job, rewriter: Rewriter, search: asyncio.Task[Found], by: Deadline
    ) -> tuple[str, Meant | None]:
        try:
            text = await rewriter.rewrite(job.request, job.ctx)
        except TooDear:
            return "too dear", None
        except GatewayError as error:
            log.info("rewriting failed", error=str(error), request_id=job.ctx.id)
            return "failed", None
        if text is None:
            return "unchanged", None
        gatherer = job.plan.gatherer
        assert gatherer is not None
        vector = partial(self._embedded, text)
        meant = await gatherer.find(text, job.ctx.tenant.groups, job.plan.collections, vector, by)
        better = gatherer.better(await asyncio.shield(search), meant)
        return "there" if better is None else "joined", Meant(text, better)

    async def _embedded(self, text: str) -> Vector | None:
        if self.embedder is None:
            return None
        try:
            vectors = await self.embedder.embed([text], query=True)
        except GatewayError:
            return None
        first: Vector = vectors[0]
        return first
