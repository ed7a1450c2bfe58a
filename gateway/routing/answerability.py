"""Do the passages answer the question at all? A fast model is asked of each of the likeliest, in one token.

Models answer from the passage that stands nearest, also where none answers, and where drafts and the big model read
the same wrong line they bear each other out. Asked "does this passage state what the question asks for?" the same
small model tells such a passage by its margin, log p(Yes) - log p(No) (retrieval evaluators do the same). What a
margin says differs between models, and of some it says nothing: so it is read by how the latest margins of this one
were spread over passages that an accepted draft rests on, and over those that it passed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, pvariance

import structlog

from gateway.chat import ChatRequest, Evidence, Passage, RequestContext
from gateway.errors import GatewayError
from gateway.meaning import Meaning
from gateway.metrics import Metrics
from gateway.routing.aside import ask_aside
from gateway.routing.gate import CITATION, features, nearest, normal, sentences
from gateway.routing.judge import margin, one_token
from gateway.routing.router import Router
from gateway.routing.weighing import Scales
from gateway.stages import ended

log = structlog.get_logger()

ASKED = 2  # passages at once: most right answers rest on them; others when an answer rests on one
MOST_QUESTION = 400  # characters
# Means and standard deviation of the margins of a real 1.5B model (decision 17), taken for granted as so many answers.
ANSWERS, PASSED_OVER, SPREAD, TAKEN_FOR_GRANTED = 1.4, 0.35, 0.55, 20
LATEST = 200  # margins of each kind
MOST_SAID = 2.5  # nats, however clear a margin is: models that misread a passage also misjudge it
CLEAR = 1.5  # nats: a passage answers, so a refusal is doubted; or it does not
TASK = "Does this passage state what the question asks for? Answer with one word, Yes or No."


class Spread:
    """How the margins of one model tell passages that answer from others."""

    def __init__(self) -> None:
        self._answers = _taken_for_granted(ANSWERS)
        self._others = _taken_for_granted(PASSED_OVER)

    def saw(self, margins: Mapping[int, float], answered_by: Iterable[int]) -> None:
        """Of one question whose answer is known: by number of the passage, and the passages that it rests on."""
        sources = set(answered_by)
        if sources & margins.keys():
            self._answers.extend(value for number, value in margins.items() if number in sources)
            self._others.extend(value for number, value in margins.items() if number not in sources)

    def read(self, value: float) -> float:
        """Natural log of how much likelier such a margin is where the passage answers, at most ``MOST_SAID`` either
        way: two normal distributions of one variance; 0 where this model's margins do not tell."""
        answers, others = fmean(self._answers), fmean(self._others)
        variance = (pvariance(self._answers) + pvariance(self._others)) / 2
        if answers <= others or not variance:
            return 0.0
        said = (answers - others) / variance * (value - (answers + others) / 2)
        return max(-MOST_SAID, min(MOST_SAID, said))


