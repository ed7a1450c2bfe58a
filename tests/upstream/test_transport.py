"""What ``Http`` promises, on both implementations, against a server that sends exact bytes."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import Deadline
from gateway.upstream.connection import HIGH_WATER
from gateway.upstream.either import EitherHttp
from gateway.upstream.general import GeneralHttp
from gateway.upstream.lean import LeanHttp, serves
from gateway.upstream.transport import ConnectFailed, Http, HttpReply, Way
from tests.redis_server import free_port
from tests.upstream.raw_server import RawServer, Wire, answers, raw_server

HEAD = b"HTTP/1.1 200 OK\r\n"
TWO = HEAD + b"content-length: 2\r\n\r\n"
OK = TWO + b"ok"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
KOREAN = "연차휴가는 15일입니다".encode()


@pytest.fixture(params=["lean", "general"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[Http]:
    made: Http = LeanHttp() if request.param == "lean" else GeneralHttp()
    yield made
    await made.close()


@pytest.fixture
async def lean() -> AsyncIterator[LeanHttp]:
    made = LeanHttp()
    yield made
    await made.close()


async def ask(http: Http, server: RawServer, body: bytes | None = b"{}", within_s: float = 5.0) -> HttpReply:
    method = "POST" if body is not None else "GET"
    return await http.request(Way(method, server.url()), {"x-a": "1"}, body, Deadline.after(within_s), 1.0)


async def whole(reply: HttpReply, within_s: float = 5.0) -> bytes:
    received = b""
    try:
        while piece := await reply.read(Deadline.after(within_s)):
            received += piece
    finally:
        reply.close()
    return received


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((OK,), b"ok"),
        (tuple(OK[i : i + 1] for i in range(len(OK))), b"ok"),
        ((HEAD, b"Content-Length: 0\r\n\r\n"), b""),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), b""),
        ((CHUNKED, b"2;name=value\r\nok\r\n0\r\n\r\n"), b"ok"),
        ((CHUNKED + b"1\r\no\r", b"\n1", b"\r\nk\r\n0\r\nx-trailer: 1\r\n\r", b"\n"), b"ok"),
        ((CHUNKED, b"%x\r\n" % len(KOREAN), KOREAN[:1], KOREAN[1:] + b"\r\n0\r\n\r\n"), KOREAN),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", OK), b"ok"),
        ((b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,), b"ok"),
        ((HEAD + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\n", b"\x1f\x8b\x00"), b"\x1f\x8b\x00"),
    ],
    ids=["at once", "byte by byte", "empty", "204", "extensions", "trailer", "cut syllable", "100", "103", "gzip"],
)
async def test_a_reply_is_read_however_it_is_cut(http: Http, pieces: tuple[bytes, ...], body: bytes) -> None:
    async with raw_server(answers(*pieces)) as server:
        for _ in range(3):
            assert await whole(await ask(http, server)) == body
    assert server.connections == 1  # used again each time
    assert server.requests[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\n{}")
    assert b"x-a: 1\r\n" in server.requests[0]


async def test_status_and_headers_are_read(http: Http) -> None:
    sent = b"HTTP/1.1 429 \r\nRetry-After-MS: 30\r\nX-Name:  \xea\xb0\x80 \r\ncontent-length: 0\r\n\r\n"
    async with raw_server(answers(sent)) as server:
        reply = await ask(http, server)
        reply.close()
    assert reply.status == 429
    assert reply.headers["retry-after-ms"] == "30"
    assert reply.headers["x-name"] == "가"


async def test_a_body_without_a_length_ends_with_the_connection(http: Http) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(HEAD + b"\r\n", b"until", b" the end")
        wire.close()

    async with raw_server(script) as server:
        assert await whole(await ask(http, server)) == b"until the end"
        assert await whole(await ask(http, server)) == b"until the end"
    assert server.connections == 2


@pytest.mark.parametrize("sent", [HEAD + b"content-length: 9\r\n\r\nhalf", CHUNKED + b"9\r\nhalf"])
async def test_a_body_that_ends_early_is_an_error(http: Http, sent: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(sent)
        wire.close()

    async with raw_server(script) as server:
        reply = await ask(http, server)
        with pytest.raises(ConnectionError):
            await whole(reply)


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        HEAD + b"bad header\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
        CHUNKED + b"zz\r\nok\r\n0\r\n\r\n",
    ],
    ids=["not HTTP", "status", "header", "length", "large head", "two lengths", "chunk size"],
)
async def test_what_is_not_http_is_an_error(http: Http, sent: bytes) -> None:
    async with raw_server(answers(sent)) as server:
        with pytest.raises(ConnectionError):
            await whole(await ask(http, server))


async def test_a_length_beside_chunks_is_refused_by_the_lean_client(lean: LeanHttp) -> None:
    sent = HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    async with raw_server(answers(sent)) as server:
        with pytest.raises(ConnectionError):
            await whole(await ask(lean, server))


async def test_endless_headers_are_cut_off(http: Http) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.writer.write(HEAD)
        while not wire.writer.transport.is_closing():
            wire.writer.write(b"x: y\r\n" * 1000)
            await wire.writer.drain()
            await asyncio.sleep(0)

    async with raw_server(script) as server:
        with pytest.raises((ConnectionError, TimeoutError)):
            await ask(http, server, within_s=1.0)


async def test_nobody_there_is_told_from_an_answer_that_breaks(http: Http) -> None:
    with pytest.raises(ConnectFailed):
        await ask(http, RawServer(port=free_port()))


async def test_a_long_silence_ends_too(lean: LeanHttp) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        clock[0] = 61.0
        await wire.request()

    clock = [0.0]
    async with raw_server(script) as server:
        until = Deadline(60.0, lambda: clock[0])  # too long for a timer of its own
        with pytest.raises(TimeoutError):
            await lean.request(Way("POST", server.url()), {}, b"{}", until, 1.0)


async def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answers(OK)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://u:p@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        http = GeneralHttp()
        for _ in range(2):
            reply = await http.request(Way("POST", "http://away.test/v1"), {}, b"{}", Deadline.after(5.0), 1.0)
            assert await whole(reply) == b"ok"
        await http.close()
    for request in proxy.requests:
        assert request.startswith(b"POST http://away.test/v1 HTTP/1.1")
        assert b"Proxy-Authorization: Basic dTpw" in request


async def test_silence_ends_when_the_time_is_up(http: Http) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if wire.number == 2:
            await wire.send(TWO, b"o")
        await wire.request()

    async with raw_server(script) as server:
        with pytest.raises(TimeoutError):
            await ask(http, server, within_s=0.05)
        reply = await ask(http, server)
        with pytest.raises(TimeoutError):
            await whole(reply, within_s=0.05)


async def test_a_wait_that_was_given_up_does_not_end_the_next_one(http: Http) -> None:
    asked_again = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(TWO, b"o")
        await asked_again.wait()
        await asyncio.sleep(0.3)
        await wire.send(b"k")

    async with raw_server(script) as server:
        reply = await ask(http, server)
        assert await reply.read(Deadline.after(5)) == b"o"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply.read(Deadline.after(0.2)), 0.01)
        asked_again.set()
        assert await reply.read(Deadline.after(5)) == b"k"


@pytest.mark.parametrize("after", ["headers", "half"])
async def test_giving_up_closes_the_connection(http: Http, after: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        if after == "half":
            await wire.send(TWO, b"o")
        await wire.request()

    async with raw_server(script) as server:
        if after == "half":
            reply = await ask(http, server)
            assert await reply.read(Deadline.after(5)) == b"o"
            reply.close()
        else:
            task = asyncio.create_task(ask(http, server))
            while not server.requests:  # noqa: ASYNC110  a list tells nobody
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with asyncio.timeout(5):
            await server.gone.wait()


async def test_a_kept_connection_that_the_server_closed_is_replaced(http: Http) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        wire.close()  # without having said so

    async with raw_server(script) as server:
        for _ in range(3):
            assert await whole(await ask(http, server, body=None)) == b"ok"
            await asyncio.sleep(0.01)
    assert server.connections == 3


async def test_a_close_that_crosses_the_request_is_made_good_once(lean: LeanHttp) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.request()  # read, and dropped
        wire.close()

    async with raw_server(script) as server:
        assert [await whole(await ask(lean, server)) for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 3


async def test_a_server_that_never_answers_is_not_asked_for_ever(lean: LeanHttp) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        wire.close()

    async with raw_server(script) as server:
        with pytest.raises(ConnectionError):
            await ask(lean, server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"garbage"])
@pytest.mark.parametrize("later", [False, True])
async def test_bytes_that_nobody_asked_for_never_answer_the_next_request(
    lean: LeanHttp, extra: bytes, later: bool
) -> None:
    gone = asyncio.Semaphore(0)

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*((OK, extra) if later else (OK + extra,)))
        while await wire.request():
            await wire.send(OK)
        gone.release()

    async with raw_server(script) as server, asyncio.timeout(30):
        for _ in range(3):
            assert await whole(await ask(lean, server)) == b"ok"
            await gone.acquire()  # the connection is given up as soon as the bytes are seen
        assert server.connections == 3


@pytest.mark.parametrize("closing", [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
                                     HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok"])  # fmt: skip
async def test_a_server_that_closes_after_each_answer_is_taken_at_its_word(http: Http, closing: bytes) -> None:
    async with raw_server(answers(closing)) as server:
        assert [await whole(await ask(http, server)) for _ in range(2)] == [b"ok"] * 2
    assert server.connections == 2


async def test_a_slow_reader_holds_the_server_back(lean: LeanHttp) -> None:
    size = 64 * HIGH_WATER
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.request()
        wire.writer.write(HEAD + b"content-length: %d\r\n\r\n" % size)
        for _ in range(size // HIGH_WATER):
            wire.writer.write(b"x" * HIGH_WATER)
            await wire.writer.drain()
            sent += HIGH_WATER
        await wire.request()

    async with raw_server(script) as server:
        reply = await ask(lean, server)
        await asyncio.sleep(0.1)
        assert sent < size
        assert len(await whole(reply)) == size


async def test_many_at_once_take_a_connection_each(http: Http) -> None:
    async with raw_server(answers(OK)) as server:
        replies = await asyncio.gather(*(ask(http, server) for _ in range(20)))
        assert [await whole(r) for r in replies] == [b"ok"] * 20
        opened = server.connections
        assert opened > 1
        assert await whole(await ask(http, server)) == b"ok"
    assert server.connections == opened


async def test_a_line_break_in_a_header_is_never_sent(lean: LeanHttp) -> None:
    async with raw_server(answers(OK)) as server:
        for evil in ("a\r\nx-b: 1", "a\nb", "a\rb"):
            with pytest.raises(ConnectionError):
                await lean.request(Way("GET", server.url()), {"x-a": evil}, None, Deadline.after(5), 1.0)
    assert server.requests == []


@pytest.mark.parametrize(
    ("path", "target"),
    [("/v1/a%2Fb?c=d%26e", b"/v1/a%2Fb?c=d%26e"), ("/v1/가 나", b"/v1/%EA%B0%80%20%EB%82%98"), ("", b"/")],
)
async def test_the_target_is_sent_as_it_is_or_escaped(lean: LeanHttp, path: str, target: bytes) -> None:
    async with raw_server(answers(OK)) as server:
        url = server.url(path)
        reply = await lean.request(Way("GET", url), {}, None, Deadline.after(5), 1.0)
        reply.close()
    assert server.requests[0].startswith(b"GET " + target + b" HTTP/1.1\r\nhost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("method", "url", "lean"),
    [
        ("POST", "https://api.openai.com/v1/x", True),
        ("HEAD", "https://api.openai.com/v1/x", False),
        ("GET", "https://user:secret@host/v1", False),
        ("GET", "https://회사.example/v1", False),
    ],
)
async def test_what_the_lean_client_cannot_do_goes_to_the_general_one(method: str, url: str, lean: bool) -> None:
    assert serves(Way(method, url)) is lean


async def test_a_head_request_has_no_body_to_wait_for() -> None:
    both = EitherHttp(LeanHttp(), GeneralHttp())
    async with raw_server(answers(HEAD + b"content-length: 5\r\n\r\n")) as server:
        reply = await both.request(Way("HEAD", server.url()), {}, None, Deadline.after(5), 1.0)
        assert await whole(reply) == b""
    await both.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


async def test_tls_is_spoken_and_certificates_are_checked(certificate: tuple[Path, Path]) -> None:
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    trusting = LeanHttp(ssl.create_default_context(cafile=str(cert)))
    strict = LeanHttp()
    async with raw_server(answers(OK), context) as server:
        url = server.url(scheme="https")
        for _ in range(2):
            assert await whole(await trusting.request(Way("POST", url), {}, b"{}", Deadline.after(5), 5.0)) == b"ok"
        assert server.connections == 1
        with pytest.raises(ConnectFailed):
            await strict.request(Way("POST", url), {}, b"{}", Deadline.after(5), 5.0)
    await trusting.close()
    await strict.close()
