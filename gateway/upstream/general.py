"""HTTP by aiohttp's client: any server, proxies from the environment. Its errors are translated here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp

from gateway.clock import Deadline
from gateway.upstream.transport import ConnectFailed, ConnectLate

IDLE_S = 60.0


class GeneralHttp:
    """``Http`` over one aiohttp session. Make it inside the running loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, keepalive_timeout=IDLE_S),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=1 << 18,
            skip_auto_headers=("user-agent", "accept"),
            trust_env=True,
        )

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, until: Deadline, connect_s: float
    ) -> GeneralReply:
        with _translated():
            async with asyncio.timeout(until.remaining_s()):
                response = await self._session.request(
                    method, url, data=body, headers=headers, allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
                )  # fmt: skip
        return GeneralReply(response)

    async def close(self) -> None:
        await self._session.close()


class GeneralReply:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    async def read(self, until: Deadline) -> bytes:
        with _translated():
            async with asyncio.timeout(until.remaining_s()):
                return await self._response.content.readany()

    def close(self) -> None:
        self._response.close()  # one read to its end has given its connection back already


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as cause:
        raise ConnectLate("no connection in time") from cause
    except aiohttp.ClientConnectorError as cause:
        raise ConnectFailed("no connection") from cause
    except (aiohttp.ClientError, ValueError) as cause:
        raise ConnectionError("the reply cannot be read") from cause