def _taken_for_granted(mean: float) -> deque[float]:
    return deque([mean - SPREAD, mean + SPREAD] * (TAKEN_FOR_GRANTED // 2), maxlen=LATEST)


Ask = Callable[[int, Passage], Awaitable[float | None]]  # the margin on a passage by its number; None: no verdict


@dataclass(slots=True)
class Answerability:
    """What is known of one question, as verdicts come. Numbers of passages are those of citations, from 1."""

    evidence: Evidence
    spread: Spread
    ask: Ask
    margins: dict[int, float] = field(default_factory=dict)
    _told: Callable[[], None] = lambda: None
    _asking: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _open: bool = False

    def begin(self, told: Callable[[], None] = lambda: None) -> None:
        """Ask about the likeliest passages, and from now on about those that answers rest on. ``told`` is called at
        each verdict."""
        self._told, self._open = told, True
        numbered = enumerate(self.evidence.passages, start=1)
        self._ask_about(number for number, _ in sorted(numbered, key=lambda each: -each[1].score)[:ASKED])

    def of(self, text: str) -> float:
        """For an answer, by the passages that its first sentence rests on: as ``Spread.read``. Where none of them was
        asked about yet that is done now, and 0."""
        sources = self.sources(text)
        self._ask_about(sources)
        return max((self.spread.read(self.margins[n]) for n in sources if n in self.margins), default=0.0)

    def best(self) -> float:
        """For any answer from the passages that were asked about; 0 where nothing is known."""
        return max(map(self.spread.read, self.margins.values()), default=0.0)

    def complete(self) -> bool:
        """There is a verdict on every passage that was asked about."""
        return bool(self._asking) and self._asking.keys() <= self.margins.keys()

    def sources(self, text: str) -> tuple[int, ...]:
        """The passages that its first sentence cites; the nearest where it cites none."""
        first = next(iter(sentences(normal(text))), "")
        said, numbered = features(first), list(enumerate(self.evidence.passages, start=1))
        cited = {int(number) for number in CITATION.findall(first)}
        if cited or not said or not numbered:
            return tuple(number for number, _ in numbered if number in cited)
        return (max(numbered, key=lambda each: len(said & nearest(said, [each[1]]).features))[0],)

    def learn(self, text: str) -> None:
        """A draft that passed says which passage answers."""
        self.spread.saw(self.margins, self.sources(text))

    async def known(self) -> None:
        """Wait for the verdicts that were asked for."""
        await asyncio.gather(*self._asking.values())

    async def close(self) -> None:
        """What is known by then stays; nothing more is asked."""
        self._open = False
        await ended(*self._asking.values())

    def _ask_about(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._open and number not in self._asking:
                self._asking[number] = asyncio.create_task(self._find_out(number))

    async def _find_out(self, number: int) -> None:
        value = await self.ask(number, self.evidence.passages[number - 1])
        if value is not None:
            self.margins[number] = value
            self._told()


async def _nobody(number: int, passage: Passage) -> None: ...


def unasked() -> Answerability:
    """Nothing is known, and nobody is asked."""
    return Answerability(Evidence(), Spread(), _nobody)


@dataclass(slots=True)
class Evaluator:
    """Asks fast models whether passages answer. What it learns of a model is shared by all requests."""

    router: Router
    metrics: Metrics
    scales: Scales
    _spreads: dict[str, Spread] = field(default_factory=dict)

    def of(
        self, model: str, request: ChatRequest, meaning: Meaning, evidence: Evidence, ctx: RequestContext
    ) -> Answerability:
        """Of one question. Asked is what it means, once that is known, else together with the one before it; nobody is
        asked where ``model`` gives no log-probabilities."""
        spread = self._spreads.setdefault(model, Spread())

        async def ask(number: int, passage: Passage) -> float | None:
            if not self.scales.weighs(model):
                return None
            await meaning.known()
            asked = (
                prompt(meaning.text, passage) if meaning.text else prompt(request.question, passage, before(request))
            )
            value = await self._margin(one_token(model, asked), ctx)
            self.metrics.answerability(model, "failed" if value is None else _word(spread.read(value)))
            return value

        return Answerability(evidence, spread, ask)

    async def _margin(self, request: ChatRequest, ctx: RequestContext) -> float | None:
        try:
            return margin(await ask_aside(self.router, request, ctx, "answerability"))
        except GatewayError as error:
            log.info("no verdict on a passage", error=str(error), request_id=ctx.id)
            return None


def before(request: ChatRequest) -> str:
    """The user's words before the last; "" where there are none."""
    return next((message.text for message in reversed(request.earlier) if message.role == "user"), "")


def prompt(question: str, passage: Passage, earlier: str = "") -> list[dict[str, str]]:
    """One message; whatever the questions say stays inside their lines."""
    where = " · ".join(filter(None, (passage.document, passage.section)))
    context = f"Earlier question: {_line(earlier)}\n" if earlier else ""
    text = f"Passage of {where}:\n\n{passage.text}\n\n{context}Question: {_line(question)}\n\n{TASK}"
    return [{"role": "user", "content": text}]


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST_QUESTION]


def _word(said: float) -> str:
    return "yes" if said >= CLEAR else "no" if said <= -CLEAR else "unclear"
