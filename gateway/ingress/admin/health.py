"""Operations: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from gateway import __version__
from gateway.ingress.auth import KeyRing
from gateway.ingress.middleware import OPERATION
from gateway.metrics import Metrics


class Health:
    """``/healthz`` says the process lives; ``/readyz`` says it takes requests. Neither asks Redis or a provider:
    a dead cache must not take a working gateway out of rotation."""

    def __init__(self, keys: KeyRing, metrics: Metrics, draining: Callable[[], bool]) -> None:
        self._keys = keys
        self._metrics = metrics
        self._draining = draining

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.exposition),
        ]

    async def healthz(self, http_request: web.Request) -> web.Response:
        http_request[OPERATION] = "health"
        return web.json_response({"status": "ok", "version": __version__})

    async def readyz(self, http_request: web.Request) -> web.Response:
        http_request[OPERATION] = "health"
        if self._draining():
            return web.json_response({"status": "draining"}, status=503)
        return web.json_response({"status": "ready"})

    async def exposition(self, http_request: web.Request) -> web.Response:
        http_request[OPERATION] = "metrics"
        self._keys.require_admin(http_request.headers)
        return web.Response(
            body=self._metrics.exposition(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )
