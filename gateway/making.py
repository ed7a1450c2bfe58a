"""Making an answer: what the model is asked, what its answer is held against before it is given, how it is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from gateway.asked import Asked
from gateway.bearing import unborne
from gateway.cache.canonical import Epochs, made_by
from gateway.cache.exact import ExactCache
from gateway.cache.language import language
from gateway.cache.writer import CacheWriter, instructions
from gateway.chat import (
    Answer,
    AnswerEvent,
    CacheEntry,
    CacheOutcome,
    ChatRequest,
    Closed,
    Evidence,
    Opened,
    RequestContext,
    Send,
    ServedBy,
)
from gateway.clock import Timings
from gateway.consulting import confirmed
from gateway.fallbacks import not_there
from gateway.in_time import InTime
from gateway.meaning import Meaning, Meant
from gateway.metrics import Metrics
from gateway.plan import Asking, Job
from gateway.ports import DocumentRecord, Finding, ReviewQueue
from gateway.retrieval.grounding import ground
from gateway.routing.doubting import PROVISIONAL_TTL_S
from gateway.routing.plain import is_plain
from gateway.routing.router import Router
from gateway.routing.spend import USUAL_ANSWER_TOKENS, Errand, prompt_tokens, tokens_of
from gateway.routing.told import tell
from gateway.routing.weighing import Scales
from gateway.samples import Held
from gateway.settling import AGAIN, Matter, Settler, another_sample, contradicted, doubts_of, kept_of
from gateway.stages import beside


@dataclass(frozen=True, slots=True)
class Maker:
    router: Router
    in_time: InTime
    settler: Settler
    scales: Scales
    exact: ExactCache
    writer: CacheWriter
    record: DocumentRecord | None
    epochs: Epochs
    metrics: Metrics
    review: ReviewQueue | None = None

    async def make(self, asking: Asking, send: Send) -> None:
        """Ask upstream, hold the answer against what speaks against it, keep it.

        Of a follow-up over what its own words find, which is mostly all there is. What it means is found out meanwhile,
        and where that finds something better, what was made is dropped and made anew over that.
        """
        finding = asking.meaning.finding
        if finding is None or finding.done():
            await self._make(_better(asking), send)
            return
        if asking.job.plan.promise is None or asking.job.plan.promise.draft is None:
            await asking.meaning.known()
            await self._make(_better(asking), send)
            return
        held = Held()
        async with beside() as start:
            agreeing = replace(asking, meaning=Meaning(start(_agreeing(asking.meaning))))
            making = start(self._make(agreeing, held.hear))
            await asyncio.wait({finding})
            better = _better(asking)
            if better is asking:
                held.let_go(send)
                await making
                return
        await self._make(better, send)

    async def _make(self, asking: Asking, send: Send) -> None:
        job, evidence = asking.job, asking.shown
        ctx, request, plan = job.ctx, job.request, job.plan
        opened = Opened(
            ServedBy.MODEL,
            CacheOutcome.MISS if job.reads else CacheOutcome.BYPASS,
            request.requested_model,
            citations=evidence.passages,
            partial=evidence.partial,
        )
        notice = plan.notice.get(language(request.question)) if nothing_found(asking) else None
        if notice is not None:
            told = replace(opened, served_by=ServedBy.NOTICE, labelled=True, stages=dict(ctx.timings.stages))
            tell(notice, told, None, send)  # never kept: it costs nothing to say again, and a document may come
            return
        matter = await self._matter(asking)

        def keep(answer: Answer, ttl_s: float | None) -> None:
            if job.writes:
                self._keep(asking, matter, answer, ttl_s)

        def send_and_keep(event: AnswerEvent) -> None:
            if isinstance(event, Closed):  # before the last listener can leave and end this flight
                sure = matter is None or matter.weight.sure
                keep(event.answer, None if sure else PROVISIONAL_TTL_S)
            send(event)

        anchor = anchor_of(matter, asking) if matter is not None else None
        grounded = self.grounded(job, evidence, anchor)
        big = partial(self._big, asking, matter, opened)
        if plan.promise is None or ctx.promise is None:
            await big(grounded, send_and_keep, Errand())
            return
        stale = partial(self.exact.stale, job.keys, ctx.wishes, self.record, evidence)
        contradicts = partial(contradicted, matter.earlier) if matter is not None else lambda draft: False

        def over_best(best: int, shown: Evidence) -> ChatRequest:
            return self.grounded(job, shown, anchor, best)

        asked = Asked(
            ctx, request, grounded, over_best, evidence, asking.meaning, opened, ctx.promise, stale, keep, big,
            matter is not None, contradicts, job.writes,
        )  # fmt: skip
        await self.in_time.answer(asked, plan.promise, send)

    async def _matter(self, asking: Asking) -> Matter | None:
        """What the answer is held against before it is given; None where it streams on as it comes."""
        job, evidence = asking.job, asking.shown
        settling = job.plan.settling
        if job.plan.gatherer is None or settling is None or not is_plain(job.request):
            return None
        doubted = asking.doubted
        earlier = doubted.hit.entry if doubted is not None and doubted.hit is not None else None
        if earlier is None and job.reads:
            earlier = await self.exact.before(job.keys, self.record, evidence)
        if earlier is None and not settling.fresh:
            return None
        cost = self.cost(asking)
        settling.allowance.earn(cost)
        contested = doubted is not None and not doubted.audit
        witnesses = settling.witnesses if (earlier is None or contested) and evidence.passages else 0
        may_ask = partial(settling.allowance.take, cost)
        due = job.ctx.promise if job.plan.promise is not None else None
        sure = doubted is not None and doubted.sure
        confirms = None
        if earlier is not None:
            confirms = partial(confirmed, job.plan.second_judge, job.request.question, earlier, job.ctx)
        return Matter(
            job.request.question, evidence, earlier, contested, sure, confirms, witnesses, due, may_ask
        )  # fmt: skip

    async def _big(
        self, asking: Asking, matter: Matter | None, opened: Opened, grounded: ChatRequest, send: Send, errand: Errand
    ) -> None:
        """The configured model's answer, settled before it is given."""
        job = asking.job
        if matter is None:
            await self.router.stream(grounded, job.ctx, opened, send, errand)
            return

        def none(out: Send) -> None:
            told = replace(opened, served_by=ServedBy.NOTICE, stages=dict(job.ctx.timings.stages))
            tell(not_there(language(matter.question) == "ko", matter.evidence), told, None, out)

        async def ask(number: int, out: Send) -> Answer:
            if number == 0:
                return await self._weighed(grounded, job.ctx, opened, out, errand)
            again = grounded
            if number in AGAIN and matter.earlier is not None:
                other = replace(job, request=with_question(job.request, matter.earlier.question))
                again = self.grounded(other, asking.shown)
            again = replace(again, body=another_sample(job.request.body, again.body, number))
            own = replace(job.ctx, timings=Timings(job.ctx.timings.clock))
            return await self._weighed(again, own, opened, out, Errand("settle"))

        matter.scale = self.scales.of(grounded.requested_model)
        matter.none = none if matter.evidence.passages else None
        await self.settler.settle(ask, matter, send)

    async def _weighed(
        self, grounded: ChatRequest, ctx: RequestContext, opened: Opened, send: Send, errand: Errand
    ) -> Answer:
        """With log-probabilities for the gateway, where the model gives them."""

        async def ask(request: ChatRequest, weighed: bool) -> Answer:
            errand.weighs = weighed
            return await self.router.stream(request, ctx, opened, send, errand)

        return await self.scales.ask(grounded, ask)

    def _keep(self, asking: Asking, matter: Matter | None, answer: Answer, ttl_s: float | None) -> None:
        """Offer a finished answer to the cache: as a new one, as the earlier one's next life, or in its place."""
        job, evidence = asking.job, asking.shown
        limits = job.plan.limits if ttl_s is None else replace(job.plan.limits, ttl_s=min(ttl_s, job.plan.limits.ttl_s))
        earlier = matter.earlier if matter is not None else None
        audited = asking.doubted if asking.doubted is not None and asking.doubted.audit else None
        if audited is not None and audited.margin is not None and matter is not None and job.plan.judge is not None:
            job.plan.judge.learn(audited.margin, matter.kept_earlier)
        if matter is not None and matter.kept_earlier and earlier is not None:
            self.writer.renew(job.keys, job.request, earlier, asking.evidence, asking.vector, limits.ttl_s)
        else:
            self.epochs.saw(job.plan.model, answer)
            took_s = job.ctx.deadline.clock() - asking.began
            replaced = earlier if matter is not None and audited is None and _replaces(matter) else None
            canonical = replaced.key if replaced is not None else None
            if job.plan.gatherer is not None and unborne(answer, job.request, evidence):
                limits = replace(limits, ttl_s=0.0)  # whoever made it, and whatever else was asked for
            self.writer.offer(
                job.keys, job.request, answer, evidence, asking.vector, job.ctx.wishes, limits, took_s, canonical,
                reopens=not job.looks_again,
            )  # fmt: skip
        apart = matter is not None and matter.contested and not matter.overruled  # two questions: no flip
        if matter is not None and matter.flip is not None and earlier is not None and audited is None and not apart:
            self._flipped(job, earlier, matter, answer)

    def _flipped(self, job: Job, earlier: CacheEntry, matter: Matter, answer: Answer) -> None:
        """Count a flip, and put both answers up for review."""
        fresh = matter.fresh if matter.kept_earlier else answer.text
        changed = not matter.kept_earlier and made_by(earlier.answer) != made_by(answer)
        self.metrics.flipped(kept_of(matter), changed)
        system = instructions(job.request)
        if self.review is None or system is None:
            return
        scope, request = job.keys.scope, job.request
        self.review.offer(
            Finding(
                "flip", scope.tenant_id, request.requested_model, request.question, earlier.answer.text, fresh,
                earlier.namespace, system, earlier.dependencies, earlier.citations,
            )
        )  # fmt: skip

    def cost(self, asking: Asking) -> float:
        """Of the answer, if it has to be made."""
        job = asking.job
        price = self.router.ledger.price(job.plan.answers_with or job.request.requested_model)
        tokens = prompt_tokens(job.request.body) + tokens_of(p.text for p in asking.evidence.passages)
        return price.of(tokens, USUAL_ANSWER_TOKENS)

    def grounded(
        self, job: Job, evidence: Evidence, anchor: tuple[str, str] | None = None, best: int | None = None
    ) -> ChatRequest:
        """The request as it goes upstream, with the model that answers and the passages (``best``: only so many, the
        likeliest) in its prompt."""
        request = job.request
        if job.plan.gatherer is not None:
            request = replace(request, body=ground(request, evidence, system=job.plan.system, anchor=anchor, best=best))
        if job.plan.answers_with:
            request = replace(request, requested_model=job.plan.answers_with)
        return request


