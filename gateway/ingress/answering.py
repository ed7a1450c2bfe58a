"""One answer's way out: its events, written to the caller whole or as a stream, and timed as the caller sees them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import orjson
import structlog

from gateway.cache.inflight import Joined
from gateway.chat import (
    AnswerEvent,
    CacheOutcome,
    ChatRequest,
    Closed,
    Delta,
    Opened,
    RequestContext,
    has_content,
)
from gateway.errors import GatewayError, UpstreamBroken
from gateway.ingress.caller import Caller, Reply
from gateway.ingress.reply import STREAM_HEADERS, answer_headers, server_timing
from gateway.ingress.sse import KEEP_ALIVE, Writer, served_by_comment
from gateway.metrics import Metrics
from gateway.stages import ended

log = structlog.get_logger()

PATIENCE_S = 2.5  # silence before a stream begins without knowing who answers; until then errors are HTTP statuses
KEEP_ALIVE_S = 1.0


@dataclass(frozen=True, slots=True)
class Showing:
    """What of the inner workings callers are shown."""

    timing: bool  # Server-Timing and the timing comment at the end of streams
    hit_details: bool  # entry, similarity and age of cache hits


class Answering:
    """Writes one answer's events to its caller, whole or as a stream, and measures what the caller sees."""

    def __init__(
        self,
        showing: Showing,
        metrics: Metrics,
        caller: Caller,
        request: ChatRequest,
        ctx: RequestContext,
        began: float,
        writer: Writer,
    ) -> None:
        self._showing = showing
        self._metrics = metrics
        self._caller = caller
        self._request = request
        self._ctx = ctx
        self._began = began
        self._writer = writer
        self._opened: Opened | None = None
        self._first_token_seen = False
        self._joined_late = False
        self._told = {"x-request-id": ctx.id, **ctx.told}

    async def answer(self, joined: Joined) -> Reply | None:
        """None: it went out as a stream."""
        if not self._request.stream:
            return await self.whole(joined)
        await self.stream(joined)
        return None

    async def whole(self, joined: Joined) -> Reply:
        answer_id = ""
        try:
            async for batch in joined.batches:
                for event in batch:
                    if isinstance(event, Opened):
                        self._open(event, joined)
                    elif isinstance(event, Delta):
                        answer_id = answer_id or str(event.chunk.get("id") or "")
                        self._content(event)
                    else:
                        return self._completed(event, answer_id)
            raise UpstreamBroken("the answer stopped in the middle")
        except GatewayError as error:
            self._end(error.code or "error")
            raise

    def _completed(self, event: Closed, answer_id: str) -> Reply:
        opened = self._served()
        body = self._writer.whole(event.answer, opened, answer_id)
        headers = self._headers(opened)
        if self._showing.timing:
            headers["server-timing"] = server_timing(self._stages(event), self._elapsed())
        self._end("ok")
        headers["content-type"] = "application/json"
        return Reply(200, orjson.dumps(body), headers)

    async def stream(self, joined: Joined) -> None:
        writer, begun = self._writer, False
        try:
            async with self._listening(joined) as batches:
                async for batch in batches:
                    out = bytearray() if batch else bytearray(KEEP_ALIVE)
                    for event in batch:
                        if isinstance(event, Delta):
                            self._content(event)
                            out += writer.delta(event)
                        elif isinstance(event, Closed):
                            out += writer.closed(event.answer, self._stages(event), self._elapsed())
                        else:
                            opened = self._open(event, joined)
                            if begun:
                                out += served_by_comment(opened)
                            else:
                                await self._begin_stream(opened)
                                begun = True
                            out += writer.opened(opened)
                    if not begun:
                        await self._begin_early()
                        begun = True
                    if out:
                        await self._caller.write(out)
                    if batch and isinstance(batch[-1], Closed):
                        await self._caller.end()
                        self._end("ok")
                        return
            raise UpstreamBroken("the answer stopped in the middle")
        except GatewayError as error:
            self._end(error.code or "error")
            if not begun:
                raise
            failure = error
        except (ConnectionError, OSError):
            raise  # the caller has gone
        except Exception:
            self._end("internal_error")
            if not begun:
                raise
            log.exception("unexpected error", request_id=self._ctx.id)
            failure = GatewayError("the gateway failed; its log has the request id", code="internal_error")
        await self._caller.write(writer.failed(failure))
        await self._caller.end()

    @asynccontextmanager
    async def _listening(self, joined: Joined) -> AsyncIterator[AsyncIterator[Sequence[AnswerEvent]]]:
        """The answer's events; for models that promise a time with empty batches in the pauses before the first."""
        if self._ctx.promise is None:
            yield joined.batches
        else:
            async with aclosing(_with_pauses(joined.batches)) as batches:
                yield batches

    async def _begin_early(self) -> None:
        """Headers before it is known who will answer; from here on an error can only be an event of the stream."""
        await self._begin({"x-ocho-served-by": "pending", **self._told})

    async def _begin_stream(self, opened: Opened) -> None:
        headers = self._headers(opened)
        if self._showing.timing:
            headers["server-timing"] = server_timing(self._stages(opened))
        await self._begin(headers)

    async def _begin(self, headers: dict[str, str]) -> None:
        await self._caller.begin(200, headers | STREAM_HEADERS)

    def _open(self, event: Opened, joined: Joined) -> Opened:
        if joined.coalesced and event.cache is CacheOutcome.MISS:
            event = replace(event, cache=CacheOutcome.COALESCED)
        self._opened = event
        self._joined_late = joined.coalesced
        return event

    def _served(self) -> Opened:
        assert self._opened is not None  # Opened is always the first event
        return self._opened

    def _content(self, event: Delta) -> None:
        if not self._first_token_seen and (event.text or has_content(event.chunk)):
            self._first_token_seen = True
            opened = self._served()
            self._metrics.first_token(self._request.requested_model, opened.cache, opened.served_by, self._elapsed())

    def _headers(self, opened: Opened) -> dict[str, str]:
        headers = answer_headers(opened, details=self._showing.hit_details)
        return headers | self._told

    def _stages(self, event: Opened | Closed) -> Mapping[str, tuple[float, str]]:
        """This request's own stages, then those of its flight; one that was joined under way began before us."""
        return self._ctx.timings.stages if self._joined_late else {**self._ctx.timings.stages, **event.stages}

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _end(self, outcome: str) -> None:
        opened = self._opened
        cache = opened.cache if opened is not None else CacheOutcome.MISS
        served_by = opened.served_by if opened is not None else "none"
        self._caller.chat = (cache, served_by, self._request.stream, outcome)


async def _with_pauses(
    batches: AsyncIterator[Sequence[AnswerEvent]],
) -> AsyncGenerator[Sequence[AnswerEvent], None]:
    """``batches``, with an empty one after ``PATIENCE_S`` without the first and each ``KEEP_ALIVE_S`` from then on."""
    first = asyncio.ensure_future(anext(batches))
    patience_s = PATIENCE_S
    try:
        while not (await asyncio.wait([first], timeout=patience_s))[0]:
            patience_s = KEEP_ALIVE_S
            yield ()
        yield first.result()
    except StopAsyncIteration:
        return
    finally:
        await ended(first)
    async for batch in batches:
        yield batch
