"""The deployments of the configuration, the routes to them, and the connection they share."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from gateway.chat import Deployment
from gateway.ports import Timeouts
from gateway.routing.deployments import Deployments
from gateway.routing.hedge import HedgeBudget
from gateway.routing.router import Hedge, Route
from gateway.routing.spend import Price
from gateway.settings import Settings
from gateway.settings.models import HedgeSettings, ModelSettings
from gateway.upstream.client import UpstreamClient
from gateway.upstream.either import EitherHttp
from gateway.upstream.general import GeneralHttp
from gateway.upstream.lean import LeanHttp
from gateway.upstream.transport import Http

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@asynccontextmanager
async def opened_upstream(
    environ: Mapping[str, str] = os.environ, deployments: Deployments | None = None
) -> AsyncIterator[UpstreamClient]:
    """The connections to every provider; all by the general client where the environment names a proxy.

    ``deployments``: left alone while their quota is used up, by the headers of their replies.
    """

    def rest(name: str, seconds: float) -> None:
        if deployments is not None:
            now = deployments.clock()
            deployments[name].leave_alone(now + seconds, now)

    general = GeneralHttp()
    http: Http = general if any(environ.get(name) for name in PROXIES) else EitherHttp(LeanHttp(), general)
    try:
        yield UpstreamClient(http, time.monotonic, rest)
    finally:
        await http.close()


def deployments_of(settings: Settings) -> tuple[Deployment, ...]:
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


def routes_of(settings: Settings) -> dict[str, Route]:
    return {model.name: _route(settings.answering(model), model.answers_with or "") for model in settings.models}


def _route(answering: ModelSettings, named: str) -> Route:
    return Route(
        deployments=tuple(d.name for d in answering.deployments),
        fallbacks=answering.fallbacks,
        timeouts=Timeouts(**answering.timeouts.model_dump()),
        retries=answering.retries,
        model=named,
        hedge=_hedge(answering.hedge),
    )


def _hedge(hedge: HedgeSettings | None) -> Hedge | None:
    if hedge is None:
        return None
    return Hedge(int(hedge.after[1:]) / 100, hedge.min_s, HedgeBudget(hedge.max_extra_tokens))


def prices_of(settings: Settings) -> dict[str, Price]:
    return {m.name: Price(m.price.input, m.price.output) for m in settings.models if m.price is not None}
