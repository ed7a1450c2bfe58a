"""Ingestion from outside a running gateway, which notices by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.metrics import Metrics
from gateway.ports import Embedder
from gateway.retrieval.ingest.ingest import IngestReport, Progress, ingest, put_bytes
from gateway.retrieval.ingest.watch import watch
from gateway.retrieval.record import Record
from gateway.routing.deployments import Deployments
from gateway.routing.router import Router
from gateway.settings import Settings
from gateway.wiring.embedding import chosen_embedder
from gateway.wiring.upstreams import deployments_of, opened_upstream, routes_of


@dataclass(frozen=True, slots=True)
class Choice:
    """What to read, and for whom."""

    path: Path
    groups: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prune: bool = False


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
    """Bring a collection up to date with a file or folder."""
    async with _opened(settings) as (record, embedder):
        return await ingest(
            record, collection, [path], embedder=embedder, groups=groups or None, include=include, exclude=exclude,
            on_progress=on_progress, prune=prune,
        )  # fmt: skip


async def watch_into(
    settings: Settings,
    collection: str,
    choice: Choice,
    stop: asyncio.Event,
    on_report: Callable[[IngestReport], None],
    on_progress: Callable[[Progress], None],
) -> None:
    """Bring a collection up to date with a folder and keep it so until ``stop``."""
    async with _opened(settings) as (record, embedder):
        await watch(
            record, collection, choice.path, stop, embedder=embedder, groups=choice.groups or None,
            include=choice.include, exclude=choice.exclude, prune=choice.prune, on_report=on_report,
            on_progress=on_progress,
        )  # fmt: skip


async def put_into(settings: Settings, collection: str, name: str, data: bytes, groups: tuple[str, ...]) -> int:
    """Store one document from its bytes; returns its number of passages. Raises UnreadableFile."""
    async with _opened(settings) as (record, embedder):
        return await put_bytes(record, collection, name, data, embedder=embedder, groups=groups)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Record, Embedder | None]]:
    async with opened_upstream() as upstream:
        deployments = Deployments(deployments_of(settings), time.monotonic)
        router = Router(routes_of(settings), deployments, upstream, Metrics())
        record = Record.open(Path(settings.data_dir) / "documents.db")
        try:
            yield record, chosen_embedder(settings, router)
        finally:
            record.close()
