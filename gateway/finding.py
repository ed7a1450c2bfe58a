"""What the documents hold on a question: found by its own words and, for a follow-up, also by what it means."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from gateway.chat import Evidence
from gateway.clock import Deadline
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.plan import Job
from gateway.ports import Embedder, Vector
from gateway.retrieval.gather import Found, Gatherer
from gateway.retrieval.question import follows_up
from gateway.routing.rewriting import Rewriter, TooDear
from gateway.stages import Stages, Start, beside
from gateway.values import dataclass

log = structlog.get_logger()
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
class Finder:
    embedder: Embedder | None  # finds documents
    wordings: Embedder | None  # tells questions apart for the cache; may be the same
    stages: Stages
    metrics: Metrics
    budgets: Budgets = Budgets()

    def begin(self, job: Job, text: str, start: Start) -> tuple[asyncio.Task[Vector | None], asyncio.Task[Evidence]]:
        """Side by side: the question's vector for the cache, and the search in documents."""
        embedding = start(self.vector(job, text))
        return start(self.meaning(job, text, embedding)), start(self.evidence(job, text, embedding))

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

    async def evidence(self, job: Job, text: str, embedding: asyncio.Task[Vector | None]) -> Evidence:
        """What is found for ``text`` in time. A follow-up is rewritten meanwhile, where the model has a rewriter, and
        what is found for that joins it; a rewriting that is late, fails or is too dear changes nothing."""
        plan, ctx = job.plan, job.ctx
        if plan.gatherer is None or not text:
            return Evidence()

        async def vector() -> Vector | None:
            return await asyncio.shield(embedding)

        async with beside() as start:
            rewriter = self.rewriter(job)
            meaning = start(self._meant(job, plan.gatherer, rewriter)) if rewriter is not None else None
            search = plan.gatherer.find(text, ctx.tenant.groups, plan.collections, vector, ctx.deadline)
            budget = ctx.deadline.within(self.budgets.retrieval_s)
            found = await self.stages.attempt(ctx, "retrieve", search, budget, Found(partial=True))
            evidence = plan.gatherer.chosen(found, await meaning if meaning is not None else None)
        self.metrics.evidence(len(evidence.passages))
        return evidence

    def rewriter(self, job: Job) -> Rewriter | None:
        """The rewriter of a question that needs one."""
        rewriter = job.plan.rewriter
        wanted = rewriter is not None and not job.ctx.wishes.only_if_cached and follows_up(job.request)
        return rewriter if wanted else None

    def patience_s(self, job: Job) -> float:
        """Seconds that ``evidence`` may take beyond the usual."""
        rewriter = self.rewriter(job)
        return rewriter.patience_s if rewriter is not None else 0.0

    async def _meant(self, job: Job, gatherer: Gatherer, rewriter: Rewriter) -> Found | None:
        """What is found for the stand-alone question that the follow-up means, if that comes in time."""
        by = _due(job, rewriter)
        work = self._rewritten(job, gatherer, rewriter, by)
        result, found = await self.stages.attempt(job.ctx, "rewrite", work, by, ("late", None))
        self.metrics.rewritten(result)
        return found

    async def _rewritten(
        self, job: Job, gatherer: Gatherer, rewriter: Rewriter, by: Deadline
    ) -> tuple[str, Found | None]:
        try:
            text = await rewriter.rewrite(job.request, job.ctx)
        except TooDear:
            return "too dear", None
        except GatewayError as error:
            log.info("rewriting failed", error=str(error), request_id=job.ctx.id)
            return "failed", None
        if text is None:
            return "unchanged", None
        vector = partial(self._embedded, text)
        return "joined", await gatherer.find(text, job.ctx.tenant.groups, job.plan.collections, vector, by)

    async def _embedded(self, text: str) -> Vector | None:
        if self.embedder is None:
            return None
        try:
            vectors = await self.embedder.embed([text], query=True)
        except GatewayError:
            return None
        first: Vector = vectors[0]
        return first


def _due(job: Job, rewriter: Rewriter) -> Deadline:
    ctx = job.ctx
    promised_s = ctx.promise.remaining_s() if ctx.promise is not None else float("inf")
    return ctx.deadline.within(min(rewriter.patience_s, PROMISED_SHARE * promised_s))
