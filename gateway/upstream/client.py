"""Providers' answers: ``stream`` turns one chat completion into answer events; ``forward`` passes bytes both ways.

Errors of the network become ours here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any

import orjson

from gateway.chat import AnswerEvent, ChatRequest, Closed, Delta, Deployment, Json, RequestContext, has_content
from gateway.clock import Clock, Deadline
from gateway.errors import (
    MAX_ERROR_BYTES,
    UpstreamBroken,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.ports import Forwarded, Outgoing, Timeouts
from gateway.upstream import wire
from gateway.upstream.assemble import Assembler, answer_of
from gateway.upstream.rejections import exhausted_s, rejected, retry_after
from gateway.upstream.sse_reader import DONE, SSEOverflow, SSEReader
from gateway.upstream.transport import ConnectFailed, ConnectLate, Http, HttpReply

MAX_WAYS = 1024  # remembered: callers name paths and models of their own
MAX_ANSWER_BYTES = 64 * 1024 * 1024
REJECTION_S = 5.0  # for the body of a reply that is not an answer
REST_S = 0.05  # after [DONE]; a new connection costs about as much
_ABOUT_KEYS = frozenset({401, 403})  # these replies may quote the key that was sent, which is not the caller's


class UpstreamClient:
    """Calls deployments over ``http``."""

    def __init__(self, http: Http, clock: Clock, on_exhausted: Callable[[str, float], None] | None = None) -> None:
        """``on_exhausted``: hears of deployments whose quota is used up, and for how many seconds."""
        self._on_exhausted = on_exhausted
        self._http = http
        self._clock = clock
        self._way = lru_cache(maxsize=MAX_WAYS)(wire.way)

    @asynccontextmanager
    async def stream(
        self, deployment: Deployment, request: ChatRequest, ctx: RequestContext, timeouts: Timeouts
    ) -> AsyncIterator[AsyncIterator[AnswerEvent]]:
        """Open one streamed chat completion: deltas as they come, then Closed. Raises UpstreamError."""
        name = deployment.name
        way = self._way(deployment, "POST", "chat/completions", request.requested_model)
        body = wire.chat_body(deployment, request)
        total = ctx.deadline.within(timeouts.total_s)
        first = total.within(timeouts.first_token_s)
        with _our_errors(name):
            reply = await self._http.request(way, ctx.trace_headers, body, first, timeouts.connect_s)
        try:
            if reply.status != 200:
                raise await _rejection(deployment, reply, total)
            self._look_at_quota(name, reply.headers)
            async with aclosing(_events(name, reply, first, total, timeouts.idle_s)) as events:
                yield events
            await _rest(reply, total.within(REST_S))
        finally:
            reply.close()

    async def forward(
        self, deployment: Deployment, sent: Outgoing, ctx: RequestContext, timeouts: Timeouts
    ) -> Forwarded:
        """Pass a request on as bytes. Whoever gets the reply closes it. Raises UpstreamError."""
        way = self._way(deployment, sent.method, sent.path, sent.model, sent.query, sent.content_type)
        total = ctx.deadline.within(timeouts.total_s)
        first = total.within(timeouts.first_token_s) if sent.streamed else total
        body = wire.forward_body(deployment, sent)
        try:
            reply = await self._http.request(way, ctx.trace_headers, body, first, timeouts.connect_s)
        except _NETWORK as error:
            raise _ours(deployment.name, error) from error
        status = reply.status
        if 300 <= status < 400 or status in _ABOUT_KEYS:
            try:
                rejection = await _rejection(deployment, reply, total)
            finally:
                reply.close()
            if status < 400:
                raise rejection
            return _Told(status, rejection)
        self._look_at_quota(deployment.name, reply.headers)
        return _Passing(deployment.name, reply, first, total, timeouts.idle_s if sent.streamed else None)

    def _look_at_quota(self, name: str, headers: Mapping[str, str]) -> None:
        if self._on_exhausted is not None and (seconds := exhausted_s(headers)):
            self._on_exhausted(name, seconds)


class _Passing:
    """``Forwarded``: body bytes as they come. With ``idle_s``, silence before the first content token or between
    pieces ends it."""

    __slots__ = ("_first", "_idle_s", "_name", "_reader", "_reply", "_total", "content_seen", "headers", "status")

    def __init__(self, name: str, reply: HttpReply, first: Deadline, total: Deadline, idle_s: float | None) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.content_seen = False
        self._name = name
        self._reply = reply
        self._first = first
        self._total = total
        self._idle_s = idle_s
        self._reader = SSEReader() if idle_s is not None and reply.status == 200 else None

    @property
    def retry_after_s(self) -> float | None:
        return retry_after(self.headers)

    def rest(self) -> bytes | None:
        return self._reply.rest() if self._idle_s is None else None

    async def read(self) -> bytes:
        if self._reader is not None:
            until = self._first
        else:
            until = self._total.within(self._idle_s) if self._idle_s is not None else self._total
        try:
            received = await self._reply.read(until)
            if self._reader is not None and any(_gives_content(payload) for payload in self._reader.feed(received)):
                self._reader = None  # from here on the bytes are not looked into
                self.content_seen = True
        except (*_NETWORK, SSEOverflow) as error:
            raise _ours(self._name, error) from error
        return received

    def close(self) -> None:
        self._reply.close()


class _Told:
    """``Forwarded``: a rejection as a reply to pass on."""

    headers: Mapping[str, str] = {"content-type": "application/json"}
    content_seen = False

    def __init__(self, status: int, rejection: UpstreamRejected) -> None:
        self.status = status
        self.retry_after_s = rejection.retry_after_s
        self._body = orjson.dumps(rejection.body())

    def rest(self) -> bytes:
        body, self._body = self._body, b""
        return body

    async def read(self) -> bytes:
        return self.rest()

    def close(self) -> None:
        pass


async def _events(
    name: str, reply: HttpReply, first: Deadline, total: Deadline, idle_s: float
) -> AsyncGenerator[AnswerEvent, None]:
    if reply.headers.get("content-type", "").startswith("application/json"):  # it does not stream: all is one delta
        with _our_errors(name), _sensible(name):
            completion = _parse(name, await _whole(name, reply, total))
            delta, answer = Delta.of(_as_chunk(completion)), answer_of(completion)
        yield delta
        yield Closed(answer)
        return
    assembler = Assembler()
    reader = SSEReader()
    content_seen = False
    size = 0
    while True:
        wait = total.within(idle_s) if content_seen else first
        with _our_errors(name, "the next token" if content_seen else "its first token"):
            received = await reply.read(wait)
            payloads = reader.feed(received) if received else reader.finish()
        size += len(received)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamBroken(f"deployment {name} sent an answer of more than {MAX_ANSWER_BYTES} bytes")
        for payload in payloads:
            if payload == DONE:
                yield Closed(assembler.answer())
                return
            chunk = _parse(name, payload)
            with _sensible(name):
                assembler.add(chunk)
                content_seen = content_seen or has_content(chunk)
                text = _text(chunk)
            if chunk.get("choices") or not chunk.get("usage"):  # a bare usage chunk travels in Closed
                yield Delta(text, chunk, payload)
        if not received:
            break
    if not assembler.closed:
        raise UpstreamBroken(f"the answer of deployment {name} stopped in the middle")
    yield Closed(assembler.answer())  # some servers leave out [DONE]


async def _whole(name: str, reply: HttpReply, until: Deadline) -> bytes:
    received = bytearray()
    while piece := await reply.read(until):
        received += piece
        if len(received) > MAX_ANSWER_BYTES:
            raise UpstreamBroken(f"deployment {name} sent an answer of more than {MAX_ANSWER_BYTES} bytes")
    return bytes(received)


async def _rest(reply: HttpReply, until: Deadline) -> None:
    """Read what follows the answer (the last bytes of the framing), so that the connection can be used again."""
    with suppress(TimeoutError, ConnectionError):
        while await reply.read(until):
            pass


def _gives_content(payload: bytes) -> bool:
    """Anything that is not plainly empty: the bytes are the caller's to judge."""
    try:
        chunk = orjson.loads(payload)
        return not isinstance(chunk, dict) or "choices" not in chunk or has_content(chunk) or _legacy_text(chunk)
    except (orjson.JSONDecodeError, *_NONSENSE):
        return True


