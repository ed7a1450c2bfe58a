"""The configured collections, opened: the record, a source for each, and what may be believed of their freshness."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from gateway.ports import Source
from gateway.retrieval.gather import Rerank
from gateway.retrieval.record import Record
from gateway.retrieval.rerank import HttpReranker
from gateway.retrieval.sources.azure_search import AZURE_FIELDS, AzureSearchSource
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.retrieval.sources.http import HttpSource
from gateway.retrieval.sources.mirrored import MirroredSource
from gateway.retrieval.sources.opensearch import OpenSearchSource
from gateway.retrieval.sources.qdrant import QdrantSource
from gateway.retrieval.sources.rest import DEFAULT_FIELDS
from gateway.retrieval.unrecorded import PartialRecord, UnrecordedSource
from gateway.settings import Settings
from gateway.settings.collections import (
    AzureSearchCollection,
    CollectionSettings,
    HttpCollection,
    OpenSearchCollection,
    PgVectorCollection,
    QdrantCollection,
    RedisCollection,
    mirrored,
)


def opened_record(settings: Settings) -> Record | None:
    if not settings.documents and not settings.serves_files:
        return None
    return Record.open(Path(settings.data_dir) / "documents.db")


def freshness(settings: Settings, record: Record | None) -> PartialRecord | None:
    """The record as the cache sees it: it knows nothing of collections that live elsewhere."""
    if record is None:
        return None
    return PartialRecord(record, frozenset(c.name for c in settings.documents if c.kind != "embedded"))


async def opened_sources(
    settings: Settings, record: Record | None, model: str | None, stack: AsyncExitStack
) -> dict[str, Source]:
    """A source for each collection; ``stack`` closes them. External services are not contacted here.

    ``model`` names the embedder, None without one.
    """
    sources: dict[str, Source] = {}
    places: dict[str, list[Source]] = {}  # of each external collection: its own and its mirrors
    session: aiohttp.ClientSession | None = None
    for collection in settings.documents:
        if collection.kind == "embedded":
            assert record is not None
            record.create(collection.name, collection.groups)
            embedded = EmbeddedSource(collection.name, record, model=model)
            stack.push_async_callback(embedded.close)
            await embedded.warm()
            sources[collection.name] = embedded
            continue
        if session is None:
            session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        name = mirrored(collection) or collection.name
        place = await _external(collection.model_copy(update={"name": name}), session, stack)
        places.setdefault(name, []).append(place)
    groups = {c.name: frozenset(c.groups) for c in settings.documents}
    for name, of_one in places.items():
        source = of_one[0] if len(of_one) == 1 else MirroredSource(of_one)
        sources[name] = UnrecordedSource(source, groups[name])
    return sources


async def opened_rerankers(settings: Settings, stack: AsyncExitStack) -> dict[str, Rerank]:
    """Of the models that have one, by name. Nobody is contacted here."""
    wanted = {m.name: m.documents.rerank for m in settings.models if m.documents is not None and m.documents.rerank}
    if not wanted:
        return {}
    session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
    rerankers: dict[str, Rerank] = {}
    for name, rerank in wanted.items():
        key = rerank.api_key.get_secret_value()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers |= {k: v.get_secret_value() for k, v in rerank.headers.items()}
        rerankers[name] = HttpReranker(session, rerank.url, kind=rerank.kind, model=rerank.model, headers=headers)
    return rerankers


async def _external(collection: CollectionSettings, session: aiohttp.ClientSession, stack: AsyncExitStack) -> Source:
    name = collection.name
    match collection:
        case PgVectorCollection():
            return await _pgvector(collection, stack)
        case RedisCollection():
            from redis.asyncio import Redis

            from gateway.retrieval.sources.redis_vectors import RedisVectorSource

            redis = Redis.from_url(collection.url.get_secret_value())
            stack.push_async_callback(redis.aclose)
            return RedisVectorSource(name, redis, prefix=collection.prefix)
        case OpenSearchCollection():
            headers = {k: v.get_secret_value() for k, v in collection.headers.items()}
            return OpenSearchSource(
                name, session, collection.url, collection.index, headers=headers, flavor=collection.flavor,
                dense=collection.dense, fields=collection.fields.over(DEFAULT_FIELDS),
            )  # fmt: skip
        case QdrantCollection():
            return QdrantSource(
                name, session, collection.url, collection.collection, api_key=collection.api_key.get_secret_value(),
                using=collection.using, fields=collection.fields.over(DEFAULT_FIELDS),
            )  # fmt: skip
        case AzureSearchCollection():
            return AzureSearchSource(
                name, session, collection.endpoint, collection.index, api_key=collection.api_key.get_secret_value(),
                api_version=collection.api_version, semantic=collection.semantic,
                fields=collection.fields.over(AZURE_FIELDS),
            )  # fmt: skip
        case HttpCollection():
            headers = {k: v.get_secret_value() for k, v in collection.headers.items()}
            return HttpSource(name, session, collection.url, headers=headers, send_vector=collection.send_vector)
        case _:
            raise AssertionError(collection.kind)


async def _pgvector(collection: PgVectorCollection, stack: AsyncExitStack) -> Source:
    from psycopg_pool import AsyncConnectionPool

    from gateway.retrieval.sources.pgvector import PgVectorSource

    pool = AsyncConnectionPool(
        collection.dsn.get_secret_value(), min_size=0, max_size=collection.connections, open=False
    )
    await pool.open(wait=False)
    stack.push_async_callback(pool.close)
    return PgVectorSource(collection.name, pool, collection.table, words=collection.words)
