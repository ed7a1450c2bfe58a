"""Calibration from outside a running gateway, with the configured embedder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.cache.calibrated import Calibration
from gateway.cache.calibrating import Rows, calibrate, rows_of
from gateway.metrics import Metrics
from gateway.ports import Vector
from gateway.routing.deployments import Deployments
from gateway.routing.router import Router
from gateway.settings import Settings
from gateway.wiring.embedding import chosen_embedder, wordings_embedder
from gateway.wiring.upstreams import deployments_of, opened_upstream, routes_of


class NoEmbedder(Exception):
    """Nothing to calibrate."""


async def calibrate_from(
    settings: Settings, sources: Mapping[str, Sequence[Mapping[str, Any]]], on_text: Callable[[], None]
) -> Calibration:
    """``sources``: labelled lines by name. ``on_text`` hears of every text embedded.

    Raises NoEmbedder, UpstreamError, KeyError for lines of another shape, ValueError where nothing can be learned.
    """
    async with opened_upstream() as upstream:
        deployments = Deployments(deployments_of(settings), time.monotonic)
        router = Router(routes_of(settings), deployments, upstream, Metrics())
        embedder = wordings_embedder(settings, chosen_embedder(settings, router))
        if embedder is None:
            raise NoEmbedder("no embedder is configured: cache.semantic.embedder is off, or the local one is missing")
        kept: dict[str, Vector] = {}

        async def embed(text: str) -> Vector:
            if text not in kept:
                kept[text] = (await embedder.embed([text], query=True))[0]
            on_text()
            return kept[text]

        found: dict[str, list[Rows]] = {name: await rows_of(lines, embed) for name, lines in sources.items()}
        return calibrate(embedder.model, found)