def _better(asking: Asking) -> Asking:
    """Over what was found for what it means, where that is known and better."""
    finding = asking.meaning.finding
    meant = finding.result() if finding is not None and finding.done() else None
    return replace(asking, evidence=meant.evidence) if meant is not None and meant.evidence is not None else asking


async def _agreeing(meaning: Meaning) -> Meant | None:
    """What it means, for those who judge what is made meanwhile. Where that finds something better it is not told: what
    they judge is dropped."""
    meant = await meaning.known()
    if meant is not None and meant.evidence is not None:
        await asyncio.get_running_loop().create_future()
    return meant


def nothing_found(asking: Asking) -> bool:
    """Whether the model could say no more than that: every source has answered and none found anything, and there is
    nothing else to answer from (earlier turns, tools)."""
    evidence, request = asking.evidence, asking.job.request
    searched = asking.job.plan.gatherer is not None and bool(request.question.strip())
    return searched and not evidence.passages and not evidence.partial and not request.earlier and is_plain(request)


def _replaces(matter: Matter) -> bool:
    """The answer takes the earlier one's place, for all its wordings."""
    return matter.overruled if matter.contested else matter.result not in ("doubtful", "unfinished")


def with_question(request: ChatRequest, question: str) -> ChatRequest:
    """``request`` as if another question were asked last."""
    last = request.messages[-1]
    asked = replace(last, text=question, raw={**last.raw, "content": question})
    return replace(request, messages=(*request.messages[:-1], asked))


def anchor_of(matter: Matter, asking: Asking) -> tuple[str, str] | None:
    """(question, answer) that the model is shown: the earlier answer to this question, or to one that may be it."""
    if matter.contested:
        return None  # what it says to this question is to be seen
    if matter.earlier is not None:
        found = matter.earlier
    elif asking.doubts and asking.job.plan.judge is None and not asking.doubts[0].near.veto:
        found = asking.doubts[0].entry
    else:
        return None
    return (found.question, found.answer.text) if not doubts_of(found.answer.text, matter) else None
