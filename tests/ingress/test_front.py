"""The listening socket: what is read here, what is left to aiohttp, and that no caller can tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from gateway.app import serving
from tests.flows.house import FINE, House, Scripted, house, model, says, scripted, settings, streams

KEY = "key-of-a-tester"
ANSWER = {"id": "c", "object": "chat.completion", "choices": [], "model": "m"}
BODY = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "연차휴가는 며칠인가요?"}]})


@asynccontextmanager
async def gateway(folder: Path, upstream: Scripted, **server: object) -> AsyncIterator[House]:
    keys = {"keys": [{"key": KEY, "tenant": "t"}]}
    given = {"host": "127.0.0.1", "max_body_mb": 0.1, **server}
    async with house(folder, model("m", upstream.base_url), auth=keys, server=given) as it:
        yield it


def request(body: bytes = BODY, path: str = "/v1/chat/completions", *more: str, length: int | None = None) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Authorization: Bearer {KEY}",
        f"Content-Length: {len(body) if length is None else length}", *more,
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def talk(it: House, *pieces: bytes, replies: int = 1) -> list[tuple[int, bytes, bytes]]:
    """Send the pieces over one connection; (status, head, body) of so many replies."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return [await one(reader) for _ in range(replies)]
    finally:
        writer.close()


async def one(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = b""
    if b"transfer-encoding: chunked" in head:
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    "pieces",
    [
        [request()],
        [request()[i : i + 1] for i in range(len(request()))],
        [request()[:300], request()[300:]],
        [request(BODY, "/openai/v1/chat/completions")],
        [request(BODY, "/openai/deployments/m/chat/completions?api-version=2024-10-21")],
        [request(BODY, "/v1/chat/completions", "Expect: 100-continue")[: -len(BODY)], BODY],
        [request(BODY, "/v1/chat/completions", "X-Odd: 1", "X-Odd: 2")],
        [request(BODY, "/v1/chat/completions?x=1")],
        [request(b"", "/v1/chat/completions", length=0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
         + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)],
    ],
    ids=["whole", "byte by byte", "two pieces", "openai/v1", "azure", "expect", "repeated", "query", "chunked"],
)  # fmt: skip
async def test_a_request_is_answered_however_it_comes(tmp_path: Path, pieces: list[bytes]) -> None:
    async with scripted(says(200, ANSWER)) as upstream, gateway(tmp_path, upstream) as it:
        expects = b"Expect" in pieces[0]
        status, head, body = await after_continue(it, pieces) if expects else (await talk(it, *pieces))[0]
    assert (status, orjson.loads(body)) == (200, ANSWER)
    assert b"x-ocho-cache: bypass" in head
    assert b"date: " in head
    assert orjson.loads(upstream.asked[0].body) == orjson.loads(BODY)


