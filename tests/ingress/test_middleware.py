"""What every request that aiohttp's server took passes through."""

from __future__ import annotations

import logging

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError

from gateway.ingress.middleware import Around
from gateway.logs import AccessLog
from gateway.metrics import Metrics


async def test_a_caller_who_left_while_it_was_written_to_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def left(request: web.Request) -> web.StreamResponse:
        raise ClientConnectionResetError("Cannot write to closing transport")  # as aiohttp does

    metrics = Metrics()
    app = web.Application(middlewares=[Around(metrics, AccessLog()).middleware])
    app.router.add_get("/", left)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as client, client.get(url) as reply:
            await reply.read()
    finally:
        await runner.cleanup()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert metrics.registry.get_sample_value("ocho_client_disconnects_total") == 1
