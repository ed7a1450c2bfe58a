"""An answer by the promised time: what the cache did not have, from the draft, the big model or the ladder below them.

Who answers is decided in ``routing/race.py``; this module brings the runners: what each is asked, how it is told, and
whether the answer is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from gateway.asked import Asked, keeping, opened_by
from gateway.chat import Answer, AnswerEvent, ChatRequest, Closed, Opened, Send, ServedBy
from gateway.clock import Timings, WallClock
from gateway.errors import GatewayError, UpstreamError
from gateway.fallbacks import fallbacks, nothing
from gateway.metrics import Metrics
from gateway.routing import race as racing
from gateway.routing.contender import Reading
from gateway.routing.deployments import Pace
from gateway.routing.details import Section, expanding
from gateway.routing.doubting import PROVISIONAL_TTL_S, Doubts, Heard
from gateway.routing.draft import DUE, PATIENT, Drafted, Drafter, looks_at
from gateway.routing.ending import Ending
from gateway.routing.gate import why_unsupported
from gateway.routing.hedge import Claim, Lost, hedged
from gateway.routing.leads import agree
from gateway.routing.plain import is_plain
from gateway.routing.race import Rung, Runners, race, timing
from gateway.routing.router import Router
from gateway.routing.sizing import TOKENS_PER_SENTENCE, size_for, sized
from gateway.routing.spend import USUAL_ANSWER_TOKENS, Allowance, Errand, prompt_tokens
from gateway.routing.told import Telling, tell
from gateway.routing.twice import Again
from gateway.routing.weighing import Scales
from gateway.samples import has_claim
from gateway.settling import another_sample
from gateway.stages import ended

log = structlog.get_logger()

FEWEST_TOKENS = 40  # a cited sentence: with less time than this takes, the big model starts in vain
SLOWER = 1.5  # times that: what a second call is given where the first is silent
DETAIL_SENTENCES = 5
LATE_ANSWERS = 32  # at most this many go on in the background


@dataclass(frozen=True, slots=True)
class DraftPlan:
    model: str
    mode: str  # cascade, armed, race or auto
    max_tokens: int
    allowance: Allowance
    details: bool = False  # the big model appends a section to an accepted draft
    answerability: bool = True  # it is asked as well whether the passages answer


@dataclass(frozen=True, slots=True)
class Promise:
    """What a model's configuration says about time."""

    seconds: float
    on_expiry: tuple[str, ...]
    draft: DraftPlan | None = None
    sized: bool = False
    late: Allowance = field(default_factory=lambda: Allowance(0.5))  # for answers that come too late for their caller


@dataclass(slots=True)
class Background:
    """Answers that came too late for their caller, finished for the cache. Bounded; owned until their end."""

    limit: int = LATE_ANSWERS
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self._tasks) >= self.limit:
            return False
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def close(self) -> None:
        await ended(*self._tasks)


