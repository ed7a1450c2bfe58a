"""Uploaded files and vector stores, where this gateway serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from gateway.errors import GatewayError
from gateway.ingress.auth import KeyRing
from gateway.ingress.files import Files
from gateway.ingress.vector_stores import Rights, VectorStores
from gateway.metrics import Metrics
from gateway.ports import Embedder, Source, Vector
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.record import Record
from gateway.retrieval.shelves import Shelves
from gateway.retrieval.uploads.holdings import SHARED
from gateway.retrieval.uploads.library import Library
from gateway.retrieval.uploads.loader import Loader
from gateway.settings import Settings
from gateway.wiring.documents import freshness

EMBED_S = 1.0  # for the vector of a search over /v1/vector_stores; words answer without


def opened_shelves(
    settings: Settings,
    record: Record | None,
    sources: Mapping[str, Source],
    embedder: Embedder | None,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Shelves | None:
    """What requests may name for themselves; None where there are no documents at all."""
    state = freshness(settings, record)
    if record is None or state is None:
        return None
    library = None
    if settings.serves_files:
        library = Library(Path(settings.data_dir))
        stack.callback(library.close)
        for collection in settings.documents:
            if collection.kind == "embedded":
                library.create_store(SHARED, collection.name, {}, collection.name)

    def gatherer(chosen: Mapping[str, Source], top_k: int) -> Gatherer:
        return Gatherer(chosen, state, top_k=top_k, on_source=partial(_counted, metrics, frozenset(sources)))

    shelves = Shelves(sources, record, library, gatherer, model=embedder.model if embedder is not None else None)
    stack.push_async_callback(shelves.close)
    return shelves


async def opened_uploads(
    settings: Settings, keys: KeyRing, shelves: Shelves | None, embedder: Embedder | None, stack: AsyncExitStack
) -> tuple[Files, VectorStores] | None:
    """The pages, and the loader behind them; None where the provider serves files."""
    if shelves is None or shelves.library is None:
        return None
    loader = Loader(shelves.library, shelves.record, embedder)
    await loader.start()
    stack.push_async_callback(loader.close)
    files = Files(
        keys, shelves.library, loader,
        max_bytes=int(settings.files.max_file_mb * 2**20), quota_bytes=int(settings.files.max_total_mb * 2**20),
    )  # fmt: skip
    embedded = [c for c in settings.documents if c.kind == "embedded"]
    rights = Rights(
        writers={c.name: frozenset(c.uploads) for c in embedded}, groups={c.name: frozenset(c.groups) for c in embedded}
    )
    stores = VectorStores(keys, shelves.library, loader, shelves.record, shelves, rights, partial(_embed, embedder))
    return files, stores


async def _embed(embedder: Embedder | None, text: str) -> Vector | None:
    if embedder is None:
        return None
    try:
        async with asyncio.timeout(EMBED_S):
            vectors = await embedder.embed([text], query=True)
    except (TimeoutError, GatewayError):
        return None
    first: Vector = vectors[0]
    return first


def _counted(metrics: Metrics, known: frozenset[str], source: str, outcome: str, seconds: float) -> None:
    """One series for all vector stores: their number is up to the callers."""
    metrics.source_ended(source if source in known else "vector_store", outcome, seconds)
