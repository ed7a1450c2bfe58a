"""HTTP to providers and back: the only file that knows the client library. Its errors become ours here.

Two ways through: ``stream`` turns one chat completion into answer events; ``forward`` passes bytes both ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp
import orjson

from gateway.chat import AnswerEvent, ChatRequest, Closed, Delta, Deployment, Json, RequestContext, has_content
from gateway.clock import Clock, Deadline
from gateway.errors import UpstreamBroken, UpstreamRejected, UpstreamTimeout, UpstreamUnreachable
from gateway.ports import Forwarded, Outgoing, Progress, Timeouts
from gateway.upstream import wire
from gateway.upstream.assemble import Assembler, answer_of
from gateway.upstream.sse_reader import DONE, SSEOverflow, SSEReader

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 3600.0
REST_S = 0.05  # after [DONE]; a new connection costs about as much
_ABOUT_KEYS = frozenset({401, 403})  # these replies may quote the key that was sent, which is not the caller's


class UpstreamClient:
    """Pooled connections to every deployment."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    @asynccontextmanager
    async def stream(
        self, deployment: Deployment, request: ChatRequest, ctx: RequestContext, timeouts: Timeouts
    ) -> AsyncIterator[AsyncIterator[AnswerEvent]]:
        """Open one streamed chat completion: deltas as they come, then Closed. Raises UpstreamError."""
        url = wire.target(deployment, "chat/completions", request.requested_model)
        body = wire.chat_body(deployment, request)
        total = ctx.deadline.within(timeouts.total_s)
        first = total.within(timeouts.first_token_s)
        with _our_errors(deployment.name):
            async with asyncio.timeout(first.remaining_s()):
                response = await self._session.post(
                    url, data=body, headers=wire.headers(deployment, ctx.trace_headers), timeout=_connect(timeouts),
                    allow_redirects=False,
                )  # fmt: skip
        try:
            if response.status != 200:
                raise await _rejection(deployment, response, total)
            async with aclosing(_events(deployment.name, response, first, total, timeouts.idle_s)) as events:
                yield events
            await _rest(response)
        finally:
            response.close()

    @asynccontextmanager
    async def forward(
        self, deployment: Deployment, sent: Outgoing, ctx: RequestContext, timeouts: Timeouts
    ) -> AsyncIterator[Forwarded]:
        """Pass a request on as bytes; the reply's body is read only as fast as the caller takes it."""
        url = wire.target(deployment, sent.path, sent.model, sent.query)
        headers = wire.headers(deployment, ctx.trace_headers) | {"content-type": sent.content_type}
        total = ctx.deadline.within(timeouts.total_s)
        first = total.within(timeouts.first_token_s) if sent.streamed else total
        with _our_errors(deployment.name):
            async with asyncio.timeout(first.remaining_s()):
                response = await self._session.request(
                    sent.method,
                    url,
                    data=wire.forward_body(deployment, sent),
                    headers=headers,
                    timeout=_connect(timeouts),
                    allow_redirects=False,
                )
        try:
            if 300 <= response.status < 400 or response.status in _ABOUT_KEYS:
                rejection = await _rejection(deployment, response, total)
                if response.status < 400:
                    raise rejection
                yield _told(rejection, response)
                return
            received = {name.lower(): value for name, value in response.headers.items()}
            progress = Progress()
            pieces = _pieces(
                deployment.name, response, progress, first, total, timeouts.idle_s if sent.streamed else None
            )
            async with aclosing(pieces) as body:
                yield Forwarded(response.status, received, body, progress, _retry_after(received))
        finally:
            # A reply read to its end has given its connection back already; any other connection is dropped.
            response.close()


async def _events(
    name: str, response: aiohttp.ClientResponse, first: Deadline, total: Deadline, idle_s: float
) -> AsyncGenerator[AnswerEvent, None]:
    if response.content_type == "application/json":  # the server does not stream: one delta is all there is
        with _our_errors(name), _sensible(name):
            async with asyncio.timeout(total.remaining_s()):
                completion = _parse(name, await _whole(name, response))
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
        with _our_errors(name, "the next" if content_seen else "the first"):
            async with asyncio.timeout(wait.remaining_s()):
                received = await response.content.readany()
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


