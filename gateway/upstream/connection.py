"""One client connection: sends a request, reads its reply. Parsing is llhttp's, through httptools."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, cast

import httptools

from gateway.clock import Deadline

MAX_HEAD_BYTES = 64 * 1024
TICK_S = 0.1  # a wait may end that much late
SHORT_S = 1.0  # but for one that is as short as this
HIGH_WATER = 256 * 1024  # unread body bytes at which the socket is left alone until they are taken


class Watch:
    """One timer for all connections that wait, where each had one of its own."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()  # all that are open
        self.ticking = False

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """A connection waits, and it does not tick yet."""
        self.ticking = True
        loop.call_later(TICK_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = [connection for connection in self.connections if connection.waits_until is not None]
        for connection in waiting:
            if connection.waits_until is not None and connection.waits_until.remaining_s() == 0:
                connection.late()
        self.ticking = bool(waiting)
        if self.ticking:
            loop.call_later(TICK_S, self._tick, loop)


class Connection(asyncio.Protocol):
    """One exchange after the other. Whoever uses it takes turns; it is closed by whoever gives up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: Watch) -> None:
        self.idle_since = 0.0
        self.usable = False  # open, and nothing came that nobody asked for
        self._loop = loop
        self._watch = watch
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.waits_until: Deadline | None = None
        self._begin()

    def _begin(self) -> None:
        self.status = 0  # 0 until the headers are in
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._busy = False  # a reply is awaited
        self.complete = False  # all of the reply has come
        self._framed = False  # the body says itself where it ends
        self._kept_open = False
        self._error: ConnectionError | None = None

    # what its user calls

    async def exchange(self, message: bytes, until: Deadline) -> bool:
        """Send and wait for status and headers. False: closed by the server before it said anything.

        Raises TimeoutError, ConnectionError; the connection is closed then.
        """
        self._begin()
        self._busy = True
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(message)
        try:
            await self._news(until)
            if self._error is not None and not self.status:
                if self._head_bytes == 0:
                    return False
                raise self._error
        except BaseException:
            self.close()
            raise
        return True

    def received(self) -> bytes | None:
        """Body bytes at hand, empty at the end, None where they are still to come. Raises ConnectionError."""
        if self._body:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            self._unread = 0
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            return body
        if self.complete:
            return b""
        if self._error is not None:
            raise self._error
        return None

    async def more(self, until: Deadline) -> bytes:
        """Like ``received``, waiting. Raises TimeoutError too."""
        while True:
            await self._news(until)
            body = self.received()
            if body is not None:
                return body

    @property
    def reusable(self) -> bool:
        """The exchange is over and the server keeps the connection."""
        return self.complete and not self._body and self.usable and self._kept_open

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def _news(self, until: Deadline) -> asyncio.Future[None]:
        """Done once there is something to look at: headers, body, end or error. Only one may be waited for."""
        if self._timer is not None:  # of a wait that was given up
            self._timer.cancel()
        self._timer = self.waits_until = None
        waiter = self._waiter = self._loop.create_future()
        if (left_s := until.remaining_s()) <= SHORT_S:
            self._timer = self._loop.call_later(left_s, self.late)
        else:
            self.waits_until = until
            if not self._watch.ticking:
                self._watch.begin(self._loop)
        return waiter

    def late(self) -> None:
        """What is waited for did not come in time."""
        self._wake(TimeoutError())

    def _wake(self, error: Exception | None = None) -> None:
        waiter, self._waiter = self._waiter, None
        self.waits_until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiter is None or waiter.done():
            return
        if error is not None:
            waiter.set_exception(error)
        else:
            waiter.set_result(None)

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.usable = True
        self._watch.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy:  # nobody asked: the next reply could not be told from this
            self.close()
            return
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self.usable = False
            if not self.complete:
                self._fail("the reply is not HTTP/1.1")
        if not self.status and self._head_bytes > MAX_HEAD_BYTES:
            self._fail("the reply's headers are too large")
        if self._unread > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self.status or self._error is not None:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._watch.connections.discard(self)
        self._parser = self._transport = None  # which know this connection: else the garbage collector is needed
        if self.status and not self._framed and exc is None:
            self.complete = True  # a body without a length ends with the connection
        elif not self.complete:
            self._error = self._error or ConnectionError("the connection was closed in the middle of the reply")
        self._wake()

    def _fail(self, what: str) -> None:
        self._error = ConnectionError(what)
        self.close()

    # what the parser calls

    def on_message_begin(self) -> None:
        if self.complete:
            self.usable = False  # a second reply to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else a trailer
            text = value.decode() if value.isascii() else value.decode("utf-8", "surrogateescape")
            self.headers[_name(name)] = text.strip(" \t")

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the reply itself is still to come
            self.headers.clear()
            return
        self.status = status
        headers = self.headers
        self._framed = "content-length" in headers or "transfer-encoding" in headers or status in (204, 304)

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)
            self._unread += len(body)

    def on_message_complete(self) -> None:
        if self.status and not self.complete:
            self.complete = True
            self._busy = False
            self._kept_open = self._parser.should_keep_alive()


@lru_cache(maxsize=512)  # providers send the same names each time
def _name(raw: bytes) -> str:
    return raw.decode("ascii").lower()
