"""Requests that nothing here improves: passed on as bytes, both ways, under the same keys, limits and failover."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from gateway.accounts.accounts import Accounts
from gateway.chat import CacheOutcome, RequestContext, ServedBy
from gateway.errors import LimitReached, UpstreamError
from gateway.ingress.caller import Caller, Reply, header_lines
from gateway.ingress.sse import error_frame
from gateway.metrics import Metrics
from gateway.ports import Forwarded, Outgoing
from gateway.routing.router import Router
from gateway.routing.spend import prompt_tokens

PASSED_ON = frozenset({"content-type", "content-disposition", "content-encoding", "retry-after", "retry-after-ms"})
PASSED_ON_PREFIXES = ("openai-", "x-ratelimit-", "azureml-", "apim-")
MAX_NAMES = 1000  # of headers, remembered
MAX_WAITS = 10_000  # remembered, of up to a second
_BYPASS, _MODEL = CacheOutcome.BYPASS, ServedBy.MODEL  # members take long to look up
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
        account, reserved, passing = self._accounts.of(ctx.key_id), 0.0, None
        try:
            if account is not None:
                reserved = self._accounts.reserve(account, prompt_tokens(sent.json or {}))
            passing = await self._router.forward(sent, ctx, metered=account is not None and account.counts)
            reply, status = passing.reply, passing.reply.status
            headers = _headers(reply.headers, ctx)
            attempt = passing.attempt
            head = _told(attempt.slot.health.deployment.name, attempt.number)
            if self._timing:
                head += _WAITS[int((passing.answered_at - began) * 10_000.0)]
            if headers.get("content-type", "").startswith("text/event-stream"):
                whole = None
                await self._stream(caller, sent, ctx, reply, headers, head, began)
            elif (whole := reply.rest()) is None:
                whole = await self._gathered(caller, reply, headers, head)
            outcome = "ok" if status < 400 else str(status)
            return Reply(status, whole, headers, head) if whole is not None else None
        except (UpstreamError, LimitReached) as error:
            outcome = error.code or "error"
            raise
        finally:
            if account is not None:
                account.reserved -= reserved
            if passing is not None:
                passing.close()
            if sent.path == "chat/completions":
                caller.chat = (_BYPASS, _MODEL, sent.streamed, outcome)

    async def _gathered(self, caller: Caller, reply: Forwarded, headers: dict[str, str], head: str) -> bytes | None:
        """The whole body; None where it is so large that it went out in pieces."""
        whole = bytearray()
        while piece := await reply.read():
            whole += piece
            if len(whole) > WHOLE_BYTES:
                await caller.begin(reply.status, headers, head)
                await self._large(caller, reply, bytes(whole))
                return None
        return bytes(whole)

    async def _large(self, caller: Caller, reply: Forwarded, began_with: bytes) -> None:
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
        head: str,
        began: float,
    ) -> None:
        headers["cache-control"] = "no-cache"
        await caller.begin(reply.status, headers, head)
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


def _headers(received: Mapping[str, str], ctx: RequestContext) -> dict[str, str]:
    """The provider's that are passed on, and those of this reply alone."""
    headers = {}
    for name, value in received.items():
        if _PASSES[name]:
            headers[name] = value
    headers["x-request-id"] = ctx.id
    headers.update(ctx.told)
    return headers


@lru_cache(maxsize=256)
def _told(deployment: str, attempts: int) -> str:
    """Header lines that tell which deployment answered."""
    return header_lines(
        {
            "x-ocho-cache": str(CacheOutcome.BYPASS),
            "x-ocho-served-by": str(ServedBy.MODEL),
            "x-ocho-deployment": deployment,
            "x-ocho-attempts": str(attempts),
        }
    )


class _Passes(dict[str, bool]):
    """Header names, and whether they are passed on. Providers send the same ones each time."""

    def __missing__(self, name: str) -> bool:
        passes = name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
        if len(self) < MAX_NAMES:
            self[name] = passes
        return passes


class _Waits(dict[int, str]):
    """The line of ``Server-Timing`` by tenths of a millisecond: to write a float costs more than all else about it."""

    def __missing__(self, tenths: int) -> str:
        line = f"server-timing: upstream_headers;dur={tenths / 10}\r\n"
        if tenths < MAX_WAITS:
            self[tenths] = line
        return line


_PASSES = _Passes()
_WAITS = _Waits()
