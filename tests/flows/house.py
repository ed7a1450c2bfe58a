"""A gateway in front of stand-in providers, and clients as users have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from openai import AsyncAzureOpenAI, AsyncOpenAI

from bench.provider import Provider
from gateway.app import Gateway, serving
from gateway.settings import Settings
from gateway.wiring.ingesting import ingest_into

LONG_KEY = "key-of-a-tester"

UNSETTLED = {"max_extra_spend": 0}  # nothing is asked twice, however unsure the stand-in is of an answer


@dataclass(slots=True)
class House:
    """A running gateway and plain HTTP to it."""

    gateway: Gateway
    port: int
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self, **more: Any) -> AsyncOpenAI:
        return AsyncOpenAI(**{"base_url": f"{self.url}/v1", "api_key": LONG_KEY, "max_retries": 0, **more})

    def azure(self, **more: Any) -> AsyncAzureOpenAI:
        given = {"azure_endpoint": self.url, "api_key": LONG_KEY, "api_version": "2024-10-21", "max_retries": 0}
        return AsyncAzureOpenAI(**{**given, **more})

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with self.http.post(f"{self.url}{path}", data=data, headers=sent) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        async with self.http.get(f"{self.url}{path}", headers=sent) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def chat(self, question: str, model: str = "gpt-4", *, body: Mapping[str, Any] | None = None, **headers: str
                   ) -> Reply:  # fmt: skip
        """One chat completion over plain HTTP."""
        asked = {"model": model, "messages": [{"role": "user", "content": question}], **(body or {})}
        return await self.post("/v1/chat/completions", asked, **headers)

    async def metrics(self) -> str:
        return (await self.get("/metrics")).body.decode()

    async def kept(self, answers: int = 1) -> None:
        """Wait until so many finished answers went to the cache, or were found unfit for it."""
        while self.count("ocho_cache_writes_total") < answers:  # noqa: ASYNC110  a counter tells nobody
            await asyncio.sleep(0.005)

    def count(self, series: str, **labels: str) -> float:
        """Sum of a series over all labels that are not given."""
        return sum(
            sample.value
            for family in self.gateway.metrics.registry.collect()
            for sample in family.samples
            if sample.name == series and labels.items() <= sample.labels.items()
        )


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        """Of the first choice, whole or streamed."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return "".join((c["choices"][0]["delta"].get("content") or "") for c in self.chunks if c.get("choices"))
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def events(self) -> list[bytes]:
        """Data payloads of a stream, ``[DONE]`` included."""
        frames = self.body.split(b"\n\n")
        return [frame[6:] for frame in frames if frame.startswith(b"data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [orjson.loads(event) for event in self.events if event != b"[DONE]"]

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object of an error reply; checks its shape."""
        assert self.headers["content-type"].startswith("application/json"), self.body
        error = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}, error
        assert error["message"]
        assert isinstance(error["type"], str)
        return dict(error)


def deployment(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "base_url": url, "api_key": "upstream-secret", **more}


def model(name: str, *urls: str, **more: Any) -> dict[str, Any]:
    """A model with one OpenAI-compatible deployment per URL, called name-1, name-2, …"""
    made = [deployment(f"{name}-{number}".replace("*", "any"), url) for number, url in enumerate(urls, start=1)]
    return {"name": name, "deployments": made, **more}


def settings(folder: Path, *models: Mapping[str, Any], **sections: Any) -> Settings:
    """Loopback, a free port, quick timeouts, no embedder unless asked for."""
    given: dict[str, Any] = {
        "models": list(models),
        "data_dir": str(folder / "data"),
        "server": {"port": 0, "drain_s": 1, **sections.pop("server", {})},
        "cache": {"semantic": {"embedder": "off"}, **sections.pop("cache", {})},
        **sections,
    }
    return Settings.model_validate(given)


@asynccontextmanager
async def house(folder: Path, *models: Mapping[str, Any], **sections: Any) -> AsyncIterator[House]:
    async with serving(settings(folder, *models, **sections)) as (gateway, port), _http() as http:
        yield House(gateway, port, http)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def fill(made: Settings, collection: str, folder: Path, **more: Any) -> None:
    """Ingest ``folder`` as `ocho ingest` would."""
    groups = tuple(more.get("groups", ()))
    report = await ingest_into(made, collection, folder, groups, (), (), bool(more.get("prune")), lambda step: None)
    assert not report.failed, report.failed


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(slots=True)
class Scripted:
    """An upstream that does what a test says."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Reaction = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def scripted(*reactions: Reaction) -> AsyncIterator[Scripted]:
    """The nth request gets the nth reaction, later ones the last."""
    upstream = Scripted()

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        upstream.connections.add(request.transport)
        upstream.asked.append(Asked(request.method, request.rel_url.raw_path, request.query_string, headers, body))
        return await reactions[min(len(upstream.asked), len(reactions)) - 1](request)

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream.port = runner.addresses[0][1]
        yield upstream
    finally:
        await runner.cleanup()


def says(status: int = 200, body: Any = None, **headers: str) -> Reaction:
    """A JSON reply."""

    async def react(request: web.Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return web.Response(status=status, body=data, headers=sent)

    return react


def refuses(status: int, message: str = "no", **headers: str) -> Reaction:
    error = {"message": message, "type": "test_error", "param": None, "code": "test"}
    return says(status, {"error": error}, **headers)


def streams(*parts: bytes, then: str = "end", every_s: float = 0.0) -> Reaction:
    """Server-sent bytes as given, then ``end``, ``hang`` or ``cut`` (the connection)."""

    async def react(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(every_s)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        return response

    return react


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cuts(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def chunk(text: str | None = None, finish: str | None = None, **delta: Any) -> bytes:
    """One server-sent chat chunk."""
    given = {**({"content": text} if text is not None else {}), **delta}
    choice = {"index": 0, "delta": given, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
                  "choices": [choice]})  # fmt: skip


def event(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
ROLE = chunk("", role="assistant")
FINE = (ROLE, chunk("안녕"), chunk("하세요"), chunk(finish="stop"), DONE)


def asked_by(provider: Provider) -> list[str]:
    """Last user message of every call, oldest first."""
    return [call.body["messages"][-1]["content"] for call in provider.calls if "messages" in call.body]
