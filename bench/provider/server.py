"""The HTTP server: paths, keys, errors, records. Every path exists as OpenAI (`/v1`) and as Azure (`/openai`)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from hashlib import blake2b
from random import Random
from typing import Any

import orjson
from aiohttp import web

from bench.provider import embedding, reranking, wire
from bench.provider.ailments import HEALTHY, Ailment, read_ailments
from bench.provider.completions import CHAT, TEXT, Job, complete, options_of
from bench.provider.config import ProviderConfig
from bench.provider.generation import Task
from bench.provider.profiles import LatencyProfile, draw_embedding_s
from bench.provider.records import Call, Totals
from bench.provider.requests import (
    LEGACY_MAX_TOKENS,
    MAX_CHOICES,
    read_body,
    read_count,
    read_messages,
    read_model,
    read_prompts,
)
from bench.provider.tokens import count_tokens
from bench.provider.wire import ApiError

MAX_BODY_BYTES = 64 * 2**20
SHUTDOWN_S = 0.2  # then calls that still run (hanging ones never end) are cut
MAX_TOP_LOGPROBS = 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Provider:
    """A running stand-in provider, and what it was asked."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.totals = Totals()
        self.port = 0  # known once it listens
        self._calls: deque[Call] = deque(maxlen=config.calls_kept)
        self._changed = asyncio.Event()
        self._asked: dict[bytes, int] = {}  # digest of a request → times asked
        self._ailments: dict[str, Ailment] = {}  # model → what is the matter with it
        self._slots: dict[str, asyncio.Semaphore] = {}

    @property
    def calls(self) -> list[Call]:
        """The latest calls, oldest first, running ones included."""
        return list(self._calls)

    async def until(self, condition: Callable[[list[Call]], bool]) -> None:
        """Return when ``condition(calls)`` holds; looked at again whenever a call starts or ends."""
        while not condition(self.calls):
            self._changed.clear()
            await self._changed.wait()

    @property
    def root_url(self) -> str:
        """For Azure clients (`azure_endpoint`)."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """For OpenAI clients."""
        return f"{self.root_url}/v1"

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guarded])
        for prefix in ("/v1", "/openai/v1", "/openai/deployments/{deployment}"):
            app.router.add_post(f"{prefix}/chat/completions", self._chat)
            app.router.add_post(f"{prefix}/completions", self._text)
            app.router.add_post(f"{prefix}/embeddings", self._embeddings)
            app.router.add_post(f"{prefix}/rerank", self._rerank)
        for prefix in ("/v1", "/openai/v1", "/openai"):
            app.router.add_get(f"{prefix}/models", self._models)
            app.router.add_get(f"{prefix}/models/{{id:.+}}", self._model)
        app.router.add_get("/health", self._health)
        app.router.add_get("/bench/calls", self._report)
        app.router.add_post("/bench/ailments", self._ail)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the key; answer every error in the shape clients expect."""
        try:
            if request.path.startswith(("/v1", "/openai")):
                self._check_key(request)
            return await handler(request)
        except ApiError as error:
            return _error_response(error)
        except web.HTTPMethodNotAllowed:
            return _error_response(ApiError(405, f"Not allowed to {request.method} on {request.path}."))
        except web.HTTPNotFound:
            return _error_response(ApiError(404, f"Invalid URL ({request.method} {request.path})"))

    def _check_key(self, http_request: web.Request) -> None:
        given = http_request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = http_request.headers.get("api-key", given)
        if self.config.api_key is not None and given != self.config.api_key:
            raise ApiError(401, "Incorrect API key provided.", "invalid_api_key")

    async def _chat(self, http_request: web.Request) -> web.StreamResponse:
        body = read_body(await http_request.read())
        model, profile = self._model_of(http_request, body)
        messages = read_messages(body)
        limit = read_count(body, "max_completion_tokens") or read_count(body, "max_tokens")
        top = _top_logprobs(body.get("top_logprobs")) if body.get("logprobs") is True else None
        task = Task(messages, body, limit, top, profile, self.config.faults_of(profile), self.config.truths)
        job = self._job(http_request, body, [task], self._dice(model, messages), self._ailments.get(model, HEALTHY))
        with self._recorded(http_request, model, body) as call:
            async with self._room(model):
                return await complete(http_request, job, call)

    def _room(self, model: str) -> AbstractAsyncContextManager[None]:
        """A slot of the model; whoever finds none waits in line."""
        if self.config.slots is None:
            return nullcontext()
        return self._slots.setdefault(model, asyncio.Semaphore(self.config.slots))

    async def _text(self, http_request: web.Request) -> web.StreamResponse:
        body = read_body(await http_request.read())
        model, profile = self._model_of(http_request, body)
        prompts = read_prompts(body)
        limit = read_count(body, "max_tokens") or LEGACY_MAX_TOKENS
        top = _top_logprobs(body["logprobs"]) if isinstance(body.get("logprobs"), int) else None
        faults = self.config.faults_of(profile)
        tasks = [Task([{"role": "user", "content": text}], body, limit, top, profile, faults) for text in prompts]
        job = self._job(http_request, body, tasks, self._dice(model, prompts))
        with self._recorded(http_request, model, body) as call:
            return await complete(http_request, job, call)

    async def _embeddings(self, http_request: web.Request) -> web.StreamResponse:
        body = read_body(await http_request.read())
        model, profile = self._model_of(http_request, body, embeddings=True)
        inputs = read_prompts(body)
        dimensions = read_count(body, "dimensions") or embedding.MODELS.get(model, embedding.DEFAULT_DIMENSIONS)
        with self._recorded(http_request, model, body) as call:
            delay_s = draw_embedding_s(profile, Random(self._dice(model, inputs)))
            vectors = [embedding.encoded(embedding.embed(text, dimensions), _format(body)) for text in inputs]
            call.prompt_tokens = sum(map(count_tokens, inputs))
            await asyncio.sleep(max(0.0, call.started + self.config.time_scale * delay_s - time.monotonic()))
            call.status = 200
            return _json(wire.embeddings(model, vectors, call.prompt_tokens))

    async def _rerank(self, http_request: web.Request) -> web.StreamResponse:
        body = read_body(await http_request.read())
        model, profile = self._model_of(http_request, body, embeddings=True)
        with self._recorded(http_request, model, body) as call:
            content = reranking.reply(body)
            delay_s = reranking.draw_s(profile, Random(self._dice(model, [body["query"], body["documents"]])))
            await asyncio.sleep(max(0.0, call.started + self.config.time_scale * delay_s - time.monotonic()))
            call.status = 200
            return _json(content)

    async def _models(self, http_request: web.Request) -> web.Response:
        return _json(wire.models([*self.config.listed_models(), *embedding.MODELS]))

    async def _model(self, http_request: web.Request) -> web.Response:
        name = http_request.match_info["id"]
        if name not in embedding.MODELS and self.config.profile_of(name) is None:
            raise _unknown_model(name)
        return _json(wire.model(name))

    async def _health(self, http_request: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _report(self, http_request: web.Request) -> web.Response:
        """Counts, and the latest calls without their bodies: for benches that run the provider as a process."""
        totals = {name: getattr(self.totals, name) for name in Totals.__slots__}
        return _json({"totals": totals, "calls": [call.summary() for call in self._calls]})

    async def _ail(self, http_request: web.Request) -> web.Response:
        """From now on models are ill as the body says, and all others well."""
        self._ailments = read_ailments(read_body(await http_request.read()))
        return _json({"ailments": sorted(self._ailments)})

    def _model_of(
        self, http_request: web.Request, body: Mapping[str, Any], *, embeddings: bool = False
    ) -> tuple[str, LatencyProfile]:
        """Name and profile; the deployment in an Azure path is the name. Embeddings and rankings take any name."""
        deployment = http_request.match_info.get("deployment")
        if deployment is not None and "api-version" not in http_request.query:
            raise ApiError(404, "Resource not found: the query parameter 'api-version' is missing.", "404")
        name = deployment or read_model(body)
        profile = self.config.profile_of(name)
        if profile is None and embeddings:
            profile = self.config.profile_of(next(iter(self.config.models)))
        if profile is None:
            raise _unknown_model(name) if deployment is None else _unknown_deployment()
        return name, profile

    def _job(
        self,
        http_request: web.Request,
        body: Mapping[str, Any],
        tasks: Sequence[Task],
        dice: int,
        ailment: Ailment = HEALTHY,
    ) -> Job:
        stream, include_usage = options_of(body)
        return Job(
            wire=CHAT if http_request.path.endswith("/chat/completions") else TEXT,
            tasks=tasks,
            copies=read_count(body, "n", MAX_CHOICES) or 1,
            stream=stream,
            include_usage=include_usage,
            azure="deployment" in http_request.match_info,
            dice=dice,
            time_scale=self.config.time_scale,
            failures=self.config.failures,
            ailment=ailment,
        )

    def _dice(self, model: str, asked: object) -> int:
        """A number for this ask of this text: the nth ask draws the same in every run with the same seed."""
        digest = blake2b(orjson.dumps([model, asked]), digest_size=16).digest()
        nth = self._asked.get(digest, 0)
        self._asked[digest] = nth + 1
        return int.from_bytes(blake2b(b"%d:%d:" % (self.config.seed, nth) + digest, digest_size=8).digest(), "big")

    @contextmanager
    def _recorded(self, http_request: web.Request, model: str, body: Mapping[str, Any]) -> Iterator[Call]:
        """Keep a record of the call; a block that is cancelled or cannot write was left by its caller."""
        call = Call(http_request.path, model, body, time.monotonic())
        self._calls.append(call)
        self.totals.calls += 1
        self._changed.set()
        try:
            yield call
        except ApiError as error:
            call.status = error.status
            raise
        except (asyncio.CancelledError, ConnectionResetError):
            call.cancelled = True
            raise
        finally:
            call.ended = time.monotonic()
            self.totals.add(call)
            self._changed.set()


@asynccontextmanager
async def running_provider(config: ProviderConfig | None = None) -> AsyncIterator[Provider]:
    """A provider that listens on the running loop while the block runs."""
    provider = Provider(config or ProviderConfig(profile="instant"))
    runner = web.AppRunner(
        provider.application(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, provider.config.host, provider.config.port, backlog=1024)
        await site.start()
        provider.port = runner.addresses[0][1]
        yield provider
    finally:
        await runner.cleanup()


def _top_logprobs(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOP_LOGPROBS:
        raise ApiError(400, f"Invalid 'top_logprobs': must be from 0 to {MAX_TOP_LOGPROBS}.", param="top_logprobs")
    return value


def _format(body: Mapping[str, Any]) -> str:
    found = body.get("encoding_format", "float")
    if found not in ("float", "base64"):
        raise ApiError(400, "Invalid 'encoding_format': must be 'float' or 'base64'.", param="encoding_format")
    return str(found)


def _json(content: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(content), content_type="application/json")


def _error_response(error: ApiError) -> web.Response:
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=error.headers)


def _unknown_model(name: str) -> ApiError:
    return ApiError(404, f"The model `{name}` does not exist or you do not have access to it.", "model_not_found")


def _unknown_deployment() -> ApiError:
    return ApiError(404, "The API deployment for this resource does not exist.", "DeploymentNotFound")