async def after_continue(it: House, pieces: list[bytes]) -> tuple[int, bytes, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    writer.write(pieces[0])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(pieces[1])
    try:
        return await one(reader)
    finally:
        writer.close()


async def test_requests_sent_ahead_are_answered_in_order(tmp_path: Path) -> None:
    async with (
        scripted(says(200, {"n": 1}), says(200, {"n": 2}), streams(*FINE), says(200, {"n": 4})) as upstream,
        gateway(tmp_path, upstream) as it,
    ):
        streamed = orjson.dumps({**orjson.loads(BODY), "stream": True})
        replies = await talk(it, request() + request() + request(streamed) + request(), replies=4)
    assert [r[0] for r in replies] == [200] * 4
    assert [orjson.loads(replies[i][2])["n"] for i in (0, 1, 3)] == [1, 2, 4]
    assert replies[2][2].endswith(b"data: [DONE]\n\n")


async def test_a_connection_may_change_from_chat_to_anything_else(tmp_path: Path) -> None:
    other = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n" % KEY.encode()
    async with scripted(says(200, ANSWER)) as upstream, gateway(tmp_path, upstream) as it:
        replies = await talk(it, request(), other, request(), replies=3)
    assert [r[0] for r in replies] == [200, 200, 200]
    assert b'"object":"list"' in replies[1][2]
    assert orjson.loads(replies[2][2]) == ANSWER


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(b"{"), 400),
        (request(b"x" * 200_000), 413),
        (request().replace(KEY.encode(), b"wrong-key-of-nobody"), 401),
        (request(BODY, "/v1/chat/completions", "Bad Header: x"), 400),
        (request(BODY, "/v1/chat/completions", "X: a\x00b"), 400),
        (request(BODY, "/v1/chat/completions", " folded"), 400),
        (request().replace(b"Content-Length: ", b"Content-Length: +"), 400),
        (request().replace(b"Content-Length: ", b"Content-Length: 5\r\nContent-Length: "), 400),
        (request(BODY, "/v1/chat/completions", "Transfer-Encoding: chunked"), 400),
        (request(BODY, "/v1/chat/completions", "X-Long: " + "y" * 20_000), 400),
        (b"POST /v1/chat/completions HTTP/1.1\nContent-Length: 0\n\n", 400),
    ],
    ids=["json", "large", "key", "name", "nul", "folded", "plus", "two lengths", "smuggling", "long", "bare LF"],
)
async def test_what_is_wrong_is_refused(tmp_path: Path, sent: bytes, status: int) -> None:
    async with scripted(says(200, ANSWER)) as upstream, gateway(tmp_path, upstream) as it:
        assert (await talk(it, sent))[0][0] == status
        assert upstream.asked == []


async def test_the_request_asked_to_be_the_last_is_the_last(tmp_path: Path) -> None:
    async with scripted(says(200, ANSWER)) as upstream, gateway(tmp_path, upstream) as it:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(request(BODY, "/v1/chat/completions", "Connection: close") + request())
        _, head, _ = await one(reader)
        assert b"connection: close" in head
        assert await reader.read() == b""
        writer.close()
    assert len(upstream.asked) == 1


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with scripted(says(200, ANSWER)) as upstream, gateway(tmp_path, upstream, body_s=0.1) as it:
        assert (await talk(it, request(BODY[:10], length=len(BODY))))[0][0] == 408
    assert upstream.asked == []


async def test_a_caller_who_hangs_up_ends_the_call_upstream(tmp_path: Path) -> None:
    async with scripted(streams(FINE[0], FINE[1], then="hang")) as upstream, gateway(tmp_path, upstream) as it:
        streamed = orjson.dumps({**orjson.loads(BODY), "stream": True})
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(request(streamed))
        await reader.readuntil("안녕".encode())
        (connection,) = upstream.connections
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not connection.is_closing():  # noqa: ASYNC110  a transport tells nobody
                await asyncio.sleep(0.01)
        while it.count("ocho_client_disconnects_total") < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert it.count("ocho_in_flight_requests") == 0


async def test_a_slow_reader_holds_the_stream_back(tmp_path: Path) -> None:
    pieces = [b"data: " + b"x" * 100_000 + b"\n\n"] * 200
    async with scripted(streams(*pieces)) as upstream, gateway(tmp_path, upstream) as it:
        streamed = orjson.dumps({**orjson.loads(BODY), "stream": True})
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port, limit=65536)
        writer.write(request(streamed))
        await asyncio.sleep(0.2)
        assert it.count("ocho_in_flight_requests") == 1  # nobody has read it all into memory
        _, _, body = await one(reader)
        writer.close()
    assert body == b"".join(pieces)


async def test_draining_lets_answers_finish_and_takes_no_more(tmp_path: Path) -> None:
    async with scripted(streams(*FINE, every_s=0.05)) as upstream:
        streamed = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True})
        async with serving(settings(tmp_path, model("m", upstream.base_url), server={"drain_s": 5})) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            idle, silent = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(streamed))
            await reader.readuntil(b"\r\n\r\n")
        rest = await reader.read()
        assert b"[DONE]" in rest
        assert await idle.read() == b""
        writer.close()
        silent.close()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)
