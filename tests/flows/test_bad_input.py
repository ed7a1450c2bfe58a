"""Hostile and careless callers: a clear error each, and a gateway that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from tests.flows.house import FINE, House, Scripted, house, model, scripted, streams

KEY = "right-key-1"
AUTH = {"keys": [{"key": KEY, "tenant": "a"}, {"key": "right-key-2", "tenant": "b"}], "admin_key": "admin-key-1"}
GOOD = b'{"model": "m", "messages": [{"role": "user", "content": "\xed\x9c\xb4\xea\xb0\x80"}], "stream": true}'


@pytest.fixture
async def upstream() -> AsyncIterator[Scripted]:
    async with scripted(streams(*FINE)) as running:
        yield running


@pytest.fixture
async def it(upstream: Scripted, tmp_path: Path) -> AsyncIterator[House]:
    """A gateway that must be well after every test."""
    server = {"host": "127.0.0.1", "max_body_mb": 0.1, "body_s": 0.3}
    named = [model("m", upstream.base_url), model("c", upstream.base_url, cache=True)]
    async with house(tmp_path, *named, server=server) as running:
        yield running
        asked = len(upstream.asked)
        for name in ("m", "c"):
            assert (await running.chat("잘 지내나요?", name, body={"stream": True})).text == "안녕하세요"
        assert len(upstream.asked) == asked + 2
        assert running.count("ocho_in_flight_requests") == 0
        assert (await running.get("/healthz")).json["status"] == "ok"


MESSAGES = [{"role": "user", "content": "hi"}]
BROKEN: list[tuple[bytes, str]] = [
    (b"", "no body"),
    (b"{", "not valid JSON"),
    (b"hello", "not valid JSON"),
    (b"\xff\xfe{}", "not valid JSON"),
    (b'{"model": NaN}', "not valid JSON"),
    (b'{"model": "\\ud800"}', "not valid JSON"),
    (b"[]", "must be a JSON object"),
    (b"5", "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b"[" * 50_000, "not valid JSON"),
    (b'{"model":"m","messages":' + b'[{"a":' * 200 + b"1" + b"}]" * 200 + b"}", "levels deep"),
    (orjson.dumps({"messages": MESSAGES}), "model"),
    (orjson.dumps({"model": 5, "messages": MESSAGES}), "model"),
    (orjson.dumps({"model": "", "messages": MESSAGES}), "model"),
    (orjson.dumps({"model": "x" * 300, "messages": MESSAGES}), "model"),
    (orjson.dumps({"model": "m\r\nx: y", "messages": MESSAGES}), "model"),
    (orjson.dumps({"model": "m"}), "messages"),
    (orjson.dumps({"model": "m", "messages": "hi"}), "messages"),
    (orjson.dumps({"model": "m", "messages": []}), "messages"),
    (orjson.dumps({"model": "m", "messages": ["hi"]}), "message must be an object"),
    (orjson.dumps({"model": "m", "messages": [{"content": "hi"}]}), "role"),
    (orjson.dumps({"model": "m", "messages": [{"role": 1, "content": "hi"}]}), "role"),
    (orjson.dumps({"model": "m", "messages": [{"role": "user", "content": 5}]}), "content"),
    (orjson.dumps({"model": "m", "messages": [{"role": "user", "content": ["x"]}]}), "part"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "stream": "yes"}), "stream"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "stream_options": 5}), "stream_options"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "ocho": 5}), "ocho"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "ocho": {"cahce": "on"}}), "known are"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "ocho": {"cache": {}}}), "string or a number"),
    (orjson.dumps({"model": "m", "messages": MESSAGES, "ocho": {"deadline_ms": -5}}), "deadline-ms"),
]


@pytest.mark.parametrize(("body", "told"), BROKEN, ids=range(len(BROKEN)))
async def test_a_broken_body_is_a_400_that_says_what_is_wrong(
    it: House, upstream: Scripted, body: bytes, told: str
) -> None:
    reply = await it.post("/v1/chat/completions", body)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert told in reply.error["message"]
    assert reply.headers["x-request-id"]
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ocho-deadline-ms", "-1"),
        ("x-ocho-deadline-ms", "0"),
        ("x-ocho-deadline-ms", "nan"),
        ("x-ocho-deadline-ms", "inf"),
        ("x-ocho-deadline-ms", "five"),
        ("x-ocho-deadline-ms", ""),
        ("x-ocho-cache-ttl", "-1"),
        ("x-ocho-cache", "maybe"),
        ("x-ocho-cache-namespace", "a b"),
        ("x-ocho-cache-namespace", "한글 이름"),
        ("x-ocho-cache-namespace", "x" * 65),
        ("x-ocho-tags", "t" * 65),
        ("x-ocho-tags", ",".join(map(str, range(17)))),
        ("x-ocho-tags", "\x01"),
    ],
)
async def test_a_wish_that_cannot_be_granted_is_a_400_naming_the_header(
    it: House, upstream: Scripted, name: str, value: str
) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    status, body = await raw(it, head.encode() + GOOD)
    assert status == 400
    assert upstream.asked == []
    if value != "\x01":  # that one no HTTP parser lets through
        error = orjson.loads(body)["error"]
        assert name in error["param"]
        assert "e+" not in error["message"]  # 3600000 is no number of that kind to a caller


async def test_unknown_models_and_deployments_are_404s_as_the_clients_know_them(it: House) -> None:
    async with it.openai() as client, it.azure() as azure:
        for asking in (client, azure):
            with pytest.raises(openai.NotFoundError) as caught:
                await asking.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hi"}])
            assert caught.value.code == "model_not_found"
            assert "gpt-9" in caught.value.message
            with pytest.raises(openai.NotFoundError):
                await asking.embeddings.create(model="gpt-9", input="hi")
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="gpt-9", input="hi")  # relayed, but only to configured models


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/", "/v2/chat", "/favicon.ico", "/v1/%2e%2e/secret", "/v1/files/..%2f..%2fx", "/v1/a%00b",
        "/v1/a%0d%0ab", "/v1/..%5cx", "/openai/%2E%2E/x", "/nothing/%ff%fe",
    ],
)  # fmt: skip
async def test_paths_that_lead_nowhere_are_404s_and_reach_no_provider(it: House, upstream: Scripted, path: str) -> None:
    status, body = await raw(it, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status == 404
    assert orjson.loads(body)["error"]["type"] == "invalid_request_error"
    assert upstream.asked == []


async def test_a_deployment_named_dot_dot_goes_nowhere(it: House, upstream: Scripted) -> None:
    for name in ("..", "%2e%2e", "a%2f..%2fb", "%00"):
        head = f"POST /openai/deployments/{name}/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
        status, _ = await raw(it, head.encode())
        assert status in {400, 404}
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/healthz"), ("OPTIONS", "/v1/chat/completions"), ("TRACE", "/v1/files"), ("GET", "/v1/embeddings"),
        ("POST", "/metrics")],
)  # fmt: skip
async def test_a_wrong_method_is_a_405_that_names_the_right_one(
    it: House, upstream: Scripted, method: str, path: str
) -> None:
    async with it.http.request(method, f"{it.url}{path}") as response:
        assert response.status == 405
        assert response.headers["allow"]
        assert (await response.json())["error"]["code"] == "method_not_allowed"
    assert upstream.asked == []


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/openai/deployments/m/embeddings"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 5}'])
async def test_broken_bodies_of_other_endpoints_are_400s_too(
    it: House, upstream: Scripted, path: str, body: bytes
) -> None:
    if path.startswith("/openai") and body == b'{"model": 5}':
        return  # the path names the model
    reply = await it.post(path, body)
    assert reply.status == 400
    assert reply.error["message"]
    assert upstream.asked == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/files"])
async def test_an_oversize_body_is_a_413_in_json(it: House, upstream: Scripted, path: str) -> None:
    big = b'{"model": "m", "input": "' + b"x" * 200_000 + b'"}'
    declared = await it.post(path, big)
    assert (declared.status, declared.error["code"]) == (413, "request_too_large")

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 10_000):
            yield big[start : start + 10_000]

    async with it.http.post(f"{it.url}{path}", data=parts()) as response:  # chunked: its size is not told
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "request_too_large"
    assert upstream.asked == []


async def test_a_body_that_trickles_in_is_given_up_on(it: House, upstream: Scripted) -> None:
    status, body = await raw(
        it, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{", eof=False
    )
    assert status == 408
    assert orjson.loads(body)["error"]["code"] == "request_timeout"
    assert upstream.asked == []


async def test_keys_are_needed_where_they_are_configured(upstream: Scripted, tmp_path: Path) -> None:
    server = {"host": "127.0.0.1", "port": 0}
    async with house(tmp_path, model("m", upstream.base_url), auth=AUTH, server=server) as it:
        presented = ("Bearer nope", KEY, f"Basic {KEY}", "Bearer ", "Bearer 키")
        for wrong in ({}, {"api_key": "x"}, *({"authorization": value} for value in presented)):
            for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/files"):
                reply = await it.post(path, GOOD, **wrong)
                assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
                assert KEY not in reply.body.decode()
            assert (await it.get("/v1/models", **wrong)).status == 401
        assert upstream.asked == []
        for right in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"api_key": KEY}):
            assert (await it.post("/v1/chat/completions", GOOD, **right)).text == "안녕하세요"
        async with it.openai(api_key="nope") as client, it.azure(api_key=KEY) as azure:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
            assert [m.id async for m in azure.models.list()] == ["m"]
        assert (await it.get("/metrics")).status == 401
        assert (await it.get("/metrics", authorization=f"Bearer {KEY}")).status == 403
        assert (await it.get("/metrics", authorization="Bearer admin-key-1")).status == 200
        assert (await it.get("/healthz")).status == (await it.get("/readyz")).status == 200


@pytest.mark.parametrize("given", ["a b", "x" * 129, "é", "가", "a;b", '"><script>', "a\tb", ""])
async def test_a_request_id_that_could_do_harm_is_replaced(it: House, upstream: Scripted, given: str) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: {given}\r\nConnection: close\r\n"
    reply = await whole(it, head.encode() + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"x-request-id: req_" in reply.lower()
    assert upstream.asked[0].headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\rb\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x00b\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\nHost: x\r\n",
        b"GARBAGE\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",  # TLS to a plain port
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 70_000 + b"\r\n",
    ],
)
async def test_what_is_not_http_is_refused_and_forgotten(it: House, upstream: Scripted, head: bytes) -> None:
    reply = await whole(it, head + b"\r\n" + GOOD)
    assert reply.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    told, _, body = reply.partition(b"\r\n\r\n")
    assert b"x-request-id: req_" in told.lower()
    error = orjson.loads(body)["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "malformed_request")
    assert "cannot be read as HTTP/1.1: " in error["message"]
    assert upstream.asked == []


LEN = b"Content-Length: %d\r\n" % len(GOOD)
ODD_CLIENTS = {
    "no content-type": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + LEN + b"\r\n" + GOOD,
    "form content-type, as curl -d sends": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n" + LEN + b"\r\n" + GOOD,
    "HTTP/1.0": b"POST /v1/chat/completions HTTP/1.0\r\n" + LEN + b"\r\n" + GOOD,
    "Expect: 100-continue": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Expect: 100-continue\r\n" + LEN + b"\r\n" + GOOD,
    "chunked in odd pieces": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n",
    "absolute URL": b"POST http://x/v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    + LEN
    + b"\r\n"
    + GOOD,
    "wrong charset": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/json; charset=euc-kr\r\n" + LEN + b"\r\n" + GOOD,
}


@pytest.mark.parametrize("client", ODD_CLIENTS, ids=str)
async def test_odd_clients_are_answered(it: House, client: str) -> None:
    reply = await whole(it, ODD_CLIENTS[client])
    assert b" 200 OK\r\n" in reply
    assert "안녕".encode() in reply
    assert b"[DONE]" in reply


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"Content-Encoding: gzip\r\n" + LEN, GOOD),
        (b"Content-Encoding: deflate\r\n" + LEN, GOOD),
        (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["gzip", "deflate", "gzip in chunks"],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/files"])
async def test_a_body_that_is_not_what_its_header_says_is_refused(
    it: House, upstream: Scripted, caplog: pytest.LogCaptureFixture, path: str, said: bytes, body: bytes
) -> None:
    reply = await whole(it, f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() + said + b"\r\n" + body)
    assert reply.startswith(b"HTTP/1.1 400")
    error = orjson.loads(reply.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "malformed_request"
    assert "cannot be read as a body: Can not decode content-encoding" in error["message"]
    assert upstream.asked == []
    assert "Unhandled" not in caplog.text


async def test_embeddings_without_a_json_content_type_are_understood(it: House, upstream: Scripted) -> None:
    body = b'{"model": "m", "input": "x"}'
    await it.post("/v1/embeddings", body, content_type="application/x-www-form-urlencoded")
    assert upstream.asked[0].headers["content-type"] == "application/json"
    assert upstream.asked[0].body == body


async def test_a_content_type_that_is_no_header_goes_no_further(it: House, upstream: Scripted) -> None:
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: 가\r\nContent-Length: 2\r\n\r\n{}"
    assert b" 200 " in (await whole(it, head.encode())).split(b"\r\n")[0]
    assert upstream.asked[0].headers["content-type"] == "application/octet-stream"


async def test_head_works_where_get_does(it: House) -> None:
    for path in ("/healthz", "/v1/models"):
        async with it.http.head(f"{it.url}{path}") as response:
            assert response.status == 200
            assert await response.read() == b""


async def test_many_callers_that_hang_up_at_once_leave_nothing_behind(it: House) -> None:
    async def leave(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + LEN + b"\r\n" + GOOD[: number % len(GOOD)])
        await writer.drain()
        writer.transport.abort()
        await asyncio.gather(reader.read(), return_exceptions=True)

    await asyncio.gather(*(leave(number) for number in range(60)))
    while it.count("ocho_in_flight_requests"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def raw(it: House, sent: bytes, *, eof: bool = True) -> tuple[int, bytes]:
    """Status and body of the first reply to ``sent``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    try:
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        fields: dict[str, Any] = {}
        for line in head.split(b"\r\n")[1:-2]:
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        return int(head.split()[1]), body
    finally:
        writer.close()


async def whole(it: House, sent: bytes) -> bytes:
    """Everything the gateway sends until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