@dataclass(slots=True)
class InTime:
    router: Router
    drafter: Drafter
    metrics: Metrics
    background: Background
    scales: Scales
    wall_clock: WallClock = time.time

    async def answer(self, asked: Asked, promise: Promise, send: Send) -> None:
        """Send one whole answer, by the promise where that is possible. Raises UpstreamError."""
        draft = promise.draft if self._may_draft(asked) else None
        scale = self.scales.of(asked.grounded.requested_model)
        doubts = Doubts(asked.request.question, asked.evidence, meaning=asked.meaning, scale=scale)
        if draft is not None:
            doubts.answerability = self.drafter.answerability(
                draft.model, asked.request, asked.meaning, asked.evidence, asked.ctx
            )
        rungs = fallbacks(asked, self.wall_clock)
        counted, errand, details = _Counted(asked, self.metrics, send), Errand(), draft is not None and draft.details
        telling: list[Telling] = []  # the draft's, where details follow it
        sized_too = promise.sized and is_plain(asked.request)
        runners = Runners(
            big=partial(self._big_in_time, asked, draft, sized_too, errand),
            draft=partial(self._draft, asked, draft, doubts) if draft is not None else None,
            tell_draft=partial(self._begin_draft, asked, counted, telling)
            if details
            else partial(self._tell_draft, asked),
            ladder=[Rung(name, rungs[name]) for name in promise.on_expiry if name != "wait"],
            background=partial(self._later, asked, promise.late, errand),
            details=partial(self._details, asked, telling) if details else None,
            again=self._again(asked, draft, sized_too, doubts) if draft is not None else None,
            keep=partial(_keep, asked, doubts.kept_for_s),
            roomy=partial(self.router.roomy, asked.grounded.requested_model),
            checked=partial(self.metrics.draft_checked, draft.model) if draft is not None else lambda check: None,
        )
        allowance = draft.allowance if draft is not None else Allowance(0)
        promise.late.earn(self._usual_cost(asked))
        try:
            await race(runners, self._timing(asked, draft), asked.due, allowance, counted)
        except UpstreamError:
            self.metrics.deadline_ended(asked.due.at - asked.due.clock(), "error")
            raise
        finally:
            await doubts.answerability.close()

    def _timing(self, asked: Asked, draft: DraftPlan | None) -> racing.Timing:
        """When to start the big model beside the draft, as things stand."""
        if draft is None:
            return racing.Timing(None, 0.0)
        form, model = self.drafter.form(draft.model), asked.grounded.requested_model
        pace, price = self.router.pace(model), self.router.ledger.price(model)
        prompt = prompt_tokens(asked.grounded.body)
        draft.allowance.earn(self._usual_cost(asked))
        return timing(
            draft.mode,
            form.acceptance,
            form.quantile(0.5),
            form.quantile(DUE),
            form.quantile(PATIENT),
            asked.due.remaining_s() - _needed_s(pace),
            price.of(prompt, TOKENS_PER_SENTENCE),
        )

    def _usual_cost(self, asked: Asked) -> float:
        grounded = asked.grounded
        return self.router.ledger.price(grounded.requested_model).of(prompt_tokens(grounded.body), USUAL_ANSWER_TOKENS)

    def _later(self, asked: Asked, late: Allowance, errand: Errand, work: Coroutine[Any, Any, None]) -> bool:
        """Let an answer that is too late for its caller be finished for the next one, within its allowance: the prompt
        is paid for already, the rest is not."""
        if not asked.keeps:
            return False
        cost = self.router.ledger.price(asked.grounded.requested_model).of(0, USUAL_ANSWER_TOKENS)
        if not late.take(cost):
            return False
        if not self.background.take(work):
            late.give_back(cost)
            return False
        errand.reason = "background"
        return True

    def _again(self, asked: Asked, draft: DraftPlan, in_size: bool, doubts: Doubts) -> Again:
        """One more answer, drawn anew. It costs no time where the first is sure."""

        def start() -> Callable[[Send], Awaitable[object]] | None:
            if not draft.allowance.take(self._usual_cost(asked)):
                return None
            body = another_sample(asked.request.body, asked.grounded.body, 1)
            anew = replace(asked, grounded=replace(asked.grounded, body=body))
            return partial(self._big, anew, in_size, True, Errand("settle"))

        return weighed_again(doubts, start, partial(nothing, asked))

    async def _big_in_time(
        self, asked: Asked, draft: DraftPlan | None, in_size: bool, errand: Errand, send: Send
    ) -> None:
        """``_big``, and once more beside it where it is still silent at the last moment at which another call can be
        done in time; first content wins. Not before the draft's verdict is due: that may be the answer."""
        if draft is None or asked.held:
            await self._big(asked, in_size, draft is not None, errand, send)
            return
        pace, patience_s = (
            self.router.pace(asked.grounded.requested_model),
            self.drafter.form(draft.model).quantile(PATIENT),
        )

        def may_start() -> bool:
            late = asked.due.remaining_s() < racing.RESERVE_S + pace.first_token_s
            return not late and draft.allowance.take(self._usual_cost(asked))

        async def ask(claim: Claim) -> None:
            def hear(event: AnswerEvent) -> None:
                if not claim():
                    raise Lost
                send(event)

            await self._big(asked, in_size, True, errand, hear)

        last_s = asked.due.remaining_s() - SLOWER * _needed_s(pace)
        await hedged(ask, ask, max(last_s, patience_s), may_start)

    async def _big(self, asked: Asked, in_size: bool, weighs: bool, errand: Errand, send: Send) -> None:
        """The configured model's answer, asked for in the size that fits the time that is left now. ``weighs``: with
        log-probabilities, for the gateway."""
        grounded = asked.grounded
        if in_size:
            pace = self.router.pace(grounded.requested_model)
            left_s = asked.due.remaining_s() - racing.RESERVE_S
            size = size_for(left_s, pace.first_token_s, pace.tokens_per_s)
            grounded = replace(grounded, body=sized(grounded.body, size))

        async def ask(request: ChatRequest, weighed: bool) -> None:
            errand.weighs = weighed
            if not in_size:
                await asked.big(request, send, errand)
                return
            ending = Ending(send, asked.due, prompt_tokens(request.body))
            await ending.listen(lambda hear: asked.big(request, hear, errand))
            if ending.curtailed:
                self.metrics.curtailed(request.requested_model)

        if weighs:
            await self.scales.ask(grounded, ask)
        else:
            await ask(grounded, False)

    async def _draft(self, asked: Asked, draft: DraftPlan, doubts: Doubts, news: Callable[[], None]) -> Drafted:
        def heard(said: Sequence[Heard]) -> None:
            doubts.heard(said)
            news()

        looks = looks_at(asked.grounded, asked.over_best, asked.evidence)
        if draft.answerability:
            doubts.answerability.begin(news)
        try:
            with asked.ctx.timings.measure("draft"):
                drafted = await self.drafter.draft(
                    draft.model, draft.max_tokens, looks, asked.evidence, asked.ctx, heard, asked.meaning,
                    doubts.answerability,
                )  # fmt: skip
        except GatewayError as error:
            log.info("draft failed", error=str(error), request_id=asked.ctx.id)
            raise
        doubts.judged(drafted.verdict)
        if asked.contradicts(drafted.answer.text):
            return replace(drafted, verdict=replace(drafted.verdict, accepted=False, usable=False, sure=False))
        return drafted

    def _tell_draft(self, asked: Asked, drafted: Drafted, send: Send) -> None:
        ttl_s = None if drafted.verdict.sure else PROVISIONAL_TTL_S
        opened = opened_by(asked, ServedBy.DRAFT, drafted)
        tell(drafted.answer.text, opened, drafted.answer.usage, keeping(asked, ttl_s, send))

    def _begin_draft(
        self, asked: Asked, counted: _Counted, telling: list[Telling], drafted: Drafted, send: Send
    ) -> None:
        """As ``_tell_draft``, but for the end, since details follow. What is kept is the short answer: the gate has
        passed no more than that."""
        telling.append(Telling(opened_by(asked, ServedBy.DRAFT, drafted), send))
        telling[0].begin(drafted.answer.text)
        asked.keep(drafted.answer, None if drafted.verdict.sure else PROVISIONAL_TTL_S)
        counted.ended()

    async def _details(self, asked: Asked, telling: list[Telling], drafted: Drafted, send: Send) -> None:
        """More about it from the big model, if it has anything to say that the documents say too."""
        grounded, short = asked.grounded, drafted.answer

        def supported(sentence: str) -> bool:
            return not why_unsupported(sentence, f"{asked.request.question} {short.text}", asked.evidence)

        async def ask(hear: Send) -> None:
            more = replace(grounded, body=expanding(grounded, short.text, DETAIL_SENTENCES))
            ctx = replace(asked.ctx, timings=Timings(asked.ctx.timings.clock))
            await self.router.stream(more, ctx, asked.opened, hear, Errand("details"))

        heading = "\n\n**자세히**\n\n" if asked.korean else "\n\n**Details**\n\n"
        self.metrics.details_ended(await Section(short, telling[0], heading, supported).append(ask))

    def _may_draft(self, asked: Asked) -> bool:
        return asked.ctx.draft and bool(asked.evidence.passages) and is_plain(asked.request)


