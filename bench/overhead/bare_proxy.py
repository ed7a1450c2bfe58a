"""The least an aiohttp proxy can do: the yardstick for what the gateway adds."""

from __future__ import annotations

import sys

import aiohttp
import uvloop
from aiohttp import web


async def _application(upstream: str) -> web.Application:
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)

    async def pass_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"content-type": "application/json", "authorization": request.headers.get("authorization", "")}
        async with session.post(upstream + request.path, data=body, headers=headers) as reply:
            if reply.content_type != "text/event-stream":
                return web.Response(body=await reply.read(), content_type=reply.content_type, status=reply.status)
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    async def close(_: web.Application) -> None:
        await session.close()

    app = web.Application()
    app.router.add_post("/{path:.*}", pass_on)
    app.on_cleanup.append(close)
    return app


async def _serve(port: int, upstream: str) -> None:
    import asyncio

    runner = web.AppRunner(await _application(upstream), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
