"""Ingestion from outside a running gateway."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.metrics import Metrics
from gateway.retrieval.ingest.ingest import IngestReport, Progress, ingest
from gateway.retrieval.record import Record
from gateway.routing.deployments import Deployments
from gateway.routing.router import Router
from gateway.settings import Settings
from gateway.wiring.embedding import chosen_embedder
from gateway.wiring.upstreams import deployments_of, opened_upstream, routes_of


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
        upstream = await stack.enter_async_context(opened_upstream())
        metrics = Metrics()
        deployments = Deployments(deployments_of(settings), time.monotonic)
        router = Router(routes_of(settings), deployments, upstream, metrics)
        record = Record.open(Path(settings.data_dir) / "documents.db")
        stack.callback(record.close)
        return await ingest(
            record, collection, [path], embedder=chosen_embedder(settings, router), groups=groups or None,
            include=include, exclude=exclude, on_progress=on_progress, prune=prune,
        )  # fmt: skip
