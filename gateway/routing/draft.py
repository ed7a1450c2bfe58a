"""The fast model's short answer: the same grounded prompt, an instruction to be brief, and log-probabilities.

Asked side by side over all passages, over the likeliest few and over the nearest one: where they are many, a small
model takes the wrong one more often, and where they are few, the right one is missing more often.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import structlog

from gateway.chat import Answer, AnswerEvent, CacheOutcome, ChatRequest, Evidence, Opened, RequestContext, ServedBy
from gateway.clock import Timings
from gateway.errors import GatewayError, UpstreamRejected
from gateway.metrics import Metrics
from gateway.routing.citing import with_citations
from gateway.routing.gate import Calibrations, Draft, Verdict, judge
from gateway.routing.looks import Look
from gateway.routing.router import Router
from gateway.routing.sizing import Size, sized
from gateway.routing.spend import Errand
from gateway.routing.told import whole

log = structlog.get_logger()

SENTENCES = 2  # three take half as long again, and the third is where drafts go wrong
KEPT = 100  # latest drafts that live figures rest on
USUAL_S = (1.3, 2.6)  # median and 90th percentile until some are known (papers.md §9)
USUAL_ACCEPTANCE = 0.6
PATIENT = (
    0.85  # quantile of a draft's seconds that a big model which talks is held back for; above it, few pass in time
)
ABOUT_LATE, LATE_FACTOR = 0.9, 1.5  # a guess; any factor above 1 keeps the share of late ones at what it is
NEWS = 0.05  # weight of one verdict in the acceptance

Place = Callable[[str], Awaitable[float | None]]  # of an answer's line by meaning (``Nearness.place``), if known


async def nowhere(text: str) -> None:
    """The ``Place`` of a gateway that cannot tell."""


@dataclass(frozen=True, slots=True)
class Drafted:
    answer: Answer  # as it is told and kept
    verdict: Verdict
    deployment: str
    judged: Draft  # what the verdict is on


@dataclass(slots=True)
class Form:
    """How one draft model has been doing lately."""

    acceptance: float = USUAL_ACCEPTANCE
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    logprobs: bool = True  # False once its server has refused to give them

    def gave_up(self, seconds: float) -> None:
        """A draft that nobody waited for any longer. Late ones count, and for more than they had taken by then: if only
        those in time counted, the next would have to be in time sooner, and so on."""
        if seconds >= ABOUT_LATE * self.quantile(PATIENT):
            self.seconds.append(LATE_FACTOR * seconds)

    def quantile(self, q: float) -> float:
        """Seconds that a draft takes: ``q`` 0.5 or ``PATIENT``."""
        if len(self.seconds) < 10:
            return USUAL_S[q > 0.5]
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Drafter:
    """Asks draft models and judges what they say. ``form`` is per draft model, shared by all requests."""

    def __init__(
        self, router: Router, metrics: Metrics, calibrations: Mapping[str, Calibrations] = MappingProxyType({})
    ) -> None:
        """``calibrations``: of draft models that have one of their own."""
        self._router = router
        self._metrics = metrics
        self._calibrations = calibrations
        self._form: dict[str, Form] = {}

    def form(self, model: str) -> Form:
        return self._form.setdefault(model, Form())

    async def draft(
        self, model: str, max_tokens: int, looks: Sequence[Look], evidence: Evidence, ctx: RequestContext,
        place: Place = nowhere,
    ) -> Drafted:  # fmt: skip
        """A short answer by ``model`` and the gate's verdict on it. Raises GatewayError where no look gives one.

        ``looks``: the question over the same evidence in several cuts, asked side by side. The first answer to pass is
        taken, else the one most likely right. All are judged over the whole ``evidence``.
        """
        form, clock = self.form(model), ctx.deadline.clock
        began = clock()
        try:
            tasks = [asyncio.create_task(self._look(model, max_tokens, look, evidence, ctx, place)) for look in looks]
            drafted = await _best(tasks)
        except asyncio.CancelledError:
            form.gave_up(clock() - began)
            raise
        verdict = drafted.verdict
        form.seconds.append(clock() - began)
        form.acceptance += NEWS * (verdict.accepted - form.acceptance)
        result = "accepted" if verdict.accepted else verdict.veto or ("unsure" if verdict.usable else "doubtful")
        self._metrics.draft_judged(model, result, None if verdict.veto else verdict.score)
        return drafted

    async def _look(
        self, model: str, max_tokens: int, look: Look, evidence: Evidence, ctx: RequestContext, place: Place
    ) -> Drafted | None:
        form, grounded = self.form(model), await look()
        if grounded is None:
            return None
        question = evidence.meant or grounded.question
        try:
            answer, deployment = await self._ask(model, max_tokens, grounded, ctx, form.logprobs)
        except UpstreamRejected as error:
            if not (form.logprobs and error.status == 400 and "logprobs" in str(error)):
                raise
            form.logprobs = False
            log.info("draft model gives no log-probabilities; its drafts meet a higher bar", model=model)
            answer, deployment = await self._ask(model, max_tokens, grounded, ctx, False)
        marked = with_citations(answer.text, question, evidence)
        draft = Draft(marked or answer.text, answer.finish_reason, logprobs_of(answer), found=marked is not None)
        verdict = judge(draft, question, evidence, self._calibrations.get(model), await place(draft.text))
        return Drafted(whole(draft.text, answer.model, answer.usage), verdict, deployment, draft)

    async def _ask(
        self, model: str, max_tokens: int, grounded: ChatRequest, ctx: RequestContext, logprobs: bool
    ) -> tuple[Answer, str]:
        deployment = ""

        def hear(event: AnswerEvent) -> None:
            nonlocal deployment
            if isinstance(event, Opened):
                deployment = event.deployment

        request = replace(grounded, requested_model=model, body=short(grounded.body, max_tokens, logprobs=logprobs))
        own = replace(ctx, timings=Timings(ctx.timings.clock))
        opened = Opened(ServedBy.DRAFT, CacheOutcome.MISS, model)
        answer = await self._router.stream(request, own, opened, hear, Errand("draft"))
        return answer, deployment


async def _best(looks: Sequence[asyncio.Task[Drafted | None]]) -> Drafted:
    """The first to pass, else the likeliest; the rest are cancelled and waited for. Raises the last error where all
    fail."""
    best: Drafted | None = None
    failure: GatewayError | None = None
    running = set(looks)
    try:
        while running and not (best is not None and best.verdict.accepted):
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for look in (look for look in looks if look in done):
                try:
                    drafted = look.result()
                except GatewayError as error:
                    failure = error
                    continue
                if drafted is not None and (best is None or _likelihood(drafted) > _likelihood(best)):
                    best = drafted
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
    if best is None:
        assert failure is not None
        raise failure
    return best


def _likelihood(drafted: Drafted) -> tuple[bool, float]:
    return not drafted.verdict.veto, drafted.verdict.score


def short(body: Mapping[str, Any], max_tokens: int, *, logprobs: bool) -> dict[str, Any]:
    """The draft's request body. ``body`` is the grounded one."""
    asked = sized(body, Size(SENTENCES, max_tokens))
    return asked | ({"logprobs": True} if logprobs else {})


def logprobs_of(answer: Answer) -> list[tuple[str, float]] | None:
    """(token, log-probability) of the first choice; None where the server gave none."""
    given = (answer.choices[0].get("logprobs") or {}).get("content") if answer.choices else None
    if not isinstance(given, list):
        return None
    found = [
        (str(token.get("token", "")), float(token["logprob"]))
        for token in given
        if isinstance(token, dict) and isinstance(token.get("logprob"), int | float)
    ]
    return found or None