async def _whole(name: str, response: aiohttp.ClientResponse) -> bytes:
    received = bytearray()
    while piece := await response.content.readany():
        received += piece
        if len(received) > MAX_ANSWER_BYTES:
            raise UpstreamBroken(f"deployment {name} sent an answer of more than {MAX_ANSWER_BYTES} bytes")
    return bytes(received)


async def _rest(response: aiohttp.ClientResponse) -> None:
    """Read what follows the answer (the last bytes of the framing), so that the connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(REST_S):
            while await response.content.readany():
                pass


async def _pieces(
    name: str,
    response: aiohttp.ClientResponse,
    progress: Progress,
    first: Deadline,
    total: Deadline,
    idle_s: float | None,
) -> AsyncGenerator[bytes, None]:
    """Body bytes as they come. With ``idle_s``, silence before the first content token or between pieces ends it."""
    reader: SSEReader | None = SSEReader() if idle_s is not None and response.status == 200 else None
    while True:
        wait = first if reader is not None else total.within(idle_s) if idle_s is not None else total
        with _our_errors(name):
            async with asyncio.timeout(wait.remaining_s()):
                received = await response.content.readany()
            if reader is not None and any(_gives_content(payload) for payload in reader.feed(received)):
                reader = None  # from here on the bytes are not looked into
                progress.content_seen = True
        if not received:
            return
        yield received


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


def _connect(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s)


async def _rejection(deployment: Deployment, response: aiohttp.ClientResponse, total: Deadline) -> UpstreamRejected:
    with _our_errors(deployment.name):
        async with asyncio.timeout(total.within(5.0).remaining_s()):
            body = await response.content.read(MAX_ERROR_BYTES)
    if deployment.api_key:
        body = body.replace(deployment.api_key.encode(), b"***")
    return _rejected(deployment.name, response.status, {k.lower(): v for k, v in response.headers.items()}, body)


def _rejected(name: str, status: int, headers: Json, body: bytes) -> UpstreamRejected:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict) or "error" not in payload:
        payload = None
    message = f"deployment {name} answered {status}"
    if payload is not None and isinstance(payload["error"], dict):
        message = str(payload["error"].get("message") or message)
    if status < 400:  # a redirect is not followed: upstream addresses come from the configuration only
        message = f"{message} instead of an answer; check its base_url"
        rejected = UpstreamRejected(message, status=502, payload=None, retry_after_s=None)
        rejected.transient = False
        return rejected
    return UpstreamRejected(message, status=status, payload=payload, retry_after_s=_retry_after(headers))


def _told(rejection: UpstreamRejected, response: aiohttp.ClientResponse) -> Forwarded:
    """A rejection as a reply to pass on."""

    async def body() -> AsyncIterator[bytes]:
        yield orjson.dumps(rejection.body())

    return Forwarded(response.status, {"content-type": "application/json"}, body(), Progress())


def _retry_after(headers: Json) -> float | None:
    """Seconds from ``retry-after-ms`` (OpenAI, Azure) or ``retry-after``; an HTTP date there is ignored."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return min(seconds, MAX_RETRY_AFTER_S)
    return None


@contextmanager
def _our_errors(name: str, awaited: str = "its") -> Iterator[None]:
    """Map the client library's errors, once, here."""
    try:
        yield
    except TimeoutError as cause:
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            raise UpstreamUnreachable(f"deployment {name} could not be connected to in time") from cause
        raise UpstreamTimeout(f"deployment {name} did not send {awaited} answer token in time") from cause
    except aiohttp.ClientConnectorError as cause:
        raise UpstreamUnreachable(f"deployment {name} cannot be reached; check its base_url and the network") from cause
    except (aiohttp.ClientError, SSEOverflow, ConnectionError) as cause:
        raise UpstreamBroken(f"the connection to deployment {name} broke") from cause
    except orjson.JSONDecodeError as cause:
        raise UpstreamBroken(f"deployment {name} sent an answer that is not JSON") from cause
