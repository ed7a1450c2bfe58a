"""Composition root: a gateway from its settings, started and stopped."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from aiohttp import web

from gateway.cache.redis_store import RedisStore
from gateway.chat import Tenant
from gateway.clock import WallClock
from gateway.heap import keep_large_apart, tidy_after_start
from gateway.ingress.admin.answers import AnswerPages
from gateway.ingress.admin.cache import CachePages
from gateway.ingress.admin.door import behind
from gateway.ingress.admin.health import Health
from gateway.ingress.admin.overview import OverviewPage
from gateway.ingress.admin.warming import Warmer
from gateway.ingress.answering import Showing
from gateway.ingress.auth import KeyRing
from gateway.ingress.console import Console
from gateway.ingress.front import Front
from gateway.ingress.middleware import Around, Connection
from gateway.ingress.relay import Relay
from gateway.ingress.routes import Endpoints, Surface
from gateway.logs import AccessLog
from gateway.metrics import Metrics
from gateway.routing.deployments import Deployments
from gateway.routing.router import ANY_MODEL, Router
from gateway.settings import Settings
from gateway.wiring.accounts import accounts_of, keep_accounts
from gateway.wiring.answers import opened_book, reviewer_of
from gateway.wiring.cache import chosen_stores, secret_of
from gateway.wiring.chat import opened_pipeline
from gateway.wiring.sharing import told_to_others
from gateway.wiring.uploads import opened_uploads
from gateway.wiring.upstreams import deployments_of, opened_upstream, prices_of, routes_of

log = structlog.get_logger()

IDLE_S = 75.0  # a caller's connection is kept that long


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    settings: Settings
    app: web.Application
    metrics: Metrics
    around: Around
    endpoints: Endpoints | None = None
    draining: bool = False


@asynccontextmanager
async def assembled(settings: Settings, wall_clock: WallClock = time.time) -> AsyncIterator[Gateway]:
    """Everything wired inside the running loop, and taken down in the opposite order.

    ``wall_clock`` is the time by which answers age.

    Redis and providers are not contacted here: the gateway starts at once, whatever state they are in.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics(tuple(m.name for m in settings.models if m.name != ANY_MODEL))
        access = AccessLog(settings.telemetry.log_level, settings.telemetry.log_format)
        stack.callback(access.close)
        around = Around(metrics, access)
        stack.callback(around.tell)
        gateway = Gateway(settings, _application(settings, around), metrics, around)
        keys = key_ring_of(settings)
        deployments = Deployments(deployments_of(settings), time.monotonic)
        upstream = await stack.enter_async_context(opened_upstream(deployments=deployments))
        router = Router(routes_of(settings), deployments, upstream, metrics, prices_of(settings))
        accounts = accounts_of(settings, metrics)
        keep_accounts(router.ledger, accounts, access)
        secret = secret_of(settings)
        stores = chosen_stores(settings, secret, metrics, stack, wall_clock)
        if isinstance(stores.answers, RedisStore):
            await stack.enter_async_context(told_to_others(settings, accounts, deployments, stores.answers, metrics))
        book = opened_book(settings, secret, stack)
        pipeline = await opened_pipeline(settings, router, metrics, accounts, stack, secret, stores, book, wall_clock)
        relay = Relay(router, metrics, accounts, timing=settings.telemetry.server_timing)
        gateway.app.add_routes(Health(keys, metrics, lambda: gateway.draining).routes())
        warmer = Warmer(pipeline, keys, stores.answers, stores.questions)
        pages = CachePages(stores.answers, stores.questions, warmer, metrics, pipeline.record)
        reviewing = AnswerPages(reviewer_of(settings, book, pipeline, keys, stores), keys.operator)
        overview = OverviewPage(metrics, surface_of(settings).models)
        gateway.app.add_routes(behind(keys, [*pages.routes(), *reviewing.routes(), *overview.routes()]))
        gateway.app.add_routes(Console(keys).routes())
        uploads = await opened_uploads(settings, keys, pipeline.shelves, pipeline.finder.embedder, stack)
        for documents in uploads or ():  # before the relay, which takes every path that is left
            gateway.app.add_routes(documents.routes())
        gateway.endpoints = Endpoints(surface_of(settings), keys, pipeline, relay, metrics)
        gateway.app.add_routes(gateway.endpoints.routes())
        yield gateway


@asynccontextmanager
async def serving(settings: Settings, wall_clock: WallClock = time.time) -> AsyncIterator[tuple[Gateway, int]]:
    """A gateway listening on its port (port 0: the one in the result). Leaving the block drains and stops it."""
    server, loop = settings.server, asyncio.get_running_loop()
    async with assembled(settings, wall_clock) as gateway:
        runner = web.AppRunner(gateway.app, handler_cancellation=True, shutdown_timeout=server.drain_s)
        await runner.setup()
        assert gateway.endpoints is not None
        assert runner.server is not None
        others = partial(Connection, runner.server, loop=loop, keepalive_timeout=IDLE_S, access_log=None)  # type: ignore[arg-type]
        front = Front(
            gateway.endpoints.chat, gateway.endpoints.repeats.reply, gateway.around, others,
            max_body=_max_body(settings), body_s=server.body_s, idle_s=IDLE_S,
        )  # fmt: skip
        gateway.metrics.watch_requests(lambda: front.under_way)
        listening = await loop.create_server(
            front, settings.host, server.port, backlog=1024, reuse_port=server.workers > 1 or None
        )
        port = listening.sockets[0].getsockname()[1]
        log.info("listening", host=settings.host, port=port, models=[m.name for m in settings.models])
        try:
            yield gateway, port
        finally:
            gateway.draining = True
            listening.close()
            await asyncio.gather(front.drain(server.drain_s), runner.cleanup())


async def serve(settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers finish (``server.drain_s``).

    ``ready`` is called once requests are taken.
    """
    keep_large_apart()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with serving(settings) as (gateway, _):
        tidy_after_start()
        ready()
        refreshing = asyncio.create_task(gateway.metrics.refresh_for_others())
        await stop.wait()
        refreshing.cancel()
        log.info("draining", seconds=settings.server.drain_s)


def _application(settings: Settings, around: Around) -> web.Application:
    return web.Application(middlewares=[around.middleware], client_max_size=_max_body(settings))


def _max_body(settings: Settings) -> int:
    return int(settings.server.max_body_mb * 1024 * 1024)


def key_ring_of(settings: Settings) -> KeyRing:
    held = [(k.key.get_secret_value(), Tenant(k.tenant, frozenset(k.groups))) for k in settings.auth.keys]
    admin = settings.auth.admin_key
    return KeyRing(held, admin.get_secret_value() if admin is not None else "")


def surface_of(settings: Settings) -> Surface:
    names = tuple(m.name for m in settings.models if m.name != ANY_MODEL)
    return Surface(
        models=names,
        any_model=any(m.name == ANY_MODEL for m in settings.models),
        relay_to=next(m.name for m in settings.models if m.deployments),
        total_s=max(m.timeouts.total_s for m in settings.models),
        body_s=settings.server.body_s,
        showing=Showing(settings.telemetry.server_timing, settings.telemetry.hit_details),
    )
