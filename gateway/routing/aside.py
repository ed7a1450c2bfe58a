"""A short question to a fast model beside the real work: a verdict, a rewriting. Never seen by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.chat import Answer, CacheOutcome, ChatRequest, Json, Opened, RequestContext, ServedBy
from gateway.clock import Timings
from gateway.routing.router import Router
from gateway.routing.spend import prompt_tokens


class Asides:
    """``router``'s models, asked in few tokens at temperature 0."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def ask(
        self, model: str, messages: Sequence[Json], ctx: RequestContext, *, purpose: str, max_tokens: int, **more: Any
    ) -> Answer:
        """The model's whole answer; charged to ``purpose``. Raises UpstreamError."""
        body = {
            "model": model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 1,
            **more,
        }
        request = ChatRequest(model, (), False, False, body)
        own = replace(ctx, timings=Timings(ctx.timings.clock))
        opened = Opened(ServedBy.DRAFT, CacheOutcome.BYPASS, model)
        return await self._router.stream(request, own, opened, lambda event: None, purpose=purpose)

    def cost(self, model: str, messages: Sequence[Json], max_tokens: int) -> float:
        """About what ``ask`` will cost, in the configured currency or in weighted tokens."""
        return self._router.ledger.price(model).of(prompt_tokens({"messages": list(messages)}), max_tokens)

    def cost_of(self, model: str, body: Json, max_tokens: int) -> float:
        """The same for a whole request to ``model``."""
        return self._router.ledger.price(model).of(prompt_tokens(body), max_tokens)