def weighed_again(
    doubts: Doubts, start: Callable[[], Callable[[Send], Awaitable[object]] | None], none: Callable[[Send], None]
) -> Again:
    """By what ``doubts`` knows. ``start``, ``none``: as ``Again`` has them."""

    def read(text: str, lowest: float | None) -> Reading:
        if not has_claim(text):
            return doubts.reading(text, lowest)
        doubts.scale.saw(lowest)  # once of each answer: after this it is not read again
        return Reading.WHOLE

    same = partial(agree, evidence=doubts.evidence)
    return Again(doubts.confidence, read, start, doubts.astray, doubts.unanswered, none, same)


@dataclass(slots=True)
class _Counted:
    """Holds the answer against the promise at its last event, once."""

    asked: Asked
    metrics: Metrics
    send: Send
    degraded_to: str = "none"
    done: bool = False

    def __call__(self, event: AnswerEvent) -> None:
        if isinstance(event, Opened) and event.labelled:
            self.degraded_to = str(event.served_by)
        elif isinstance(event, Closed):
            self.ended()
        self.send(event)

    def ended(self) -> None:
        if not self.done:
            self.done = True
            due = self.asked.due
            self.metrics.deadline_ended(due.at - due.clock(), self.degraded_to)


def _needed_s(pace: Pace) -> float:
    """The least time before the promise at which a call can begin and still be of use."""
    return racing.RESERVE_S + pace.first_token_s + FEWEST_TOKENS / pace.tokens_per_s


def _keep(asked: Asked, ttl_s: Callable[[Answer, float], float | None], event: AnswerEvent, confidence: float) -> None:
    """Offers the finished answer to the cache."""
    if isinstance(event, Closed):
        asked.keep(event.answer, ttl_s(event.answer, confidence))