def _legacy_text(chunk: Json) -> bool:
    """/v1/completions streams carry ``text`` in the choice."""
    return any(choice.get("text") for choice in chunk.get("choices") or ())


_NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # what reading JSON of odd shapes raises


@contextmanager
def _sensible(name: str) -> Iterator[None]:
    try:
        yield
    except _NONSENSE as cause:
        raise UpstreamBroken(f"deployment {name} sent an answer in a shape we do not know") from cause


def _parse(name: str, payload: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError as cause:
        raise UpstreamBroken(f"deployment {name} sent an event that is not JSON") from cause
    if not isinstance(chunk, dict):
        raise UpstreamBroken(f"deployment {name} sent an event that is not an object")
    if error := chunk.get("error"):
        message = error.get("message") if isinstance(error, dict) else str(error)
        raise UpstreamBroken(f"deployment {name} ended its answer with an error: {message}")
    return chunk


def _text(chunk: Json) -> str:
    choices = chunk.get("choices")
    content = (choices[0].get("delta") or {}).get("content") if choices else None
    return content if isinstance(content, str) else ""


def _as_chunk(completion: Json) -> dict[str, Any]:
    def part(choice: Json) -> dict[str, Any]:
        message = dict(choice.get("message") or {})
        if calls := message.get("tool_calls"):
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
        return {**{k: v for k, v in choice.items() if k != "message"}, "delta": message}

    kept = {k: v for k, v in completion.items() if k not in {"usage", "choices", "object"}}
    return {**kept, "object": "chat.completion.chunk", "choices": [part(c) for c in completion.get("choices") or ()]}


async def _rejection(deployment: Deployment, reply: HttpReply, total: Deadline) -> UpstreamRejected:
    body = bytearray()
    until = total.within(REJECTION_S)
    with _our_errors(deployment.name):
        while len(body) < MAX_ERROR_BYTES and (piece := await reply.read(until)):
            body += piece
    return rejected(deployment, reply.status, reply.headers, bytes(body[:MAX_ERROR_BYTES]))


_NETWORK = (TimeoutError, ConnectionError)  # what Http raises


@contextmanager
def _our_errors(name: str, awaited: str = "its answer") -> Iterator[None]:
    try:
        yield
    except (*_NETWORK, SSEOverflow, orjson.JSONDecodeError) as cause:
        raise _ours(name, cause, awaited) from cause


def _ours(name: str, cause: Exception, awaited: str = "its answer") -> UpstreamError:
    if isinstance(cause, ConnectLate):
        return UpstreamUnreachable(f"deployment {name} could not be connected to in time")
    if isinstance(cause, ConnectFailed):
        return UpstreamUnreachable(f"deployment {name} cannot be reached; check its base_url and the network")
    if isinstance(cause, TimeoutError):
        return UpstreamTimeout(f"deployment {name} did not send {awaited} in time")
    if isinstance(cause, orjson.JSONDecodeError):
        return UpstreamBroken(f"deployment {name} sent an answer that is not JSON")
    return UpstreamBroken(f"the connection to deployment {name} broke")
