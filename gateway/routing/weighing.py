"""Log-probabilities: asked of models that give them, read from answers, not passed on to callers who asked for none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from gateway.chat import Answer, ChatRequest, Delta, Json
from gateway.errors import UpstreamRejected
from gateway.routing.gate import END_TOKENS

log = structlog.get_logger()
T = TypeVar("T")

Ask = Callable[[ChatRequest, bool], Awaitable[T]]  # (the request, whether it asks for log-probabilities)


@dataclass(slots=True)
class Scales:
    """Which models give log-probabilities: those that have not refused to."""

    _without: set[str] = field(default_factory=set)

    async def ask(self, request: ChatRequest, ask: Ask[T]) -> T:
        """With log-probabilities, and once more without where the provider refuses the request for them."""
        model = request.requested_model
        if model in self._without:
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
