"""What leaves the in-process cache first."""

from __future__ import annotations

import random

from gateway.cache.memory import MemoryStore
from gateway.cache.shelf import Shelf
from tests.cache.makers import Wall, entry, key


async def test_a_flood_of_cheap_answers_does_not_push_out_a_valuable_one() -> None:
    store = MemoryStore(max_bytes=100_000, wall_clock=Wall())
    for number in range(10):
        await store.put(entry(key(f"dear{number}"), took_s=30.0))
    for _ in range(2):
        for number in range(10):
            assert await store.get(key(f"dear{number}")) is not None
    for number in range(3_000):  # each used once more, right after it was made: recency alone would prefer it
        await store.put(entry(key(f"cheap{number}"), took_s=0.4))
        await store.get(key(f"cheap{number}"))
    assert all([await store.get(key(f"dear{number}")) is not None for number in range(10)])
    assert (await store.stats())["evictions"] > 2_000


async def test_what_was_valuable_once_and_is_used_no_more_ages_away() -> None:
    store = MemoryStore(max_bytes=20_000, wall_clock=Wall())
    await store.put(entry(key("old"), took_s=5.0))
    for number in range(4_000):
        await store.put(entry(key(f"new{number}"), took_s=1.0))
    assert await store.get(key("old")) is None


async def test_of_two_equally_used_answers_the_long_cheap_one_leaves_first() -> None:
    store = MemoryStore(max_bytes=30_000, wall_clock=Wall())
    await store.put(entry(key("long"), "가" * 3_000, took_s=10.0))
    await store.put(entry(key("short"), "가" * 300, took_s=10.0))
    await store.put(entry(key("more"), "나" * 1_500, took_s=10.0))
    assert await store.get(key("long")) is None
    assert await store.get(key("short")) is not None


async def test_one_tenant_cannot_push_out_another() -> None:
    reasons: list[str] = []
    store = MemoryStore(max_bytes=60_000, wall_clock=Wall(), on_evict=reasons.append)
    for number in range(10):
        await store.put(entry(key(f"k{number}", tenant="small"), took_s=0.1))
    for number in range(2_000):
        await store.put(entry(key(f"k{number}", tenant="greedy"), took_s=60.0))  # worth far more by itself
    assert all([await store.get(key(f"k{number}", tenant="small")) is not None for number in range(10)])
    assert set(reasons) == {"room"}


async def test_a_tenant_stays_within_its_limit_also_while_there_is_room() -> None:
    reasons: list[str] = []
    store = MemoryStore(max_bytes=1_000_000, tenant_bytes=20_000, wall_clock=Wall(), on_evict=reasons.append)
    for number in range(200):
        await store.put(entry(key(f"k{number}")))
    assert 10_000 < (await store.stats())["bytes"] <= 20_000
    assert set(reasons) == {"tenant"}


async def test_what_has_ended_leaves_before_what_lives() -> None:
    wall, reasons = Wall(), list[str]()
    store = MemoryStore(max_bytes=10_000, wall_clock=wall, on_evict=reasons.append)  # room for ten of them
    for number in range(8):
        await store.put(entry(key(f"short{number}"), ttl_s=10.0, took_s=60.0))
    wall.now += 11
    for number in range(8):
        await store.put(entry(key(f"long{number}"), created_at=wall.now))
    assert all([await store.get(key(f"long{number}")) is not None for number in range(8)])
    assert set(reasons) == {"ended"}


def test_bytes_and_nodes_are_accounted_for_whatever_happens() -> None:
    shelf, dice, sizes = Shelf(), random.Random(5), dict[str, int]()
    for step in range(20_000):
        name = f"k{dice.randrange(50)}"
        match dice.randrange(4):
            case 0 | 1:
                sizes[name] = dice.randrange(1, 100)
                shelf.put(entry(key(name), took_s=dice.random()), sizes[name])
            case 2 if name in sizes:
                shelf.use(key(name))
            case 3:
                assert shelf.drop(key(name)) == (sizes.pop(name, None) is not None)
        if step % 97 == 0 and sizes:
            del sizes[shelf.evict().key.digest]
        assert shelf.bytes == sum(sizes.values())
        assert len(shelf) == len(sizes)
        assert len(shelf._heap) <= 2 * len(sizes) + 65
