"""HTTP by aiohttp's client: any server, proxies from the environment. Its errors are translated here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import aiohttp
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL

from gateway.clock import Deadline
from gateway.upstream.transport import ConnectFailed, ConnectLate, Way

IDLE_S = 60.0


class GeneralHttp:
    """``Http`` over aiohttp sessions. Make it inside the running loop."""

    def __init__(self) -> None:
        self._direct = _session(trust_env=False)
        self._by_proxy = _session(trust_env=True)  # it asks the environment anew for each request, in a thread
        self._proxied: dict[tuple[str, str], bool] = {}  # (scheme, host and port) → whether a proxy is for it

    async def request(
        self, way: Way, headers: Mapping[str, str], body: bytes | None, until: Deadline, connect_s: float
    ) -> GeneralReply:
        with _translated():
            url = _url(way)
            session = self._by_proxy if self._needs_proxy(url) else self._direct
            async with asyncio.timeout(until.remaining_s()):
                response = await session.request(
                    way.method, url, data=body, headers={**way.headers, **headers}, allow_redirects=False,
                    timeout=_timeout(connect_s),
                )  # fmt: skip
        return GeneralReply(response)

    async def close(self) -> None:
        await self._direct.close()
        await self._by_proxy.close()

    def _needs_proxy(self, url: URL) -> bool:
        origin = url.scheme, url.authority
        needs = self._proxied.get(origin)
        if needs is None:
            try:
                get_env_proxy_for_url(url)
                needs = True
            except LookupError:
                needs = False
            self._proxied[origin] = needs
        return needs


def _session(*, trust_env: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, keepalive_timeout=IDLE_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=1 << 18,
        skip_auto_headers=("user-agent", "accept"),
        trust_env=trust_env,
    )


class GeneralReply:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    def rest(self) -> bytes | None:
        content = self._response.content
        return content.read_nowait() if content.is_eof() and content.exception() is None else None

    async def read(self, until: Deadline) -> bytes:
        content = self._response.content
        with _translated():
            if (received := content.read_nowait()) or content.at_eof():
                return received
            async with asyncio.timeout(until.remaining_s()):
                return await content.readany()

    def close(self) -> None:
        self._response.close()  # one read to its end has given its connection back already


@lru_cache(maxsize=1024)
def _url(way: Way) -> URL:
    return URL(way.url)


@lru_cache(maxsize=64)
def _timeout(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)


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
