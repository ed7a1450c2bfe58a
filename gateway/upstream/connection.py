"""One client connection: sends a request, reads its reply. Parsing is llhttp's, through httptools."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import cast

import httptools

from gateway.clock import Deadline

MAX_HEAD_BYTES = 64 * 1024
TICK_S = 0.1  # a wait may end that much late
SHORT_S = 1.0  # but for one that is as short as this
HIGH_WATER = 256 * 1024  # unread body bytes at which the socket is left alone until they are taken


class Watch:
    """One timer for all connections that wait, where each had one of its own."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, Deadline] = {}
        self._ticking = False

    def begin(self, connection: Connection, until: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting[connection] = until
        if not self._ticking:
            self._ticking = True
            loop.call_later(TICK_S, self._tick, loop)

    def end(self, connection: Connection) -> None:
        del self._waiting[connection]

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection, until in self._waiting.items():
            if until.remaining_s() == 0:
                connection.late()
        self._ticking = bool(self._waiting)
        if self._ticking:
            loop.call_later(TICK_S, self._tick, loop)


class Connection(asyncio.Protocol):
    """One exchange after the other. Whoever uses it takes turns; it is closed by whoever gives up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: Watch) -> None:
        self.idle_since = 0.0
        self.usable = False  # open, and nothing came that nobody asked for
        self._loop = loop
        self._watch = watch
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._status = 0  # 0 until the headers are in
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._busy = False  # a reply is awaited
        self._complete = False
        self._framed = False  # the body says itself where it ends
        self._kept_open = False
        self._error: ConnectionError | None = None

    # what its user calls

    async def exchange(self, message: bytes, until: Deadline) -> tuple[int, dict[str, str]] | None:
        """Send and wait for status and headers. None: closed by the server before it said anything.

        Raises TimeoutError, ConnectionError; the connection is closed then.
        """
        self._begin()
        self._busy = True
        if self._transport is None or self._transport.is_closing():
            return None
        self._transport.write(message)
        try:
            while not self._status:
                if self._error is not None:
                    if self._head_bytes == 0:
                        return None
                    raise self._error
                await self._wait(until)
        except BaseException:
            self.close()
            raise
        return self._status, self._headers

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
        if self._complete:
            return b""
        if self._error is not None:
            raise self._error
        return None

    async def more(self, until: Deadline) -> bytes:
        """Like ``received``, waiting. Raises TimeoutError too."""
        while True:
            await self._wait(until)
            body = self.received()
            if body is not None:
                return body

    def rest(self) -> bytes | None:
        """What is left of the body, where all of it has come."""
        return self.received() if self._complete else None

    @property
    def reusable(self) -> bool:
        """The exchange is over and the server keeps the connection."""
        return self._complete and not self._body and self.usable and self._kept_open

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, until: Deadline) -> None:
        waiter = self._waiter = self._loop.create_future()
        left_s = until.remaining_s()
        timer = self._loop.call_later(left_s, self.late) if left_s <= SHORT_S else None
        if timer is None:
            self._watch.begin(self, until, self._loop)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is None:
                self._watch.end(self)
            else:
                timer.cancel()

    def late(self) -> None:
        """What is waited for did not come in time."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._complete or not self._busy:  # nobody asked: the next reply could not be told from this
            self.close()
            return
        if not self._status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self.usable = False
            if not self._complete:
                self._fail("the reply is not HTTP/1.1")
        if not self._status and self._head_bytes > MAX_HEAD_BYTES:
            self._fail("the reply's headers are too large")
        if self._unread > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._status or self._error is not None:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._status and not self._framed and exc is None:
            self._complete = True  # a body without a length ends with the connection
        elif not self._complete:
            self._error = self._error or ConnectionError("the connection was closed in the middle of the reply")
        self._wake()

    def _fail(self, what: str) -> None:
        self._error = ConnectionError(what)
        self.close()

    # what the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            self.usable = False  # a second reply to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # else a trailer
            self._headers[_name(name)] = value.decode("utf-8", "surrogateescape").strip(" \t")

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the reply itself is still to come
            self._headers.clear()
            return
        self._status = status
        headers = self._headers
        self._framed = "content-length" in headers or "transfer-encoding" in headers or status in (204, 304)

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._body.append(body)
            self._unread += len(body)

    def on_message_complete(self) -> None:
        if self._status and not self._complete:
            self._complete = True
            self._busy = False
            self._kept_open = self._parser.should_keep_alive()


@lru_cache(maxsize=512)  # providers send the same names each time
def _name(raw: bytes) -> str:
    return raw.decode("ascii").lower()
