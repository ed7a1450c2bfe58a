"""The story of one question, top to bottom.

exact cache → a twin in flight? join it : else produce
produce:  embed → semantic cache  │  retrieval from every source     (side by side)
          hit → replay    else ground the prompt → router → upstream
                          or, for models that promise a time: draft, big model and fallbacks (in_time)
answer events → every listener of the flight → cache writer, after the reply
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from gateway.accounts.accounts import Accounts
from gateway.answers.serving import Case, ReviewedAnswers
from gateway.answers.verifying import Verifier
from gateway.cache.admission import Limits
from gateway.cache.exact import ExactCache
from gateway.cache.inflight import Inflight, Joined
from gateway.cache.keys import Keys, Sharing, cache_keys
from gateway.cache.replay import replay
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.chat import (
    Answer,
    AnswerEvent,
    CacheHit,
    CacheOutcome,
    ChatRequest,
    Closed,
    Evidence,
    Opened,
    RequestContext,
    Send,
    ServedBy,
)
from gateway.clock import WallClock
from gateway.errors import NotCached, UnknownModel
from gateway.in_time import Asked, InTime, Promise
from gateway.metrics import Metrics
from gateway.ports import DocumentRecord, Embedder, Vector
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.grounding import PROMPT_VERSION, ground
from gateway.retrieval.question import search_text
from gateway.retrieval.shelves import Shelves
from gateway.routing.router import ANY_MODEL, Router
from gateway.routing.spend import prompt_tokens
from gateway.stages import Stages, beside


@dataclass(frozen=True, slots=True)
class Plan:
    """How questions to one model name are answered."""

    model: str
    answers_with: str  # model whose deployments answer; "" when it is the requested one
    caches: bool
    sharing: Sharing  # completed per request with the caller's key, groups and namespace
    limits: Limits  # on what is kept
    collections: tuple[str, ...] = ()
    gatherer: Gatherer | None = None
    system: str | None = None  # instructions for grounding; None: the built-in ones
    promise: Promise | None = None  # a time by which there is an answer, and what helps to keep it


@dataclass(frozen=True, slots=True)
class Budgets:
    """Seconds that optional stages may take; a stage that is late is left out."""

    exact_s: float = 0.1
    embed_s: float = 0.5
    semantic_s: float = 1.0  # it waits for the embedding and, for document models, for the evidence
    retrieval_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Job:
    """One request with all that was decided about it before work began."""

    ctx: RequestContext
    request: ChatRequest
    plan: Plan
    keys: Keys
    reads: bool
    writes: bool
    case: Case | None = None  # what reviewed answers there are that may bear on it


@dataclass(slots=True)
class Pipeline:
    """Answers chat requests. Its fields are its collaborators."""

    plans: Mapping[str, Plan]
    secret: bytes
    record: DocumentRecord | None
    exact: ExactCache
    semantic: SemanticCache | None
    inflight: Inflight
    coalesce: bool
    embedder: Embedder | None
    router: Router
    in_time: InTime
    writer: CacheWriter
    stages: Stages
    metrics: Metrics
    reviewed: ReviewedAnswers
    accounts: Accounts
    verifier: Verifier | None = None  # asks again, in the background, for what is given often
    shelves: Shelves | None = None  # documents that requests may name for themselves
    budgets: Budgets = Budgets()
    wall_clock: WallClock = time.time

    def improves(self, ctx: RequestContext, model: str) -> bool:
        """False where a request would only be passed on: then it is relayed as bytes."""
        plan = self._plan(model)
        return (
            plan.caches
            or plan.gatherer is not None
            or bool(plan.answers_with)
            or plan.promise is not None
            or ctx.documents is not None
            or self._asked(ctx)
            or self.reviewed.covers(ctx.tenant.id, model)
        )

    def promise_s(self, model: str) -> float | None:
        """Seconds in which the model promises an answer, or None."""
        promise = self._plan(model).promise
        return promise.seconds if promise is not None else None

    @asynccontextmanager
    async def answer(self, ctx: RequestContext, request: ChatRequest) -> AsyncIterator[Joined]:
        """The answer's events, beginning with Opened. Raises GatewayError before it, and in the stream after it."""
        job = self._job(ctx, request)
        hit = self.reviewed.exact(job.case) or (await self._exact(job) if job.reads else None)
        if hit is not None:
            self._saved(job, hit)
            yield _replayed(hit, request)
            return
        with self.accounts.spending(ctx.key_id, lambda: prompt_tokens(request.body)):
            async with self.inflight.join(self._flight(job), partial(self._produce, job)) as joined:
                yield joined

    def _flight(self, job: Job) -> str | None:
        """Who may share one production: the same question, and the same patience with it."""
        if not (self.coalesce and job.reads and job.writes) or job.ctx.wishes.only_if_cached:
            return None
        ctx = job.ctx
        promised_s = ctx.promise.remaining_s() if ctx.promise is not None else 0.0
        # Nobody who asks after a purge or a review may get by a flight what it took away.
        place = f"{job.keys.exact.digest}:{self.exact.generation}:{self.reviewed.revision}"
        return f"{place}:{ctx.deadline.remaining_s():.0f}:{promised_s:.1f}:{ctx.draft}"

    async def _produce(self, job: Job, send: Send) -> None:
        """Lead the flight: find or make the answer and send it to all who listen."""
        ctx, request, plan = job.ctx, job.request, job.plan
        deadline, attempt = ctx.deadline, self.stages.attempt
        began = deadline.clock()
        text = search_text(request)
        async with beside() as start:
            embedding = start(self._embed(job, text))
            retrieval = start(
                attempt(
                    ctx, "retrieve", self._retrieve(job, text, embedding),
                    deadline.within(self.budgets.retrieval_s), Evidence(partial=True),
                )
            )  # fmt: skip
            lookup = start(
                attempt(
                    ctx, "cache_semantic", self._by_meaning(job, embedding, retrieval),
                    deadline.within(self.budgets.semantic_s), None,
                )
            )  # fmt: skip
            if (hit := await lookup) is not None:
                self._saved(job, hit)
                replay(hit, send)
                return
            if ctx.wishes.only_if_cached:
                raise NotCached("nothing in the cache answers this request, and only-if-cached was asked for")
            evidence = await retrieval
            vector = await embedding if job.keys.semantic else None
        send = self.reviewed.guarded(job.case, send)
        opened = Opened(
            ServedBy.MODEL,
            CacheOutcome.MISS if job.reads else CacheOutcome.BYPASS,
            request.requested_model,
            citations=evidence.passages,
            partial=evidence.partial,
        )

        def keep(answer: Answer, ttl_s: float | None) -> None:
            limits = plan.limits if ttl_s is None else replace(plan.limits, ttl_s=min(ttl_s, plan.limits.ttl_s))
            if job.writes:
                took_s = deadline.clock() - began
                self.writer.offer(job.keys, request, answer, evidence, vector, ctx.wishes, limits, took_s)

        def send_and_keep(event: AnswerEvent) -> None:
            if isinstance(event, Closed):  # before the last listener can leave and end this flight
                keep(event.answer, None)
            send(event)

        grounded = self._grounded(job, evidence)
        if plan.promise is None or ctx.promise is None:
            await self.router.stream(grounded, ctx, opened, send_and_keep)
            return
        stale = partial(self.exact.stale, job.keys, ctx.wishes, self.record, evidence)
        over_best = partial(self._grounded, job, evidence)
        asked = Asked(ctx, request, grounded, over_best, evidence, opened, ctx.promise, stale, keep)
        await self.in_time.answer(asked, plan.promise, send)

    async def _exact(self, job: Job) -> CacheHit | None:
        budget = job.ctx.deadline.within(self.budgets.exact_s)
        work = self.exact.lookup(job.keys, job.ctx.wishes, self.record, job.plan.collections)
        hit = await self.stages.attempt(job.ctx, "cache_exact", work, budget, None)
        self._count("exact", hit)
        if hit is None or job.case is None:
            return hit
        text = search_text(job.request)  # what the cache kept for these words may be an answer to a reviewed question
        meant = await self.reviewed.by_meaning(job.case, partial(self._embed, job, text), None)
        return meant or self.reviewed.allowed(job.case, hit)

    async def _by_meaning(
        self, job: Job, embedding: asyncio.Task[Vector | None], retrieval: asyncio.Task[Evidence]
    ) -> CacheHit | None:
        """A verified answer to the same question in other words, or the same one re-checked against new documents."""
        evidence = retrieval if job.plan.gatherer is not None else None
        if (reviewed := await self.reviewed.by_meaning(job.case, lambda: embedding, evidence)) is not None:
            return reviewed
        if not job.reads:
            return None
        if evidence is not None:
            confirmed = await self.exact.confirm(job.keys, job.ctx.wishes, self.record, await evidence)
            if (confirmed := self.reviewed.allowed(job.case, confirmed)) is not None:
                return confirmed
        if self.semantic is None or not job.keys.semantic:
            return None
        hit = await self.semantic.lookup(job.keys, job.request.question, embedding, evidence, job.ctx.wishes)
        self._count("semantic", hit)
        return self.reviewed.allowed(job.case, hit)

    async def _embed(self, job: Job, text: str) -> Vector | None:
        """The question's vector, shared by cache lookup and dense retrieval; None when it is off, late or fails."""
        if (
            self.embedder is None
            or not text
            or not (job.plan.gatherer is not None or (job.keys.semantic and (job.reads or job.writes or job.case)))
        ):
            return None
        budget = job.ctx.deadline.within(self.budgets.embed_s)
        vectors = await self.stages.attempt(job.ctx, "embed", self.embedder.embed([text], query=True), budget, None)
        return vectors[0] if vectors is not None else None

    async def _retrieve(self, job: Job, text: str, embedding: asyncio.Task[Vector | None]) -> Evidence:
        plan = job.plan
        if plan.gatherer is None or not text:
            return Evidence()

        async def vector() -> Vector | None:
            return await asyncio.shield(embedding)

        evidence = await plan.gatherer.gather(text, job.ctx.tenant.groups, plan.collections, vector, job.ctx.deadline)
        self.metrics.evidence(len(evidence.passages))
        return evidence

    def _grounded(self, job: Job, evidence: Evidence, best: int | None = None) -> ChatRequest:
        """The request as it goes upstream, with the model that answers and the passages (``best``: only so many, the
        likeliest) in its prompt."""
        request = job.request
        if job.plan.gatherer is not None:
            request = replace(request, body=ground(request, evidence, system=job.plan.system, best=best))
        if job.plan.answers_with:
            request = replace(request, requested_model=job.plan.answers_with)
        return request

    def _job(self, ctx: RequestContext, request: ChatRequest) -> Job:
        plan = self._with_documents(self._plan(request.requested_model), ctx)
        sharing = replace(plan.sharing, key_id=ctx.key_id, groups=ctx.tenant.groups, namespace=ctx.wishes.namespace)
        caches = plan.caches or self._asked(ctx)
        keys = replace(cache_keys(self.secret, ctx.tenant, request, sharing), generation=self.exact.generation)
        return Job(
            ctx=ctx,
            request=request,
            plan=plan,
            keys=keys,
            reads=caches and ctx.wishes.read,
            writes=caches and ctx.wishes.write,
            case=self.reviewed.case(ctx, request, keys, plan.collections),
        )

    def _with_documents(self, plan: Plan, ctx: RequestContext) -> Plan:
        """The plan with the documents that the request names for itself, if any."""
        named = ctx.documents
        if named is None or self.shelves is None:
            return plan
        collections = self.shelves.collections(named, ctx.tenant)
        gatherer = self.shelves.gatherer(collections, named.top_k)
        prompt = f"{plan.sharing.prompt_version or PROMPT_VERSION}:{named.top_k}"
        sharing = replace(plan.sharing, collections=collections, prompt_version=prompt)
        return replace(plan, collections=collections, gatherer=gatherer, sharing=sharing)

    def _plan(self, model: str) -> Plan:
        plan = self.plans.get(model) or self.plans.get(ANY_MODEL)
        if plan is None:
            known = ", ".join(sorted(self.plans)) or "none"
            raise UnknownModel(f"no model named {model!r} is configured; configured models: {known}", param="model")
        return plan

    def _asked(self, ctx: RequestContext) -> bool:
        return ctx.wishes.asked or ctx.wishes.only_if_cached

    def _saved(self, job: Job, hit: CacheHit) -> None:
        if self.verifier is not None:
            self.verifier.served(hit, lambda: self._grounded(job, Evidence(hit.entry.citations)))
        self.metrics.cache_saved(
            hit.outcome, hit.entry.key.scope.tenant_id, hit.entry.requested_model, hit.entry.took_s
        )

    def _count(self, tier: str, hit: CacheHit | None) -> None:
        self.metrics.cache_lookup(tier, "hit" if hit is not None else "miss")
        if hit is not None:
            self.metrics.cache_hit(tier, hit.entry.age_s(self.wall_clock()), hit.similarity)


def _replayed(hit: CacheHit, request: ChatRequest) -> Joined:
    """An exact hit as its caller reads it: nothing is in flight, and only a stream needs the pieces."""
    events: list[AnswerEvent] = []
    replay(hit, events.append, pieces=request.stream)

    async def at_once() -> AsyncIterator[list[AnswerEvent]]:
        yield events

    return Joined(at_once(), coalesced=False)
