"""What answers cost: counted in the configured currency, and bounded where money is spent on a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.chat import Answer, ChatRequest, Json
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


class Ledger:
    """Charges every upstream call to a model and a reason."""

    def __init__(self, prices: Mapping[str, Price], metrics: Metrics) -> None:
        self._prices = prices
        self._metrics = metrics

    def charge(self, model: str, reason: str, request: ChatRequest, answer: Answer | None, streamed: int) -> None:
        """One call that ended. Without the provider's count (a call that was left) tokens are estimated;
        ``streamed``: pieces that had come by then."""
        if answer is not None and answer.usage is not None:
            prompt, completion = answer.usage.prompt_tokens, answer.usage.completion_tokens
        else:
            prompt, completion = prompt_tokens(request.body), streamed
        price = self._prices.get(model)
        self._metrics.spent(model, reason, prompt, completion, price.of(prompt, completion) if price else 0.0)

    def price(self, model: str) -> Price:
        return self._prices.get(model, UNPRICED)


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
