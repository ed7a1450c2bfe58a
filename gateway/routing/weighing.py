"""Log-probabilities: asked of models that give them, read from answers, not passed on to callers who asked for none."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, TypeVar

import structlog

from gateway.chat import Answer, ChatRequest, Delta, Json
from gateway.errors import UpstreamRejected
from gateway.routing.gate import END_TOKENS

log = structlog.get_logger()
T = TypeVar("T")

USUAL = -0.35  # median of the models that ``doubting.WEIGHTS`` were fitted on
TAKEN_FOR_GRANTED, LATEST = 20, 200  # answers
LEAST = 0.2  # of what a log-probability says

Ask = Callable[[ChatRequest, bool], Awaitable[T]]  # (the request, whether it asks for log-probabilities)


class Scale:
    """How unsure one model usually is of its least sure token. Some are of all they say, and right all the same."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque([USUAL] * TAKEN_FOR_GRANTED, maxlen=LATEST)

    def saw(self, lowest: float | None) -> None:
        """The lowest log-probability of an answer's first sentence."""
        if lowest is not None:
            self._seen.append(lowest)

    def read(self, lowest: float | None) -> float | None:
        """As one would be worth of the models that the weights were fitted on: less where this one is less sure of
        all it says, never more."""
        if lowest is None:
            return None
        return lowest * min(1.0, max(LEAST, USUAL / min(USUAL, median(self._seen))))


@dataclass(slots=True)
class Scales:
    """Which models give log-probabilities, those that have not refused to, and how they are read."""

    _without: set[str] = field(default_factory=set)
    _of: dict[str, Scale] = field(default_factory=dict)

    def of(self, model: str) -> Scale:
        return self._of.setdefault(model, Scale())

    def weighs(self, model: str) -> bool:
        """It has not refused to give log-probabilities."""
        return model not in self._without

    async def ask(self, request: ChatRequest, ask: Ask[T]) -> T:
        """With log-probabilities, and once more without where the provider refuses the request for them."""
        model = request.requested_model
        if not self.weighs(model):
            return await ask(request, False)
        try:
            return await ask(replace(request, body={**request.body, "logprobs": True}), True)
        except UpstreamRejected as error:
            if not (error.status == 400 and "logprobs" in str(error)):
                raise
        self._without.add(model)
        log.info("this model gives no log-probabilities; less is known of how sure it is", model=model)
        return await ask(request, False)


def logprobs_of(answer: Answer) -> list[tuple[str, float]] | None:
    """(token, log-probability) of the first choice; None where the server gave none."""
    return _tokens(answer.choices[0]) if answer.choices else None


def weighed(event: Delta) -> Delta:
    """Without log-probabilities, but for the lowest."""
    choices = event.chunk.get("choices") or ()
    found = _tokens(choices[0]) if choices else None
    if not any(choice.get("logprobs") for choice in choices):
        return event
    bare = Delta.of({**event.chunk, "choices": [{**choice, "logprobs": None} for choice in choices]})
    lowest = min((value for token, value in found or () if token not in END_TOKENS), default=None)
    return replace(bare, logprob=lowest)


def unweighed(answer: Answer) -> Answer:
    """Without log-probabilities."""
    return replace(answer, choices=tuple({**choice, "logprobs": None} for choice in answer.choices))


def _tokens(choice: Json) -> list[tuple[str, float]] | None:
    given: Any = choice.get("logprobs")
    given = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(given, list):
        return None
    found = [
        (str(token.get("token", "")), float(token["logprob"]))
        for token in given
        if isinstance(token, dict) and isinstance(token.get("logprob"), int | float)
    ]
    return found or None
