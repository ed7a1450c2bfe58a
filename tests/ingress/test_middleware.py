"""What every request that aiohttp's server took passes through."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError
from aiohttp.typedefs import Handler

from gateway.chat import CacheOutcome, ServedBy
from gateway.ingress.caller import CHAT
from gateway.ingress.middleware import Around
from gateway.logs import AccessLog
from gateway.metrics import Metrics


async def disconnects(handler: Handler, over: asyncio.Event | None = None) -> float | None:
    """How many callers have left after one has read all that ``handler`` wrote, and ``over``."""
    metrics = Metrics()
    app = web.Application(middlewares=[Around(metrics, AccessLog()).middleware])
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as client, client.get(url) as reply:
            await reply.read()
        if over is not None:
            await over.wait()
    finally:
        await runner.cleanup()
    return metrics.registry.get_sample_value("ocho_client_disconnects_total")


async def test_a_caller_who_left_while_it_was_written_to_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def left(request: web.Request) -> web.StreamResponse:
        raise ClientConnectionResetError("Cannot write to closing transport")  # as aiohttp does

    assert await disconnects(left) == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(("outcome", "left"), [("ok", 0), ("upstream_broken", 1)])
async def test_a_caller_who_has_the_whole_stream_has_not_left(outcome: str, left: int) -> None:
    cancelled = asyncio.Event()

    async def streamed(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write_eof()
        request[CHAT] = (CacheOutcome.MISS, ServedBy.MODEL, True, outcome)
        try:
            await asyncio.Event().wait()  # for what was begun beside the answer, and is not over yet
        finally:
            cancelled.set()
        return reply

    assert await disconnects(streamed, cancelled) == left
