"""Requests that nothing here improves: passed on as bytes, both ways, under the same keys, limits and failover."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.chat import CacheOutcome, RequestContext, ServedBy
from gateway.errors import UpstreamError
from gateway.ingress.reply import server_timing
from gateway.ingress.sse import error_frame
from gateway.metrics import Metrics
from gateway.ports import Forwarded, Outgoing
from gateway.routing.router import Attempt, Router

PASSED_ON = ("content-type", "content-disposition", "retry-after", "retry-after-ms")
PASSED_ON_PREFIXES = ("openai-", "x-ratelimit-", "azureml-", "apim-")


class Relay:
    """Bytes in, bytes out."""

    def __init__(self, router: Router, metrics: Metrics, *, timing: bool) -> None:
        self._router = router
        self._metrics = metrics
        self._timing = timing

    async def pass_on(
        self, http_request: web.Request, sent: Outgoing, ctx: RequestContext, began: float
    ) -> web.StreamResponse:
        """Send the request to a deployment of its model and the reply back as it comes. Raises UpstreamError."""
        async with self._router.forward(sent, ctx) as (reply, attempt):
            ctx.timings.record("upstream_headers", ctx.timings.clock() - began)
            headers = _headers(reply, attempt) | {"x-request-id": ctx.id}
            if self._timing:
                headers["server-timing"] = server_timing(ctx.timings.stages)
            if reply.is_stream:
                return await self._stream(http_request, sent, ctx, reply, headers, began)
            body = b"".join([piece async for piece in reply.body])
            return web.Response(status=reply.status, headers=headers, body=body)

    async def _stream(
        self,
        http_request: web.Request,
        sent: Outgoing,
        ctx: RequestContext,
        reply: Forwarded,
        headers: Mapping[str, str],
        began: float,
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.headers["cache-control"] = "no-cache"
        await response.prepare(http_request)
        first: float | None = None
        try:
            async for piece in reply.body:
                if first is None and reply.progress.content_seen:
                    first = ctx.timings.clock() - began
                    self._metrics.first_token(sent.model, CacheOutcome.BYPASS, ServedBy.MODEL, first)
                await response.write(piece)
        except UpstreamError as error:
            await response.write(error_frame(error))
        await response.write_eof()
        return response


def _headers(reply: Forwarded, attempt: Attempt) -> dict[str, str]:
    kept = {
        name: str(value)
        for name, value in reply.headers.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return kept | {
        "x-ocho-cache": str(CacheOutcome.BYPASS),
        "x-ocho-served-by": str(ServedBy.MODEL),
        "x-ocho-deployment": attempt.health.deployment.name,
        "x-ocho-attempts": str(attempt.number),
    }
