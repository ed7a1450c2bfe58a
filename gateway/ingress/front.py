"""The listening socket. Plain chat requests are served here, straight on the event loop; every other connection is
handed to aiohttp's server as it came.

aiohttp takes 35 to 45 µs to read one request and write one reply, more than all that Ocho does for it. So a request
that is plainly well-formed, for a path that carries nearly all traffic, is read here (its head in ``heads``). Whatever
is unusual (other paths, chunked bodies, Expect, repeated headers, anything malformed) is aiohttp's to judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

from gateway.errors import InvalidRequest
from gateway.ingress.caller import Reply, fresh_id, header_lines
from gateway.ingress.head import Head
from gateway.ingress.heads import Heads, begins_well
from gateway.ingress.middleware import Around, error_reply
from gateway.metrics import Chat

MAX_HEAD_BYTES = 16 * 1024
MAX_PIPELINED_BYTES = 256 * 1024  # sent ahead while an answer is under way; more is left in the socket
SWEEP_S = 5.0  # between two looks for connections that were idle for too long
Handler = Callable[["FrontCaller", str | None], Awaitable[Reply | None]]  # str: the model that the path names
AtOnce = Callable[["FrontCaller", str | None, bytes], Reply | None]  # None: it takes a ``Handler``


class Front:
    """Makes the protocol of each new connection, and drains them all at the end."""

    def __init__(
        self,
        chat: Handler,
        at_once: AtOnce,
        around: Around,
        others: Callable[[], asyncio.BaseProtocol],
        *,
        max_body: int,
        body_s: float,
        idle_s: float = 75.0,
    ) -> None:
        self.chat = chat
        self.at_once = at_once
        self.around = around
        self.others = others  # makes a connection of aiohttp's server
        self.heads = Heads(max_body)
        self.body_s = body_s
        self.draining = False
        self.connections: set[FrontConnection] = set()
        self._idle_s = idle_s
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._sweep()

    def __call__(self) -> FrontConnection:
        return FrontConnection(self, self._loop)

    @property
    def under_way(self) -> int:
        """Requests that are being answered."""
        return sum(connection.answering is not None for connection in self.connections)

    async def drain(self, timeout_s: float) -> None:
        """Let answers under way finish, then end every connection."""
        self.draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close_when_done()
        tasks = [c.task for c in self.connections if c.task is not None and c.answering is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for connection in list(self.connections):
            connection.abort()

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self.connections):
            if connection.answering is None and now - connection.idle_since > self._idle_s:
                connection.abort()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)


class FrontConnection(asyncio.Protocol):
    """One keep-alive connection: reads a request, lets it be answered, reads the next."""

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop) -> None:
        self.task: asyncio.Task[None] | None = None  # lasts as long as the connection: a new one costs 3 µs
        self.answering: FrontCaller | None = None
        self.idle_since = loop.time()
        self.transport: asyncio.Transport
        self._front = front
        self._loop = loop
        self._buffer = b""
        self._caller: FrontCaller | None = None  # whose body is still on its way
        self._body: list[bytes] = []
        self._missing = 0  # bytes of the body
        self._body_timer: asyncio.TimerHandle | None = None
        self._keep = True
        self._drained: asyncio.Future[None] | None = None  # set while the caller reads more slowly than we write
        self._asked: asyncio.Future[None]  # what the task waits for while there is nothing to answer
        self._stalled = False  # more was sent ahead than we take

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._keep = False
        self._buffer = b""
        if self._body_timer is not None:
            self._body_timer.cancel()
        if self.task is not None:
            self.task.cancel()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._caller is not None:
            self._more_body(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self.answering is None and self._drained is None:
            self._next_request()
        if len(self._buffer) > MAX_PIPELINED_BYTES and not self._stalled:
            self._stalled = True
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        self._read_on()

    # reading

    def _read_on(self) -> None:
        """Take the next request if it has come, and no other one or its reply is still on its way."""
        if self._buffer and self.answering is None and self._caller is None and self._drained is None:
            self._next_request()

    def _next_request(self) -> None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        if end < 4:
            if len(buffer) > MAX_HEAD_BYTES or not begins_well(buffer):
                self._hand_over()
            return
        read = self._front.heads.read(buffer[:end])
        if read is None:
            self._hand_over()
            return
        head, length = read
        caller = FrontCaller(self, head)
        self._keep = head.keep_alive and not self._front.draining
        self._buffer = buffer[end + length :]
        if len(buffer) >= end + length:
            self._answer(caller, buffer[end : end + length])
            return
        self._caller = caller
        self._body = [buffer[end:]]
        self._missing = end + length - len(buffer)
        self._body_timer = self._loop.call_later(self._front.body_s, self._body_is_late)

    def _more_body(self, data: bytes) -> None:
        caller = self._caller
        assert caller is not None
        self._body.append(data[: self._missing])
        self._buffer, self._missing = data[self._missing :], self._missing - len(self._body[-1])
        if self._missing:
            return
        assert self._body_timer is not None
        self._body_timer.cancel()
        self._caller, whole = None, b"".join(self._body)
        self._body = []
        self._answer(caller, whole)

    def _body_is_late(self) -> None:
        error = InvalidRequest("the body did not arrive in time", code="request_timeout")
        error.status = 408
        self._keep = False
        assert self._caller is not None
        self._caller.send(error_reply(error))
        self.transport.close()

    def _hand_over(self) -> None:
        """Let aiohttp read the connection from here on, beginning with what we have of it."""
        self._front.connections.discard(self)
        if self.task is not None:
            self.task.cancel()
        protocol = cast(asyncio.Protocol, self._front.others())
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self._front.draining:
            self.transport.close()
        else:
            protocol.data_received(self._buffer)

    # answering

    def _answer(self, caller: FrontCaller, body: bytes) -> None:
        began = time.monotonic()
        reply = self._front.at_once(caller, caller.head.path_model, body)
        if reply is None:
            caller.received = body
            self.answering = caller
            if self.task is None:
                self.task = self._loop.create_task(self._serve())
                self.task.add_done_callback(self._served)
            else:
                self._asked.set_result(None)
            return
        caller.send(reply)
        self._front.around.at_once(caller, time.monotonic() - began)
        self._answered()

    async def _serve(self) -> None:
        """Answer the requests that take more than a look, one after the other, until the connection ends."""
        front = self._front
        while (caller := self.answering) is not None:
            reply = await front.around.answered(caller, front.chat(caller, caller.head.path_model))
            if reply is not None:
                caller.send(reply)
            self.answering = None
            self._answered()
            if not self._keep:
                return
            self._asked = self._loop.create_future()
            await self._asked

    def _served(self, task: asyncio.Task[None]) -> None:
        self.task = self.answering = None  # which know this connection: else the garbage collector is needed

    def _answered(self) -> None:
        self.idle_since = self._loop.time()
        if not self._keep:
            self._buffer = b""
            self.transport.close()
            return
        if self._stalled:
            self._stalled = False
            self.transport.resume_reading()
        if self._buffer:
            self._loop.call_soon(self._read_on)  # others get their turn

    async def drain(self) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def close_when_done(self) -> None:
        self._keep = False
        if self.answering is None:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()


class FrontCaller:
    """``Caller`` of one request that was read here."""

    __slots__ = ("_connection", "chat", "head", "id", "model", "operation", "received")

    def __init__(self, connection: FrontConnection, head: Head) -> None:
        self.id = head.request_id or fresh_id()
        self.operation = "chat"
        self.model = ""
        self.chat: Chat | None = None
        self.head = head
        self.received: bytes | None = None
        self._connection = connection

    async def body(self) -> bytes:
        return self.received or b""

    def send(self, reply: Reply) -> None:
        """The whole reply in one write."""
        head = self._head(reply.status, reply.headers, reply.head)
        self._connection.transport.write(b"%scontent-length: %d\r\n\r\n%s" % (head, len(reply.body), reply.body))

    async def begin(self, status: int, headers: Mapping[str, str], head: str = "") -> None:
        self._connection.transport.write(self._head(status, headers, head) + b"transfer-encoding: chunked\r\n\r\n")

    async def write(self, data: bytes | bytearray) -> None:
        connection = self._connection
        connection.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
        if connection._drained is not None or connection.transport.is_closing():
            await connection.drain()

    async def end(self) -> None:
        self._connection.transport.write(b"0\r\n\r\n")

    def cut(self) -> None:
        self._connection.abort()

    def _head(self, status: int, headers: Mapping[str, str], more: str) -> bytes:
        last = "" if self._connection._keep else "connection: close\r\n"
        return f"{_STATUS_LINES[status]}{header_lines(headers)}{more}{_date()}{last}".encode("utf-8", "surrogateescape")


class _StatusLines(dict[int, str]):
    def __missing__(self, status: int) -> str:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        line = self[status] = f"HTTP/1.1 {status} {phrase}\r\n"
        return line


_STATUS_LINES = _StatusLines()
_dated = (0, "")  # second, header line: a date is made once a second


def _date() -> str:
    global _dated
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, f"date: {formatdate(now, usegmt=True)}\r\n")
    return _dated[1]
