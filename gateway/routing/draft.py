"""The fast model's short answer: the same grounded prompt, an instruction to be brief, and log-probabilities.

Asked side by side over all passages, over the likeliest few and over the likeliest one: where they are many, a small
model takes the wrong one more often, and where they are few, the right one is missing more often.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

from gateway.chat import Answer, AnswerEvent, CacheOutcome, ChatRequest, Evidence, Opened, RequestContext, ServedBy
from gateway.clock import Timings
from gateway.errors import GatewayError
from gateway.meaning import STANDS_ALONE, Meaning
from gateway.metrics import Metrics
from gateway.routing.answerability import Answerability, Evaluator, unasked
from gateway.routing.citing import with_citations
from gateway.routing.doubting import Heard, likely
from gateway.routing.gate import Calibrations, Draft, Verdict, judge
from gateway.routing.router import Router
from gateway.routing.sizing import Size, sized
from gateway.routing.spend import Errand
from gateway.routing.told import whole
from gateway.routing.votes import votes_on
from gateway.routing.weighing import Scales, logprobs_of

FEW_PASSAGES = (2, 1)  # of a look at the likeliest
SENTENCES = 2  # three take half as long again, and the third is where drafts go wrong
KEPT = 100  # latest drafts that live figures rest on
USUAL = NormalDist(math.log(1.3), 0.54)  # of log(seconds) until some are known: median 1.3 s, p90 2.6 s (papers.md §9)
USUAL_ACCEPTANCE = 0.6
PATIENT = (
    0.85  # quantile of a draft's seconds that a big model which talks is held back for; above it, few pass in time
)
DUE = 0.75  # the same for a big model that is sure: it writes more, so its whole answer takes longer
ABOUT_LATE, LATE_FACTOR = 0.9, 1.5  # a guess; any factor above 1 keeps the share of late ones at what it is
NEWS = 0.05  # weight of one verdict in the acceptance


@dataclass(frozen=True, slots=True)
class Drafted:
    answer: Answer  # as it is told and kept
    verdict: Verdict
    deployment: str
    judged: Draft  # what the verdict is on
    said: tuple[Heard, ...] = ()  # by it and the other looks that were done by then


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look gave."""

    draft: Draft
    question: str
    answer: Answer
    deployment: str


