"""Requests that nothing here improves: passed on as bytes, both ways, under the same keys, limits and failover."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.accounts.accounts import Accounts
from gateway.chat import CacheOutcome, RequestContext, ServedBy
from gateway.errors import LimitReached, UpstreamError
from gateway.ingress.caller import Caller, Reply
from gateway.ingress.reply import server_timing
from gateway.ingress.sse import error_frame
from gateway.metrics import Metrics
from gateway.ports import Forwarded, Outgoing
from gateway.routing.router import Attempt, Router
from gateway.routing.spend import prompt_tokens

PASSED_ON = ("content-type", "content-disposition", "content-encoding", "retry-after", "retry-after-ms")
PASSED_ON_PREFIXES = ("openai-", "x-ratelimit-", "azureml-", "apim-")
WHOLE_BYTES = 1 << 20  # replies up to this size go out in one piece, larger ones (files) as they come


class Relay:
    """Bytes in, bytes out."""

    def __init__(self, router: Router, metrics: Metrics, accounts: Accounts, *, timing: bool) -> None:
        self._router = router
        self._accounts = accounts
        self._metrics = metrics
        self._timing = timing

    async def pass_on(self, caller: Caller, sent: Outgoing, ctx: RequestContext, began: float) -> Reply | None:
        """Send the request to a deployment of its model and the reply back as it comes. Raises UpstreamError.

        A reply that goes out in pieces is sent when this returns; it is None then.
        """
        outcome = "client_left"  # unless it ends otherwise
        try:
            status, reply = await self._passed_on(caller, sent, ctx, began)
            outcome = "ok" if status < 400 else str(status)
            return reply
        except (UpstreamError, LimitReached) as error:
            outcome = error.code or "error"
            raise
        finally:
            if sent.operation == "chat":
                seconds = ctx.timings.clock() - began
                self._metrics.chat_ended(
                    sent.model, CacheOutcome.BYPASS, ServedBy.MODEL, sent.streamed, outcome, seconds
                )

    async def _passed_on(
        self, caller: Caller, sent: Outgoing, ctx: RequestContext, began: float
    ) -> tuple[int, Reply | None]:
        with self._accounts.spending(ctx.key_id, lambda: prompt_tokens(sent.json or {})):
            return await self._forwarded(caller, sent, ctx, began)

    async def _forwarded(
        self, caller: Caller, sent: Outgoing, ctx: RequestContext, began: float
    ) -> tuple[int, Reply | None]:
        passing = await self._router.forward(sent, ctx, metered=self._accounts.counts(ctx.key_id))
        try:
            reply = passing.reply
            ctx.timings.record("upstream_headers", ctx.timings.clock() - began)
            headers = _headers(reply, passing.attempt)
            headers |= {"x-request-id": ctx.id, **ctx.told}
            if self._timing:
                headers["server-timing"] = server_timing(ctx.timings.stages)
            if headers.get("content-type", "").startswith("text/event-stream"):
                await self._stream(caller, sent, ctx, reply, headers, began)
                return reply.status, None
            whole = await reply.read()
            while piece := await reply.read():
                whole += piece
                if len(whole) > WHOLE_BYTES:
                    await self._large(caller, reply, headers, whole)
                    return reply.status, None
            return reply.status, Reply(reply.status, whole, headers)
        finally:
            passing.close()

    async def _large(self, caller: Caller, reply: Forwarded, headers: Mapping[str, str], began_with: bytes) -> None:
        await caller.begin(reply.status, headers)
        await caller.write(began_with)
        try:
            while piece := await reply.read():
                await caller.write(piece)
        except UpstreamError:  # the caller must not take the part for the whole
            caller.cut()
            return
        await caller.end()

    async def _stream(
        self,
        caller: Caller,
        sent: Outgoing,
        ctx: RequestContext,
        reply: Forwarded,
        headers: dict[str, str],
        began: float,
    ) -> None:
        headers["cache-control"] = "no-cache"
        await caller.begin(reply.status, headers)
        first: float | None = None
        try:
            while piece := await reply.read():
                if first is None and reply.content_seen:
                    first = ctx.timings.clock() - began
                    self._metrics.first_token(sent.model, CacheOutcome.BYPASS, ServedBy.MODEL, first)
                await caller.write(piece)
        except UpstreamError as error:
            await caller.write(error_frame(error))
        await caller.end()


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
