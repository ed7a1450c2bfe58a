"""Who asked, whichever server took the request: what they sent, and the way the answer goes to them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from gateway.errors import BodyTooLarge, InvalidRequest
from gateway.ingress.head import Head, head_of
from gateway.metrics import Chat


@dataclass(slots=True)
class Reply:
    """An answer that goes out in one piece."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    head: str = ""  # further ``header_lines``


def header_lines(headers: Mapping[str, str]) -> str:
    """Headers as HTTP/1.1 writes them. Raises ValueError where one would become two."""
    lines = [*map(": ".join, headers.items()), ""]
    unbroken = "".join(lines)
    if "\n" in unbroken or "\r" in unbroken:
        raise ValueError("a header with a line break in it cannot be sent")
    return "\r\n".join(lines)


class Caller(Protocol):
    """One request. Either a handler returns a ``Reply``, or it begins one here and sends it piece by piece."""

    operation: str  # what was asked for, as a bounded word
    model: str
    chat: Chat | None  # how a chat ended, once it has
    received: bytes | None  # the body, where it is here already

    @property
    def id(self) -> str:
        """For logs, headers and upstream."""

    @property
    def head(self) -> Head: ...

    async def body(self) -> bytes:
        """Raises BodyTooLarge, InvalidRequest."""

    async def begin(self, status: int, headers: Mapping[str, str], head: str = "") -> None:
        """``head``: further ``header_lines``."""

    async def write(self, data: bytes | bytearray) -> None:
        """Raises ConnectionError when the caller has gone."""

    async def end(self) -> None: ...

    def cut(self) -> None:
        """Break off, so that nobody takes what was sent for the whole."""


def _in_lines(lines: str) -> dict[str, str]:
    """The headers that ``header_lines`` wrote."""
    return dict(line.split(": ", 1) for line in lines.splitlines())


def fresh_id() -> str:
    """Of a request whose caller gave it none."""
    return f"req_{random.getrandbits(128).to_bytes(16).hex()}"


REQUEST_ID = web.RequestKey("request_id", str)
OPERATION = web.RequestKey("operation", str)  # set by handlers: what was asked for, as a bounded word
MODEL = web.RequestKey("model", str)
CHAT: web.RequestKey[Chat | None] = web.RequestKey("chat", object)  # type: ignore[arg-type]  # which is no class


class WebCaller:
    """``Caller`` over aiohttp's server."""

    received: bytes | None = None

    def __init__(self, http_request: web.Request, body_s: float) -> None:
        self._request = http_request
        self._body_s = body_s
        self._response: web.StreamResponse | None = None

    @property
    def id(self) -> str:
        return self._request[REQUEST_ID]

    @property
    def operation(self) -> str:
        return str(self._request.get(OPERATION, "other"))

    @operation.setter
    def operation(self, operation: str) -> None:
        self._request[OPERATION] = operation

    @property
    def model(self) -> str:
        return str(self._request.get(MODEL, ""))

    @model.setter
    def model(self, model: str) -> None:
        self._request[MODEL] = model

    @property
    def chat(self) -> Chat | None:
        return self._request.get(CHAT)

    @chat.setter
    def chat(self, chat: Chat | None) -> None:
        self._request[CHAT] = chat

    @property
    def head(self) -> Head:
        return head_of(self._request.headers)

    async def body(self) -> bytes:
        """The server itself never times out on a slowly sent body, so this does."""
        if (self._request.content_length or 0) > self._request.client_max_size:
            raise BodyTooLarge("the body is larger than this gateway accepts (server.max_body_mb)")
        try:
            async with asyncio.timeout(self._body_s):
                return await self._request.read()
        except TimeoutError:
            error = InvalidRequest("the body did not arrive in time", code="request_timeout")
            error.status = 408
            raise error from None

    async def begin(self, status: int, headers: Mapping[str, str], head: str = "") -> None:
        self._response = web.StreamResponse(status=status, headers={**_in_lines(head), **headers})
        await self._response.prepare(self._request)

    async def write(self, data: bytes | bytearray) -> None:
        await self._begun().write(data)

    async def end(self) -> None:
        await self._begun().write_eof()

    def cut(self) -> None:
        self._begun().force_close()
        if self._request.transport is not None:
            self._request.transport.abort()

    def response(self, reply: Reply | None) -> web.StreamResponse:
        """What aiohttp wants back from a handler: ``reply``, or the one that was begun."""
        if reply is None:
            return self._begun()
        return web.Response(status=reply.status, headers=_in_lines(reply.head) | reply.headers, body=reply.body)

    def _begun(self) -> web.StreamResponse:
        assert self._response is not None  # begin() comes before write(), end() and cut()
        return self._response
