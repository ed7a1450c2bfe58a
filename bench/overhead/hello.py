"""The least an aiohttp server can do: read the body, answer the same bytes. What an exact hit is compared with."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from bench.overhead.mock import PLAIN

BODY = PLAIN.split(b"\r\n\r\n", 1)[1]


async def _hello(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=BODY, content_type="application/json")


async def _serve(port: int) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
