"""Short questions to a model beside an answer, which nobody hears but who asked."""

from __future__ import annotations

from dataclasses import replace

from gateway.chat import Answer, AnswerEvent, CacheOutcome, ChatRequest, Opened, RequestContext, ServedBy
from gateway.clock import Timings
from gateway.routing.router import Router
from gateway.routing.spend import Errand


async def ask_aside(router: Router, request: ChatRequest, ctx: RequestContext, reason: str) -> Answer:
    """``reason``: of the spend. Its time is none of the answer's stages. Raises GatewayError."""
    own = replace(ctx, timings=Timings(ctx.timings.clock))
    opened = Opened(ServedBy.MODEL, CacheOutcome.MISS, request.requested_model)
    return await router.stream(request, own, opened, _unheard, Errand(reason))


def _unheard(event: AnswerEvent) -> None: ...
