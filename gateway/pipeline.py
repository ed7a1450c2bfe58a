"""The story of one question, top to bottom.

exact cache → a twin in flight? join it : else produce
produce:  embed → semantic cache  │  retrieval from every source     (side by side)
          hit → replay    in doubt → ask the judge, also about questions under way
          else ground the prompt → router → upstream → settled before it is given
                          or, for models that promise a time: draft, big model and fallbacks (in_time)
answer events → every listener of the flight → cache writer, after the reply
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field, replace
from functools import partial

from gateway.accounts.accounts import Accounts
from gateway.answers.serving import ReviewedAnswers
from gateway.answers.verifying import Verifier
from gateway.cache.exact import ExactCache, Found
from gateway.cache.inflight import Inflight, Joined
from gateway.cache.keys import cache_keys
from gateway.cache.replay import replay
from gateway.cache.semantic import Look, SemanticCache
from gateway.cache.twins import Flying, Near, Twins
from gateway.cache.writer import CacheWriter
from gateway.chat import (
    AnswerEvent,
    CacheHit,
    CacheOutcome,
    ChatRequest,
    Evidence,
    RequestContext,
    Send,
    ServedBy,
)
from gateway.clock import Timings, WallClock
from gateway.consulting import Consultant, Consulted, unless_ready
from gateway.errors import NotCached, UnknownModel
from gateway.finding import Finder
from gateway.following import Follower
from gateway.making import Maker
from gateway.metrics import Metrics
from gateway.plan import Asking, Job, Plan
from gateway.ports import DocumentRecord, Vector
from gateway.refusals import Refusals
from gateway.retrieval.grounding import PROMPT_VERSION
from gateway.retrieval.question import search_text
from gateway.retrieval.shelves import Shelves
from gateway.routing.router import ANY_MODEL
from gateway.routing.spend import prompt_tokens
from gateway.samples import Held
from gateway.stages import Stages, beside
from gateway.values import dataclass

NOT_CACHED = "nothing in the cache answers this request, and only-if-cached was asked for"


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
    finder: Finder
    maker: Maker
    writer: CacheWriter
    stages: Stages
    metrics: Metrics
    reviewed: ReviewedAnswers
    accounts: Accounts
    refusals: Refusals
    verifier: Verifier | None = None  # asks again, in the background, for what is given often
    twins: Twins = field(default_factory=Twins)
    shelves: Shelves | None = None  # documents that requests may name for themselves
    wall_clock: WallClock = time.time
    _improved: dict[str, bool] = field(default_factory=dict)  # by model: whatever else its requests say

    def improves(self, ctx: RequestContext, model: str) -> bool:
        """False where a request would only be passed on: then it is relayed as bytes."""
        always = self._improved.get(model)
        if always is None:
            always = self._always_improves(model)
            if model in self.plans:  # names that callers make up are not remembered
                self._improved[model] = always
        asked = ctx.documents is not None or ctx.wishes.asked or ctx.wishes.only_if_cached
        return always or asked or self.reviewed.covers(ctx.tenant.id, model)

    def _always_improves(self, model: str) -> bool:
        plan = self._plan(model)
        return (
            plan.caches
            or plan.gatherer is not None
            or bool(plan.answers_with)
            or plan.promise is not None
            or self.maker.router.hedges(model)
        )

    def grounds(self, model: str) -> bool:
        """Whether the model answers from documents."""
        return self._plan(model).gatherer is not None

    def promise_s(self, model: str) -> float | None:
        """Seconds in which the model promises an answer, or None."""
        promise = (self.plans.get(model) or self._plan(model)).promise
        return promise.seconds if promise is not None else None

    @asynccontextmanager
    async def answer(self, ctx: RequestContext, request: ChatRequest) -> AsyncIterator[Joined]:
        """The answer's events, beginning with Opened. Raises GatewayError before it, and in the stream after it."""
        job = self._job(ctx, request)
        hit = self.reviewed.exact(job.case) or (await self._exact(job) if job.reads else None)
        if hit is not None:
            since = self.reviewed.allowed(job.case, await self.refusals.answered_since(job, hit))
            if since is not None:
                self._count("judge", since)
            hit = since or hit
            self._saved(job, hit)
            own = hit.entry.key == job.keys.exact  # an alias may end before the answer it leads to
            plain = own and job.case is None and self.verifier is None and not self.refusals.doubted(job, hit)
            yield _replayed(hit, request, Found(hit.entry, job.plan.collections) if plain else None)
            return
        flight = self._flight(job)
        with self.accounts.spending(ctx.key_id, lambda: prompt_tokens(request.body)):
            async with self.inflight.join(flight, partial(self._produce, job, flight)) as joined:
                yield joined

    def again(self, found: Found, id: str, timings: Timings) -> CacheHit | None:
        """What ``answer`` gives for the same bytes, where that is the hit ``found`` before and takes no waiting."""
        entry = found.entry
        if self.reviewed.covers(entry.key.scope.tenant_id, entry.requested_model):
            return None
        hit = self.stages.at_once(id, timings, "cache_exact", partial(self.exact.again, found, self.record), None)
        if hit is not None:
            self._count("exact", hit)
            self._count_saved(hit)
        return hit

    def _flight(self, job: Job) -> str | None:
        """Who may share one production: the same question, and the same patience with it."""
        if not (self.coalesce and job.reads and job.writes) or job.ctx.wishes.only_if_cached:
            return None
        ctx = job.ctx
        promised_s = ctx.promise.allotted_s if ctx.promise is not None else 0.0
        # Nobody who asks after a purge or a review may get by a flight what it took away.
        place = f"{job.keys.exact.digest}:{self.exact.generation}:{self.reviewed.revision}"
        return f"{place}:{ctx.deadline.allotted_s}:{promised_s}:{ctx.draft}"

    async def _produce(self, job: Job, flight: str | None, send: Send) -> None:
        """Lead the flight: find or make the answer and send it to all who listen."""
        ctx, request = job.ctx, job.request
        deadline, attempt = ctx.deadline, self.stages.attempt
        began = deadline.clock()
        text = search_text(request)
        async with beside() as start:
            begun = self.finder.begin(job, text, start)
            # Where it is late, what it waits for goes on.
            meant = self._by_meaning(job, asyncio.shield(begun.vector), asyncio.shield(begun.evidence))
            budget = deadline.within(self.finder.budgets.semantic_s)
            look = await attempt(ctx, "cache_semantic", meant, budget, Look(None))
            if look.hit is not None:
                self._saved(job, look.hit)
                if look.hit.outcome is CacheOutcome.SEMANTIC and look.hit.served_by is ServedBy.CACHE:
                    self._known_by(Asking(job, flight, (), await begun.evidence, None, began), look.hit)
                replay(look.hit, send)
                return
            evidence = await begun.evidence
            vector = await begun.vector if job.keys.semantic and job.checked else None
            asking = Asking(job, flight, look.doubts, evidence, vector, began, begun.meaning).without_neighbours()
            if ctx.wishes.only_if_cached and not asking.doubts:
                raise NotCached(NOT_CACHED)
            await self._found_or_made(asking, send)

    async def _found_or_made(self, asking: Asking, send: Send) -> None:
        """Ask the judge whether the answer is there or on its way; else make it. Where the promised time is short,
        both at once: what is made is held back until the judge has spoken."""
        job, plan = asking.job, asking.job.plan
        send = self.reviewed.guarded(job.case, send)
        if plan.judge is not None:
            plan.judge.earn(self.maker.cost(asking))
        if plan.rewriter is not None:
            plan.rewriter.earn(self.maker.cost(asking))
        consults = bool(asking.doubts) and plan.judge is not None
        flight = self.inflight.under(asking.flight) if asking.flight is not None else None
        if asking.vector is None or asking.flight is None or flight is None:
            await (self._made_unless(asking, None, (), send) if consults else self.maker.make(asking, send))
            return
        with self.twins.entered(job.request.question, job.keys.exact, asking.vector, asking.flight, flight) as mine:
            near = self.twins.before(mine)
            await (self._made_unless(asking, mine, near, send) if near or consults else self.maker.make(asking, send))

    async def _made_unless(self, asking: Asking, mine: Flying | None, near: Sequence[Near], send: Send) -> None:
        """Make the answer, unless the judge finds that the question is an earlier one in other words."""
        ctx, plan = asking.job.ctx, asking.job.plan
        async with beside() as start:
            consultant = Consultant(plan.judge if asking.job.reads else None)

            async def consulted() -> Consulted | None:  # its parts are made when it begins: it may be cancelled before
                doubts = consultant.consult(asking.job.request.question, asking.doubts, near, ctx, asking.contests)
                budget = ctx.deadline.within(self.finder.budgets.judge_s)
                return await self.stages.attempt(ctx, "judge", doubts, budget, None)

            consulting = start(consulted())
            held: Held | None = None
            if plan.promise is not None and plan.promise.draft is not None and not ctx.wishes.only_if_cached:
                held = Held()
                making = start(self.maker.make(asking, held.hear))
            found = await unless_ready(consulting, held.begun if held is not None else None)
            if found is not None and await self._told(asking, found, mine, send):
                return
            if found is not None and found.hit is None and (landed := asking.landed):
                found = replace(found, hit=landed[0], leader=None)
            if ctx.wishes.only_if_cached:
                raise NotCached(NOT_CACHED)
            if held is not None:
                held.let_go(send)
                await making
                return
        doubted = found is not None and found.hit is not None and (found.audit or asking.contests(found.hit))
        await self.maker.make(asking.against(found) if found is not None and doubted else asking, send)

    async def _told(self, asking: Asking, found: Consulted, mine: Flying | None, send: Send) -> bool:
        """Give what the judge found, and remember the wording as an alias of it. False where it is gone, or audited."""
        job, hit = asking.job, found.hit
        if found.audit or (hit is not None and asking.contests(hit)):
            return False
        if hit is None:
            if mine is not None:
                self.twins.withdraw(mine)
            assert found.leader is not None
            hit = await Follower(self.inflight, self.writer, self.exact).follow(asking, found.leader, send)
            if hit is None:
                return found.leader.flying.key in asking.followed
            if asking.contests(hit):
                asking.landed.append(hit)
                return False
        if hit.served_by is ServedBy.REVIEWED:
            self.reviewed.judged(job.case, hit)
            replay(hit, send)
            return True
        if (allowed := self.reviewed.allowed(job.case, hit)) is None:
            return False
        if allowed is not hit:
            replay(allowed, send)
            return True
        self._count("judge", hit)
        self._saved(job, hit)
        replay(hit, send)
        if job.writes:
            self.writer.alias(job.keys, job.request, hit.entry.key, asking.evidence, asking.vector)
        return True

    def _known_by(self, asking: Asking, hit: CacheHit) -> None:
        """A wording that the semantic cache recognised gets these bytes from now on, if what it finds bears them
        out."""
        job = asking.job
        if job.writes and job.plan.settling is not None and asking.evidence.passages and not asking.contests(hit):
            self.writer.alias(job.keys, job.request, hit.entry.key, asking.evidence, None)

    async def _exact(self, job: Job) -> CacheHit | None:
        budget = job.ctx.deadline.within(self.finder.budgets.exact_s)
        work = self.exact.lookup(job.keys, job.ctx.wishes, self.record, job.plan.collections)
        hit = await self.stages.attempt(job.ctx, "cache_exact", work, budget, None)
        self._count("exact", hit)
        if hit is None or job.case is None:
            return hit
        text = search_text(job.request)  # what the cache kept for these words may be an answer to a reviewed question
        meant = await self.reviewed.by_meaning(job.case, partial(self.finder.meaning, job, text), None)
        return meant or self.reviewed.allowed(job.case, hit)

    async def _by_meaning(
        self, job: Job, meaning: asyncio.Future[Vector | None], retrieval: asyncio.Future[Evidence]
    ) -> Look:
        """A verified answer to the same question in other words, or the same one re-checked against new documents or
        brought back; else what a judge may look at."""
        evidence = retrieval if job.plan.gatherer is not None else None
        if (reviewed := await self.reviewed.by_meaning(job.case, lambda: meaning, evidence)) is not None:
            return Look(reviewed)
        if not job.reads:
            return Look(None)
        if evidence is not None:
            confirmed = await self.exact.confirm(job.keys, job.ctx.wishes, self.record, await evidence)
            if (confirmed := self.reviewed.allowed(job.case, confirmed)) is not None:
                return Look(confirmed)
        found = await evidence if evidence is not None else Evidence()
        restored = await self.exact.restored(job.keys, job.ctx.wishes, self.record, found)
        if (restored := self.reviewed.allowed(job.case, restored)) is not None:
            return Look(restored)
        if self.semantic is None or not job.keys.semantic:
            return Look(None)
        look = await self.semantic.look(
            job.keys, job.request.question, meaning, evidence, job.ctx.wishes,
            judged=job.plan.judge is not None, rechecked=job.plan.settling is not None,
        )  # fmt: skip
        self._count("semantic", look.hit)
        hit = self.reviewed.allowed(job.case, look.hit)
        doubts = self.reviewed.doubts(job.case) if hit is None and job.plan.judge is not None else ()
        return Look(hit, (*doubts, *look.doubts))

    def _job(self, ctx: RequestContext, request: ChatRequest) -> Job:
        plan = self._with_documents(self._plan(request.requested_model), ctx)
        sharing = replace(plan.sharing, key_id=ctx.key_id, groups=ctx.tenant.groups, namespace=ctx.wishes.namespace)
        caches = plan.caches or ctx.wishes.asked or ctx.wishes.only_if_cached
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

    def _saved(self, job: Job, hit: CacheHit) -> None:
        if self.verifier is not None:
            self.verifier.served(hit, lambda: self.maker.grounded(job, Evidence(hit.entry.citations)))
        self._count_saved(hit)

    def _count_saved(self, hit: CacheHit) -> None:
        self.metrics.cache_saved(
            hit.outcome, hit.entry.key.scope.tenant_id, hit.entry.requested_model, hit.entry.took_s
        )

    def _count(self, tier: str, hit: CacheHit | None) -> None:
        self.metrics.cache_lookup(tier, "hit" if hit is not None else "miss")
        if hit is not None:
            self.metrics.cache_hit(tier, hit.entry.age_s(self.wall_clock()), hit.similarity)


def _replayed(hit: CacheHit, request: ChatRequest, found: Found | None) -> Joined:
    """An exact hit as its caller reads it: nothing is in flight, and only a stream needs the pieces."""
    events: list[AnswerEvent] = []
    replay(hit, events.append, pieces=request.stream)

    async def at_once() -> AsyncIterator[list[AnswerEvent]]:
        yield events

    return Joined(at_once(), coalesced=False, found=found)
