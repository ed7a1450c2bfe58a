"""What answers cost: counted in the configured currency, and bounded where money is spent on a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.chat import Answer, Json, RequestContext
from gateway.metrics import Metrics

OUTPUT_WEIGHT = 3.0  # an output token against an input token where no price is known (list prices: 2 to 4)
USUAL_ANSWER_TOKENS = 150  # for weighing costs before anything is known
_HANGUL_OR_CJK = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff가-힣]")


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens."""

    input: float
    output: float

    def of(self, prompt: int, completion: int) -> float:
        return (self.input * prompt + self.output * completion) / 1e6


UNPRICED = Price(1.0, OUTPUT_WEIGHT)  # for comparing costs only


@dataclass(slots=True)
class Errand:
    """What a call is made for. May change while it runs: an answer that comes too late goes on in the background."""

    reason: str = "answer"  # answer, draft, details or background
    weighs: bool = False  # log-probabilities are asked for that the caller did not ask for


@dataclass(frozen=True, slots=True)
class Spent:
    """One upstream call that ended."""

    ctx: RequestContext
    model: str
    reason: str  # that of its errand, or hedge or abandoned
    prompt_tokens: int
    completion_tokens: int
    money: float  # in the currency of the configured prices; 0 where there are none


class Ledger:
    """Charges every upstream call to a tenant, a model and a reason, and tells ``listeners``."""

    def __init__(self, prices: Mapping[str, Price], metrics: Metrics) -> None:
        self._prices = prices
        self._metrics = metrics
        self.listeners: list[Callable[[Spent], None]] = []

    def charge(
        self, ctx: RequestContext, model: str, reason: str, body: Json, usage: tuple[int, int] | None, streamed: int
    ) -> None:
        """``usage``: prompt and completion tokens by the provider's count. Without it (a call that was left) they are
        estimated; ``streamed``: pieces that had come by then."""
        prompt, completion = usage or (prompt_tokens(body), streamed)
        price = self._prices.get(model)
        money = price.of(prompt, completion) if price else 0.0
        self._metrics.spent(ctx.tenant.id, model, reason, prompt, completion, money)
        spent = Spent(ctx, model, reason, prompt, completion, money)
        for tell in self.listeners:
            tell(spent)

    def price(self, model: str) -> Price:
        return self._prices.get(model, UNPRICED)

    def prices(self, model: str) -> bool:
        return model in self._prices


def used(answer: Answer | None) -> tuple[int, int] | None:
    """Prompt and completion tokens by the provider's count."""
    if answer is None or answer.usage is None:
        return None
    return answer.usage.prompt_tokens, answer.usage.completion_tokens


def prompt_tokens(body: Json) -> int:
    """Roughly: 1.5 Korean syllables or 4 other characters a token."""
    return tokens_of(str(m.get("content") or "") for m in body.get("messages") or () if isinstance(m, Mapping))


def tokens_of(texts: Iterable[str]) -> int:
    text = "".join(texts)
    wide = len(_HANGUL_OR_CJK.findall(text))
    return int(wide / 1.5 + (len(text) - wide) / 4)


@dataclass(slots=True)
class Allowance:
    """Money for guesses: every request earns ``share`` of what it would cost without drafts.

    Over any stretch of requests the waste stays below that share of their cost, plus ``burst`` once.
    """

    share: float
    burst: float = 3.0  # in average requests: a quiet gateway may guess a few times at once
    ready: bool = False  # the burst is there from the first request on
    _balance: float = 0.0
    _usual: float = field(default=0.0)  # cost of a request, for the burst

    @property
    def plenty(self) -> bool:
        """At least half of what may be saved up is there."""
        return 2 * self._balance >= self.burst * self._usual

    def earn(self, cost: float) -> None:
        """A request came that would cost ``cost``."""
        if self.ready and not self._usual:
            self._balance = self.burst * cost
        self._usual = cost if not self._usual else self._usual + 0.1 * (cost - self._usual)
        self._balance = min(self._balance + self.share * cost, self.burst * self._usual)

    def take(self, cost: float) -> bool:
        """Set ``cost`` aside if it is there."""
        if self._balance < cost:
            return False
        self._balance -= cost
        return True

    def give_back(self, cost: float) -> None:
        """The guess was used, or cost less than feared."""
        self._balance += cost
