"""The ledger of purges, and two gateways on one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis as sync_redis
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.purging import MAX_CUTS, Cut, Ledger, Selection, purge
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_journal import JournalIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import LEDGER, RedisStore
from gateway.chat import CachedQuestion
from tests.cache.makers import SECRET, Wall, entry, key, unit

EVERYTHING = Selection()


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    made = RedisLink(redis_client(redis_url, timeout_s=1), timeout_s=1)
    yield made
    await made.close()


def test_a_selection_refuses_what_it_does_not_know() -> None:
    for wrong, told in (({"tagg": "x"}, "tagg"), ({"tag": ""}, "tag"), ({"tag": 1}, "tag"), ({"tag": None}, "tag")):
        with pytest.raises(ValueError, match=told):
            Selection.of(wrong)


def test_entries_newer_than_the_ledger_are_void_for_their_own_ledger_is_lost() -> None:
    assert Ledger().voids(entry(generation=5))
    assert not Ledger(5).voids(entry(generation=5))


def test_a_full_ledger_voids_more_rather_than_less() -> None:
    ledger = Ledger()
    for number in range(1, MAX_CUTS + 3):
        ledger.cut(number, Selection(tag=str(number)))
    assert len(ledger.cuts) == MAX_CUTS
    assert ledger.voids(entry(generation=1, tags=("none of them",)))  # the first two cuts are now a floor
    assert not ledger.voids(entry(generation=2, tags=("none of them",)))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12), st.integers(0, 12), st.integers(0, 3))
def test_a_ledger_voids_exactly_what_was_made_before_a_cut_that_selects_it(
    cuts: list[tuple[bool, int]], made: int, tag: int
) -> None:
    ledger = Ledger()
    selections = [EVERYTHING if all_ else Selection(tag=f"t{number}") for all_, number in cuts]
    for generation, selection in enumerate(selections, start=1):
        ledger.cut(generation, selection)
    made = min(made, len(cuts))
    one = entry(tags=(f"t{tag}",), generation=made)
    assert ledger.voids(one) == any(selection.selects(one) for selection in selections[made:])
    ledger.replace(len(cuts), [Cut(n, s) for n, s in enumerate(selections, start=1)][::-1])
    assert ledger.voids(one) == any(selection.selects(one) for selection in selections[made:])


async def test_a_purge_at_one_gateway_is_a_purge_at_all(link: RedisLink) -> None:
    wall = Wall()
    here, there = (RedisStore(link, SECRET, wall_clock=wall) for _ in range(2))
    index = RedisIndex(link, SECRET, wall_clock=wall)
    old = [entry(key(f"k{n}"), tags=("faq",)) for n in range(5)]
    for one in old:
        await here.put(one)
    assert await purge(there, index, Selection(tag="faq")) == 5
    for one in old:  # a copy that was being written, or came back from a replica
        await here.put(one)
        assert await here.get(one.key) is None
        assert await there.get(one.key) is None
    await here.put(entry(key("new"), tags=("faq",), generation=here.generation))
    assert await there.get(key("new")) is not None


async def test_a_ledger_that_is_lost_brings_nothing_back(link: RedisLink, redis_url: str) -> None:
    wall = Wall()
    store, index = RedisStore(link, SECRET, wall_clock=wall), RedisIndex(link, SECRET, wall_clock=wall)
    await purge(store, index, EVERYTHING)
    await store.put(entry(key("kept"), generation=store.generation))
    with sync_redis.Redis.from_url(redis_url) as client:
        client.delete(LEDGER)
        assert await store.get(key("kept")) is None
        await purge(store, index, Selection(tag="else"))  # its generation is above every earlier one
        assert await store.get(key("kept")) is not None
        client.hset(LEDGER, f"c:{store.generation + 1}", b"not json")
        client.hset(LEDGER, "n", store.generation + 1)
        assert await store.get(key("kept")) is None  # unreadable: in doubt, everything
        client.delete(LEDGER)
        client.set(LEDGER, "planted")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await store.get(key("kept"))


async def test_questions_go_with_their_answers_in_memory() -> None:
    wall = Wall()
    await _questions_go_with_their_answers(wall, MemoryStore(wall_clock=wall), MemoryIndex(wall_clock=wall))


@pytest.mark.parametrize("kind", [RedisIndex, JournalIndex])
async def test_questions_go_with_their_answers_in_redis(
    kind: type[RedisIndex | JournalIndex], link: RedisLink, redis_url: str
) -> None:
    wall = Wall(4_000_000_000.0)  # Redis expires keys by its own clock: keep ours ahead of it
    index = kind(link, SECRET, wall_clock=wall)
    await _questions_go_with_their_answers(wall, RedisStore(link, SECRET, wall_clock=wall), index)
    with sync_redis.Redis.from_url(redis_url) as client:
        assert client.keys("ocho:*:[evj]:*") == []


async def _questions_go_with_their_answers(
    wall: Wall, store: MemoryStore | RedisStore, index: MemoryIndex | RedisIndex | JournalIndex
) -> None:
    for tenant, scope in (("acme", "5c"), ("acme", "5d"), ("globex", "6d")):
        for tag in ("a", "b"):
            one = entry(key(tag, scope, tenant), question=f"질문 {tag}", tags=(tag,), created_at=wall.now)
            await store.put(one)
            await index.add(CachedQuestion(one.question, one.key), unit(1, 0 if tag == "a" else 1), 600)

    async def found(scope: str, tenant: str) -> list[str]:
        return sorted(n.question.text for n in await index.search(key("", scope, tenant).scope, unit(1, 0), 8))

    assert await purge(store, index, Selection(tag="a", tenant="acme")) == 2
    assert await found("5c", "acme") == await found("5d", "acme") == ["질문 b"]
    assert await found("6d", "globex") == ["질문 a", "질문 b"]
    assert await purge(store, index, Selection(tenant="acme")) == 2
    assert await found("5c", "acme") == []
    assert await found("6d", "globex") == ["질문 a", "질문 b"]
    assert await purge(store, index, EVERYTHING) == 2
    assert await found("6d", "globex") == []


async def test_writers_and_readers_go_on_while_a_purge_sweeps(link: RedisLink) -> None:
    wall = Wall()
    store, index = RedisStore(link, SECRET, wall_clock=wall), RedisIndex(link, SECRET, wall_clock=wall)
    for number in range(900):
        await store.put(entry(key(f"k{number}"), tags=("old",)))
    done = asyncio.Event()
    seen: list[int] = []

    async def read() -> None:
        while not done.is_set():
            before = store.generation
            found = [n for n in range(0, 900, 90) if await store.get(key(f"k{n}")) is not None]
            if before:  # the cut was known when these reads began
                seen.extend(found)
            await asyncio.sleep(0)

    async def write() -> None:
        number = 0
        while not done.is_set():
            await store.put(entry(key(f"k{number % 900}"), tags=("old",), generation=0))  # began before the purge
            number += 1

    others = [asyncio.create_task(read()), asyncio.create_task(write())]
    await asyncio.sleep(0.05)
    assert await purge(store, index, Selection(tag="old")) >= 900
    assert [n for n in range(900) if await store.get(key(f"k{n}")) is not None] == []
    done.set()
    await asyncio.gather(*others)
    assert seen == []
