"""The grey-zone judge: a fast model says in one token whether a kept answer answers another question too.

What counts is not the word but its margin, log p(Yes) - log p(No): measured, a 1.5B model says Yes to nearly every
trap, and its margin still tells them from paraphrases better than any similarity. Both orders of the two questions are
asked, at once: models lean to a side. The mean is held against a bar that rises where answers given afresh contradict
verdicts above it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import structlog

from gateway.chat import Answer, ChatRequest, Message, RequestContext
from gateway.errors import GatewayError, UpstreamRejected
from gateway.metrics import Metrics
from gateway.ports import Doubt, Ruling
from gateway.routing.aside import ask_aside
from gateway.routing.router import Router
from gateway.routing.spend import Allowance, prompt_tokens
from gateway.stages import until

log = structlog.get_logger()

MIN_MARGIN = 2.0  # nats: about 7 to 1
VETOED_MARGIN = 2.0  # more, where a rule speaks against it
AUDITED = 0.03  # share of its first yeses that are answered afresh and compared
MAX_WRONG = 0.1  # share of audited verdicts above the bar that may be contradicted: fresh answers have faults as well
LABELS = 300  # latest ones that the bar rests on
FEWEST_WRONG = 3
TOP = 5  # alternatives asked for: Yes and No in their spellings
MOST_ANSWER = 600  # characters of the kept answer in the prompt
MOST_QUESTION = 400
YES = frozenset({"yes", "y", "예", "네"})
NO = frozenset({"no", "n", "아니", "아니요", "아니오"})


def margin(answer: Answer) -> float | None:
    """log p(Yes) - log p(No) of the first token, in nats; None where it is not known.

    A word outside the alternatives has at most the probability of the least of them: that is what it gets, so that the
    margin is never larger than the truth where Yes leads.
    """
    given = (answer.choices[0].get("logprobs") or {}).get("content") if answer.choices else None
    first = given[0] if isinstance(given, list) and given and isinstance(given[0], Mapping) else {}
    top = [t for t in first.get("top_logprobs") or () if isinstance(t, Mapping)]
    pairs = [(_word(t.get("token")), float(t["logprob"])) for t in top if isinstance(t.get("logprob"), int | float)]
    yes, no = _sum([p for word, p in pairs if word in YES]), _sum([p for word, p in pairs if word in NO])
    if yes is None and no is None:
        return None
    least = min(p for _, p in pairs)
    return (least if yes is None else yes) - (least if no is None else no)


def _word(token: object) -> str:
    return str(token).strip().strip("▁Ġ.").lower()


def _sum(logprobs: Sequence[float]) -> float | None:
    return math.log(sum(map(math.exp, logprobs))) if logprobs else None


def prompt(asked: str, kept: str, answer: str) -> list[dict[str, str]]:
    """One message. ``asked`` comes last; whatever it says stays inside its line."""
    lines = [EXAMPLES, ""]
    lines += [f"Kept answer: {_line(answer, MOST_ANSWER)}"] if answer else []
    lines += [f"Question A: {_line(kept, MOST_QUESTION)}", f"Question B: {_line(asked, MOST_QUESTION)}", TASK]
    return [{"role": "user", "content": "\n".join(lines)}]


def _line(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(slots=True)
class Bar:
    """The margin that a verdict must reach: the configured one, or higher where experience says so."""

    least: float = MIN_MARGIN
    labels: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=LABELS))
    height: float = field(init=False)

    def __post_init__(self) -> None:
        self.height = self.least

    def learn(self, margin: float, right: bool) -> None:
        """The lowest margin from which on the labels are right often enough; one contradiction proves nothing."""
        self.labels.append((margin, right))
        passed, wrong, lowest, fine = 0, 0, math.inf, True
        above = sorted((label for label in self.labels if label[0] >= self.least), reverse=True)
        for value, labels in groupby(above, key=itemgetter(0)):
            agreed = [right for _, right in labels]
            passed, wrong = passed + len(agreed), wrong + agreed.count(False)
            fine = wrong < FEWEST_WRONG or wrong <= MAX_WRONG * passed
            lowest = value if fine else lowest
        self.height = self.least if fine else lowest


@dataclass(slots=True)
class ModelJudge:
    """Judges with one model, within a spend limit."""

    router: Router
    metrics: Metrics
    model: str
    allowance: Allowance
    bar: Bar = field(default_factory=Bar)
    patience_s: float = 1.5
    logprobs: bool = True  # False once its server has refused to give them

    @property
    def plenty(self) -> bool:
        return self.allowance.plenty

    def earn(self, cost: float) -> None:
        self.allowance.earn(cost)

    def learn(self, margin: float, right: bool) -> None:
        self.bar.learn(margin, right)
        self.metrics.judge_learned(right)

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        messages = prompt(doubt.asked, doubt.kept, doubt.answer)
        cost = self.router.ledger.price(self.model).of(2 * prompt_tokens({"messages": messages}), 2)
        if not self.allowance.take(cost):
            return self._ruled(Ruling(False), "too dear")
        try:
            async with asyncio.timeout(min(self.patience_s, ctx.deadline.remaining_s())):
                return await self._rule(doubt, messages, ctx)
        except TimeoutError:
            return self._ruled(Ruling(False), "late")
        except GatewayError as error:
            log.info("judge failed", error=str(error), request_id=ctx.id)
            return self._ruled(Ruling(False), "failed")

    async def _rule(self, doubt: Doubt, messages: list[dict[str, str]], ctx: RequestContext) -> Ruling:
        orders = (messages, prompt(doubt.kept, doubt.asked, doubt.answer))
        try:
            answers = await self._until_no(orders, ctx, self.logprobs)
        except UpstreamRejected as error:
            if not (self.logprobs and error.status == 400 and "logprobs" in str(error)):
                raise
            self.logprobs = False
            log.info("judge model gives no log-probabilities; its word counts only where no rule speaks against it")
            answers = await self._until_no(orders, ctx, False)
        margins = [value for answer in answers if (value := margin(answer)) is not None]
        if len(margins) < len(answers):  # then only what no rule speaks against
            same = not doubt.vetoed and all(_word(answer.text) in YES for answer in answers)
            return self._ruled(Ruling(same), "yes" if same else "no")
        value = sum(margins) / len(margins)
        self.metrics.judge_margin(value)
        needed = self.bar.height + (VETOED_MARGIN if doubt.vetoed else 0.0)
        same = min(margins) > 0 and value >= needed
        sure = same and value >= self.bar.height + VETOED_MARGIN
        return self._ruled(Ruling(same, value, sure), "yes" if same else "no")

    async def _until_no(
        self, orders: Sequence[list[dict[str, str]]], ctx: RequestContext, logprobs: bool
    ) -> list[Answer]:
        """What it says to ``orders``, asked at once; after a No the other is not waited for."""
        return await until(_denies, *(self._ask(messages, ctx, logprobs) for messages in orders))

    async def _ask(self, messages: list[dict[str, str]], ctx: RequestContext, logprobs: bool) -> Answer:
        return await ask_aside(self.router, one_token(self.model, messages, logprobs), ctx, "judge")

    def _ruled(self, ruling: Ruling, result: str) -> Ruling:
        self.metrics.judged(result)
        return ruling


def _denies(answer: Answer) -> bool:
    value = margin(answer)
    return value <= 0 if value is not None else _word(answer.text) not in YES


def one_token(model: str, messages: list[dict[str, str]], logprobs: bool = True) -> ChatRequest:
    """A request for Yes or No."""
    body: dict[str, object] = {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0, "seed": 1}
    body |= {"logprobs": True, "top_logprobs": TOP} if logprobs else {}
    said = Message("user", messages[0]["content"], True, messages[0])
    return ChatRequest(model, (said,), stream=False, include_usage=False, body=body)


def says_yes(answer: Answer) -> bool | None:
    """By the margin, or by the word where there is none; None: too close to tell."""
    value = margin(answer)
    if value is None:
        word = _word(answer.text)
        return True if word in YES else False if word in NO else None
    return None if abs(value) < MIN_MARGIN else value > 0


TASK = (
    "Do A and B ask for exactly the same thing, so that the kept answer to A is right and complete for B? "
    "Answer with one word, Yes or No:"
)
EXAMPLES = """\
Company chatbot. Same: other words, same facts wanted. Not the same: another person, number, date, amount, product, \
action, direction or negation.

A: 연차는 며칠 전에 신청해야 하나요? B: 휴가 쓰려면 며칠 전까지 올려야 해요? → Yes
A: 정규직 연차는 며칠인가요? B: 계약직 연차는 며칠인가요? → No
A: How do I reset my password? B: I forgot my password, what do I do? → Yes
A: Which plans include roaming? B: Which plans don't include roaming? → No"""
