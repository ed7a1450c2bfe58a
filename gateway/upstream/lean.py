"""HTTP/1.1 over kept connections straight on the event loop: a ninth of the CPU that the general client takes.

What it leaves out is left to ``general``: proxies, redirects, HEAD, hosts that are not ASCII.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from gateway.clock import Clock, Deadline
from gateway.upstream.connection import Connection, Watch
from gateway.upstream.transport import ConnectFailed, ConnectLate, Way

IDLE_S = 60.0  # a connection is kept that long; providers keep theirs for longer
MAX_IDLE = 512  # connections kept for one origin
_UNRESERVED = "%/?#[]@!$&'()*+,;=:"  # stays as it is in a request target (RFC 3986); percent signs are escapes already


class Origin(NamedTuple):
    host: str
    port: int
    secure: bool


@lru_cache(maxsize=1024)
def serves(way: Way) -> bool:
    """Whether this client can send such requests."""
    return way.method != "HEAD" and way.url.isascii() and "@" not in urlsplit(way.url).netloc


class LeanHttp:
    """``Http`` for configured origins. The newest connection is used first, so that spare ones grow old and go."""

    def __init__(self, context: ssl.SSLContext | None = None, clock: Clock = time.monotonic) -> None:
        self._context = context
        self._clock = clock
        self._idle: dict[Origin, list[Connection]] = {}
        self._watch = Watch()

    async def request(
        self, way: Way, headers: Mapping[str, str], body: bytes | None, until: Deadline, connect_s: float
    ) -> LeanReply:
        """A request that meets a connection which the server closed meanwhile is sent once more, on a new one."""
        origin, beginning = _beginning(way)
        message = _message(beginning, headers, body)
        connection = self._kept(origin)
        if connection is None or not await connection.exchange(message, until):
            connection = await self._connected(origin, connect_s, until)
            if not await connection.exchange(message, until):
                raise ConnectionError("the server closed the connection without an answer")
        return LeanReply(self, origin, connection)

    async def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def keep(self, origin: Origin, connection: Connection) -> None:
        """Take back a connection whose reply was read to its end."""
        connections = self._idle.setdefault(origin, [])
        connection.idle_since = self._clock()
        connections.append(connection)
        oldest = connections[0]
        if len(connections) > MAX_IDLE or connection.idle_since - oldest.idle_since > IDLE_S:
            del connections[0]
            oldest.close()

    def _kept(self, origin: Origin) -> Connection | None:
        connections = self._idle.get(origin)
        while connections:
            connection = connections.pop()
            if connection.usable and self._clock() - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return None

    async def _connected(self, origin: Origin, connect_s: float, until: Deadline) -> Connection:
        if origin.secure and self._context is None:
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        loop = asyncio.get_running_loop()
        context = self._context if origin.secure else None
        try:
            async with asyncio.timeout(min(connect_s, until.remaining_s())):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._watch), origin.host, origin.port, ssl=context
                )
        except TimeoutError as cause:
            if until.remaining_s() == 0:
                raise
            raise ConnectLate("no connection in time") from cause
        except OSError as cause:  # refused, unknown host, TLS
            raise ConnectFailed("no connection") from cause
        return connection


class LeanReply:
    """``HttpReply`` of one exchange."""

    __slots__ = ("_connection", "_origin", "_pool", "headers", "status")

    def __init__(self, pool: LeanHttp, origin: Origin, connection: Connection) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers

    def rest(self) -> bytes | None:
        connection = self._connection
        if connection is None:
            return b""
        return connection.received() if connection.complete else None

    async def read(self, until: Deadline) -> bytes:
        if self._connection is None:
            return b""
        received = self._connection.received()
        return received if received is not None else await self._connection.more(until)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.reusable:
            self._pool.keep(self._origin, connection)
        else:
            connection.close()


def _message(beginning: bytes, headers: Mapping[str, str], body: bytes | None) -> bytes:
    if body is None:
        return b"%s%s\r\n" % (beginning, _fields(headers))
    return b"%s%scontent-length: %d\r\n\r\n%s" % (beginning, _fields(headers), len(body), body)


def _fields(headers: Mapping[str, str]) -> bytes:
    lines = [*map(": ".join, headers.items()), ""]
    unbroken = "".join(lines)
    if "\n" in unbroken or "\r" in unbroken or "\0" in unbroken:
        raise ConnectionError("a header with a line break in it cannot be sent")
    return "\r\n".join(lines).encode()


@lru_cache(maxsize=1024)
def _beginning(way: Way) -> tuple[Origin, bytes]:
    """Where to connect, and what each request begins with."""
    origin, host, target = _parts(way.url)
    return origin, f"{way.method} {target} HTTP/1.1\r\nhost: {host}\r\n".encode() + _fields(way.headers)


def _parts(url: str) -> tuple[Origin, str, str]:
    """Where to connect, the Host header, the request target."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    name = parts.hostname or ""
    origin = Origin(name, parts.port or (443 if secure else 80), secure)
    host = f"[{name}]" if ":" in name else name
    if parts.port is not None and parts.port != (443 if secure else 80):
        host = f"{host}:{parts.port}"
    path = quote(parts.path or "/", safe=_UNRESERVED)
    return origin, host, f"{path}?{quote(parts.query, safe=_UNRESERVED)}" if parts.query else path
