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
            headers = self._headers(reply.headers, ctx, passing.answered_at - began)
            attempt = passing.attempt
            told = _told(attempt.slot.health.deployment.name, attempt.number)
            if headers.get("content-type", "").startswith("text/event-stream"):
                whole = None
                await self._stream(caller, sent, ctx, reply, {**headers, **told}, began)
            elif (whole := reply.rest()) is None:
                whole = await self._gathered(caller, reply, {**headers, **told})
            outcome = "ok" if status < 400 else str(status)
            return Reply(status, whole, headers, told.lines) if whole is not None else None
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

    def _headers(self, received: Mapping[str, str], ctx: RequestContext, seconds: float) -> dict[str, str]:
        """The provider's that are passed on, and those of every reply. They came after ``seconds``."""
        headers = {}
        for name, value in received.items():
            if _PASSES[name]:
                headers[name] = value
        headers["x-request-id"] = ctx.id
        headers.update(ctx.told)
        if self._timing:
            headers["server-timing"] = _WAITS[int(seconds * 10_000)]
        return headers

    async def _gathered(self, caller: Caller, reply: Forwarded, headers: Mapping[str, str]) -> bytes | None:
        """The whole body; None where it is so large that it went out in pieces."""
        whole = bytearray()
        while piece := await reply.read():
            whole += piece
            if len(whole) > WHOLE_BYTES:
                await self._large(caller, reply, headers, bytes(whole))
                return None
        return bytes(whole)

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


class _Told(dict[str, str]):
    """Headers that tell which deployment answered, and the same as ``header_lines``."""

    def __init__(self, deployment: str, attempts: int) -> None:
        super().__init__()
        self["x-ocho-cache"] = str(CacheOutcome.BYPASS)
        self["x-ocho-served-by"] = str(ServedBy.MODEL)
        self["x-ocho-deployment"] = deployment
        self["x-ocho-attempts"] = str(attempts)
        self.lines = header_lines(self)


class _Passes(dict[str, bool]):
    """Header names, and whether they are passed on. Providers send the same ones each time."""

    def __missing__(self, name: str) -> bool:
        passes = name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
        if len(self) < MAX_NAMES:
            self[name] = passes
        return passes


class _Waits(dict[int, str]):
    """``Server-Timing`` by tenths of a millisecond: to write a float costs more than all else about it."""

    def __missing__(self, tenths: int) -> str:
        text = f"upstream_headers;dur={tenths / 10}"
        if tenths < MAX_WAITS:
            self[tenths] = text
        return text


_PASSES = _Passes()
_WAITS = _Waits()
_told = lru_cache(maxsize=256)(_Told)