@dataclass(slots=True)
class Form:
    """How one draft model has been doing lately."""

    acceptance: float = USUAL_ACCEPTANCE
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def gave_up(self, seconds: float) -> None:
        """A draft that nobody waited for any longer. Late ones count, and for more than they had taken by then: if only
        those in time counted, the next would have to be in time sooner, and so on."""
        if seconds >= ABOUT_LATE * self.quantile(DUE):
            self.seconds.append(LATE_FACTOR * seconds)

    def quantile(self, q: float) -> float:
        """Seconds that a draft takes: ``q`` 0.5, ``DUE`` or ``PATIENT``."""
        if len(self.seconds) < 10:
            return math.exp(USUAL.inv_cdf(q))
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Drafter:
    """Asks draft models and judges what they say. ``form`` is per draft model, shared by all requests."""

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        scales: Scales,
        calibrations: Mapping[str, Calibrations] = MappingProxyType({}),
    ) -> None:
        """``calibrations``: of draft models that have one of their own."""
        self._router = router
        self._metrics = metrics
        self._calibrations = calibrations
        self._scales = scales
        self._evaluator = Evaluator(router, metrics, scales)
        self._form: dict[str, Form] = {}

    def answerability(
        self, model: str, request: ChatRequest, meaning: Meaning, evidence: Evidence, ctx: RequestContext
    ) -> Answerability:
        """Of one question, to be found out by ``model`` beside its drafts."""
        return self._evaluator.of(model, request, meaning, evidence, ctx)

    def form(self, model: str) -> Form:
        return self._form.setdefault(model, Form())

    async def draft(
        self,
        model: str,
        max_tokens: int,
        looks: Sequence[ChatRequest],
        evidence: Evidence,
        ctx: RequestContext,
        heard: Callable[[Sequence[Heard]], None] = lambda said: None,
        meaning: Meaning = STANDS_ALONE,
        answerability: Answerability | None = None,
    ) -> Drafted:
        """A short answer by ``model`` and the gate's verdict on it. Raises GatewayError where no look gives one.

        ``looks``: the question over the same evidence in several cuts, asked side by side. All are judged over the
        whole ``evidence``, each by what the others say as well, as far as they have spoken. The first that passes is
        taken, else the one most likely right. ``heard`` is told what they have said, each time one is done. Judged
        by what the question means, once that is known, and by what is known by then of its ``answerability``.
        """
        form, clock, answerability = self.form(model), ctx.deadline.clock, answerability or unasked()
        began = clock()
        try:
            tasks = [asyncio.create_task(self._look(model, max_tokens, look, evidence, ctx, meaning)) for look in looks]
            drafted = await self._best(model, tasks, evidence, answerability, heard)
        except asyncio.CancelledError:
            form.gave_up(clock() - began)
            raise
        if drafted.verdict.accepted:
            answerability.learn(drafted.judged.text)
        verdict = drafted.verdict
        form.seconds.append(clock() - began)
        form.acceptance += NEWS * (verdict.accepted - form.acceptance)
        result = "accepted" if verdict.accepted else verdict.veto or ("unsure" if verdict.usable else "doubtful")
        self._metrics.draft_judged(model, result, None if verdict.veto else verdict.score)
        return drafted

    async def _look(
        self, model: str, max_tokens: int, grounded: ChatRequest, evidence: Evidence, ctx: RequestContext,
        meaning: Meaning,
    ) -> _Seen:  # fmt: skip
        request = replace(grounded, requested_model=model, body=short(grounded.body, max_tokens))
        answer, deployment = await self._scales.ask(request, partial(self._ask, model, ctx))
        await meaning.known()
        question = meaning.text or grounded.question
        marked = with_citations(answer.text, question, evidence)
        draft = Draft(marked or answer.text, answer.finish_reason, logprobs_of(answer), found=marked is not None)
        return _Seen(draft, question, answer, deployment)

    async def _ask(self, model: str, ctx: RequestContext, request: ChatRequest, weighed: bool) -> tuple[Answer, str]:
        deployment = ""

        def hear(event: AnswerEvent) -> None:
            nonlocal deployment
            if isinstance(event, Opened):
                deployment = event.deployment

        own = replace(ctx, timings=Timings(ctx.timings.clock))
        opened = Opened(ServedBy.DRAFT, CacheOutcome.MISS, model)
        answer = await self._router.stream(request, own, opened, hear, Errand("draft"))
        return answer, deployment

    async def _best(
        self,
        model: str,
        looks: Sequence[asyncio.Task[_Seen]],
        evidence: Evidence,
        answerability: Answerability,
        heard: Callable[[Sequence[Heard]], None],
    ) -> Drafted:
        """The first to pass, else the likeliest; the rest are cancelled and waited for. Raises the last error where all
        fail."""
        best: Drafted | None = None
        failure: GatewayError | None = None
        seen: list[_Seen] = []
        running = set(looks)
        try:
            while running and not (best is not None and best.verdict.accepted):
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for look in (look for look in looks if look in done):
                    try:
                        seen.append(look.result())
                    except GatewayError as error:
                        failure = error
                judged = [self._judged(model, one, seen, evidence, answerability) for one in seen]
                said = tuple(Heard(each.judged.text, likely(each.verdict)) for each in judged)
                heard(said)
                best = replace(max(judged, key=_likelihood), said=said) if judged else None
        finally:
            for look in looks:
                look.cancel()
            await asyncio.gather(*looks, return_exceptions=True)
        if best is None:
            assert failure is not None
            raise failure
        return best

    def _judged(
        self, model: str, one: _Seen, seen: Sequence[_Seen], evidence: Evidence, answerability: Answerability
    ) -> Drafted:
        votes = votes_on(one.draft.text, (other.draft.text for other in seen if other is not one), evidence)
        draft = replace(one.draft, votes=(votes.agree, votes.refused))
        answered = answerability.of(draft.text)
        verdict = judge(draft, one.question, evidence, self._calibrations.get(model), answered)
        answer = whole(draft.text, one.answer.model, one.answer.usage)
        return Drafted(answer, verdict, one.deployment, draft)


def _likelihood(drafted: Drafted) -> tuple[bool, bool, float]:
    return drafted.verdict.accepted, not drafted.verdict.veto, drafted.verdict.score


def looks_at(
    whole: ChatRequest, over_best: Callable[[int, Evidence], ChatRequest], evidence: Evidence
) -> list[ChatRequest]:
    """What a draft model is shown of the evidence, side by side; the first is over all passages. ``over_best``: the
    question over so many, the likeliest by score."""
    return [whole, *(over_best(few, evidence) for few in FEW_PASSAGES if len(evidence.passages) > few)]


def short(body: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """The draft's request body. ``body`` is the grounded one. An effort was asked of the model that it names."""
    without = {name: value for name, value in body.items() if name != "reasoning_effort"}
    return sized(without, Size(SENTENCES, max_tokens))
