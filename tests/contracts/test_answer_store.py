"""What every AnswerStore promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.cache.memory import MemoryStore
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from tests.cache.makers import SECRET, Wall, answer, entry, key, passage

Store = MemoryStore | RedisStore


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, wall: Wall) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(wall_clock=wall)
        return
    link = RedisLink(redis_client(request.getfixturevalue("redis_url"), timeout_s=1), timeout_s=1)
    yield RedisStore(link, SECRET, wall_clock=wall)
    await link.close()


async def test_an_entry_comes_back_as_it_was_put(store: Store) -> None:
    kept = entry(
        answer=answer(
            "예 😀 \u1112\u1161\u11ab", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
        ),
        citations=(passage(),),
        evidence=("hr/leave.md#0",),
        dependencies={"hr/leave.md": "v1"},
        epoch="e1",
        tags=("faq",),
        namespace="beta",
    )
    await store.put(kept)
    assert await store.get(kept.key) == kept


async def test_nothing_is_found_under_another_key_scope_or_tenant(store: Store) -> None:
    await store.put(entry(key("a", "5c", "acme")))
    for other in (key("b", "5c", "acme"), key("a", "6d", "acme"), key("a", "5c", "globex")):
        assert await store.get(other) is None


async def test_an_entry_ends_with_its_time_to_live(store: Store, wall: Wall) -> None:
    await store.put(entry(ttl_s=10.0))
    wall.now += 9
    assert await store.get(key()) is not None
    wall.now += 2
    assert await store.get(key()) is None


async def test_the_later_answer_replaces_the_earlier(store: Store) -> None:
    await store.put(entry(text="하나"))
    await store.put(entry(text="둘"))
    found = await store.get(key())
    assert found is not None
    assert found.answer.text == "둘"


async def test_a_deleted_entry_is_gone(store: Store) -> None:
    await store.put(entry())
    assert await store.delete(key())
    assert not await store.delete(key())
    assert await store.get(key()) is None


async def test_purge_takes_what_matches_and_nothing_else(store: Store) -> None:
    for number in range(20):
        await store.put(entry(key(f"k{number}"), tags=("old",) if number % 2 else ()))
    assert await store.purge(lambda kept: "old" in kept.tags) == 10
    stats: dict[str, Any] = await store.stats()
    assert stats["entries"] == 10
