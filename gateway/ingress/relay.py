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

PASSED_ON = ("content-type", "content-disposition", "content-encoding", "retry-after", "retry-after-ms")
PASSED_ON_PREFIXES = ("openai-", "x-ratelimit-", "azureml-", "apim-")
WHOLE_BYTES = 1 << 20  # replies up to this size go out in one piece, larger ones (files) as they come


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
        outcome = "client_left"  # unless it ends otherwise
        try:
            response = await self._passed_on(http_request, sent, ctx, began)
            outcome = "ok" if response.status < 400 else str(response.status)
            return response
        except UpstreamError as error:
            outcome = error.code or "error"
            raise
        finally:
            if sent.operation == "chat":
                seconds = ctx.timings.clock() - began
                self._metrics.chat_ended(
                    sent.model, CacheOutcome.BYPASS, ServedBy.MODEL, sent.streamed, outcome, seconds
                )

    async def _passed_on(
        self, http_request: web.Request, sent: Outgoing, ctx: RequestContext, began: float
    ) -> web.StreamResponse:
        passing = await self._router.forward(sent, ctx)
        try:
            reply = passing.reply
            ctx.timings.record("upstream_headers", ctx.timings.clock() - began)
            headers = _headers(reply, passing.attempt) | {"x-request-id": ctx.id}
            if self._timing:
                headers["server-timing"] = server_timing(ctx.timings.stages)
            if str(reply.headers.get("content-type", "")).startswith("text/event-stream"):
                return await self._stream(http_request, sent, ctx, reply, headers, began)
            whole = bytearray()
            while piece := await reply.read():
                whole += piece
                if len(whole) > WHOLE_BYTES:
                    return await self._large(http_request, reply, headers, whole)
            return web.Response(status=reply.status, headers=headers, body=bytes(whole))
        finally:
            passing.close()

    async def _large(
        self, http_request: web.Request, reply: Forwarded, headers: Mapping[str, str], began_with: bytearray
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=headers)
        await response.prepare(http_request)
        await response.write(began_with)
        try:
            while piece := await reply.read():
                await response.write(piece)
        except UpstreamError:  # the caller must not take the part for the whole
            response.force_close()
            if http_request.transport is not None:
                http_request.transport.abort()
            return response
        await response.write_eof()
        return response

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
            while piece := await reply.read():
                if first is None and reply.content_seen:
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
