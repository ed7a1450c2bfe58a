"""What every AnswerStore promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.cache.memory import MemoryStore
from gateway.cache.purging import Selection
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


SELECTED: dict[str, tuple[dict[str, Any], Selection]] = {
    "model": ({"requested_model": "other"}, Selection(model="handbook")),
    "namespace": ({"namespace": "beta"}, Selection(namespace="alpha")),
    "tag": ({"tags": ("faq2",)}, Selection(tag="faq")),
    "document": ({"dependencies": {"hr/leave.md2": "v1"}}, Selection(document="hr/leave.md")),
    "collection": ({"dependencies": {"hr2/leave.md": "v1"}}, Selection(document="hr/")),
    "tenant": ({"under": key("k", "6d", "globex")}, Selection(tenant="acme")),
    "entry": ({"under": key("k2")}, Selection(entry=key("k").handle)),
    "all of them": ({"under": key("k", "6d", "globex")}, Selection(model="handbook", tag="faq", tenant="acme")),
}
FULL: dict[str, Any] = {
    "namespace": "alpha",
    "tags": ("faq", "hr"),
    "citations": (passage(),),
    "dependencies": {"hr/leave.md": "v1"},
}


async def purged(store: Store, selection: Selection) -> int:
    return sum([len(batch) async for batch in store.purge(selection)])


@pytest.mark.parametrize("name", SELECTED)
async def test_purge_takes_what_is_selected_and_nothing_else(store: Store, name: str) -> None:
    other, selection = SELECTED[name]
    wanted = entry(key("k"), **FULL)
    near = entry(**{"under": key("k3"), **FULL, "citations": (), **other})
    await store.put(wanted)
    await store.put(near)
    assert await purged(store, selection) == 1
    assert await store.get(wanted.key) is None
    assert await store.find(wanted.key.handle) is None
    assert await store.get(near.key) == near
    assert await purged(store, selection) == 0


async def test_what_was_being_made_during_a_purge_is_void_and_what_began_after_it_is_not(store: Store) -> None:
    begun = store.generation
    await purged(store, Selection(tag="faq"))
    await store.put(entry(key("late"), **FULL, generation=begun))
    assert await store.get(key("late")) is None
    await store.put(entry(key("other"), generation=begun))  # not selected
    assert await store.get(key("other")) is not None
    await store.put(entry(key("late"), **FULL, generation=store.generation))
    assert await store.get(key("late")) is not None


async def test_an_administrator_finds_lists_and_counts_entries(store: Store, wall: Wall) -> None:
    kept = [entry(key(f"k{number}"), ttl_s=10.0 if number else 100.0) for number in range(3)]
    for one in kept:
        await store.put(one)
    assert await store.find(kept[0].key.handle) == kept[0]
    assert await store.find("nonsense") is None
    assert sorted(e.key.digest for e in [e async for e in store.entries()]) == ["k0", "k1", "k2"]
    assert (await store.stats())["bytes"] > 0
    wall.now += 50
    assert [e.key.digest for e in [e async for e in store.entries()]] == ["k0"]


async def test_what_expired_is_remembered_and_what_was_deleted_is_not(store: Store, wall: Wall) -> None:
    await store.put(entry(ttl_s=10.0))
    wall.now += 20
    assert await store.get(key()) is None
    assert await store.earlier(key()) == entry(ttl_s=10.0)
    await store.delete(key())
    assert await store.earlier(key()) is None


async def test_what_was_purged_is_not_remembered(store: Store, wall: Wall) -> None:
    await store.put(entry(ttl_s=10.0, tags=("faq",)))
    wall.now += 20
    async for _ in store.purge(Selection(tag="faq")):
        pass
    assert await store.earlier(key()) is None


async def test_an_alias_comes_back_as_one(store: Store) -> None:
    await store.put(entry(alias_of="cd34"))
    found = await store.get(key())
    assert found is not None
    assert found.canonical_key == key("cd34")
