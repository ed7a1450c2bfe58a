"""What is remembered on disk: over restarts and losses of the cache, never past a purge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis_client

from gateway.cache import canonical
from gateway.cache.disk import BLIND_S, EARLIER_S, Disk
from gateway.cache.memory import MemoryStore
from gateway.cache.purging import Selection
from gateway.cache.redis_link import RedisLink
from gateway.cache.redis_link import redis_client as link_to
from gateway.cache.redis_store import RedisStore
from tests.cache.makers import SECRET, Wall, answer, entry, evidence, key

Store = MemoryStore | RedisStore


@asynccontextmanager
async def opened(path: Path, wall: Wall, secret: bytes = SECRET, max_bytes: int = 1 << 20) -> AsyncIterator[Disk]:
    disk = Disk(path / "remembered.db", secret, max_bytes, wall)
    try:
        yield disk
    finally:
        await disk.close()


@asynccontextmanager
async def stored(kind: str, request: pytest.FixtureRequest, disk: Disk, wall: Wall) -> AsyncIterator[Store]:
    if kind == "memory":
        yield MemoryStore(wall_clock=wall, disk=disk)
        return
    link = RedisLink(link_to(request.getfixturevalue("redis_url"), timeout_s=1), timeout_s=1)
    yield RedisStore(link, SECRET, wall_clock=wall, disk=disk)
    await link.close()


async def lose_all(kind: str, request: pytest.FixtureRequest) -> None:
    """The cache forgets, as by a restart (memory) or an eviction of every copy (Redis)."""
    if kind == "redis":
        client = redis_client.from_url(request.getfixturevalue("redis_url"))
        await client.flushdb()
        await client.aclose()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_an_answer_survives_the_loss_of_every_copy_in_the_cache(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    kept = entry(dependencies={"hr/leave.md": "v1"})
    async with opened(tmp_path, wall) as disk, stored(kind, request, disk, wall) as store:
        await store.put(kept)
    await lose_all(kind, request)
    async with opened(tmp_path, wall) as disk, stored(kind, request, disk, wall) as store:
        assert await store.get(kept.key) is None
        assert await store.earlier(kept.key) == kept
        wall.now += kept.ttl_s + EARLIER_S + 1
        assert await store.earlier(kept.key) is None


@pytest.mark.parametrize("kind", ["memory", "redis"])
@pytest.mark.parametrize("selection", [Selection(), Selection(model="handbook"), Selection(entry=key().handle)])
async def test_what_was_purged_is_not_remembered(
    kind: str, selection: Selection, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    other = entry(key("other"), requested_model="else")
    async with opened(tmp_path, wall) as disk, stored(kind, request, disk, wall) as store:
        for one in (entry(), other):
            await store.put(one)
        async for _ in store.purge(selection):
            pass
        assert await store.earlier(key()) is None
        assert (await disk.get(other.key) is None) == (selection == Selection())
    async with opened(tmp_path, wall) as disk:
        assert await disk.get(key()) is None


async def test_what_is_purged_while_the_disk_is_read_is_not_given(tmp_path: Path) -> None:
    wall = Wall()
    async with opened(tmp_path, wall) as disk:
        await disk.put(entry())
        store = MemoryStore(wall_clock=wall, disk=disk)
        reading = asyncio.create_task(store.earlier(key()))
        await asyncio.sleep(0)  # it waits for the disk
        async for _ in store.purge(Selection()):
            pass
        assert await reading is None


async def test_what_another_gateway_purged_does_not_come_back_from_this_ones_disk(
    redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    (tmp_path / "elsewhere").mkdir()
    async with (
        opened(tmp_path, wall) as here,
        opened(tmp_path / "elsewhere", wall) as there,
        stored("redis", request, here, wall) as mine,
        stored("redis", request, there, wall) as theirs,
    ):
        await mine.put(entry())
        async for _ in theirs.purge(Selection(model="handbook")):
            pass
        assert await here.get(key()) is not None
        assert await mine.earlier(key()) is None
        assert await here.get(key()) is None  # nor once Redis has lost what it knew of the purge
        await mine.put(newer := entry(generation=mine.generation))
        assert await here.get(key()) == newer


@pytest.mark.parametrize("followed", ["by its rounds", "not at all"])
async def test_nor_after_redis_lost_what_it_knew_of_the_purge(
    followed: str, redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    async with opened(tmp_path, wall) as here, stored("redis", request, here, wall) as mine:
        await mine.follow()  # type: ignore[union-attr]
        await mine.put(entry())
        async with stored("redis", request, here, wall) as theirs:
            theirs._disk = None  # on another machine
            async for _ in theirs.purge(Selection()):
                pass
        if followed == "by its rounds":
            await mine.follow()  # type: ignore[union-attr]
        else:
            wall.now += BLIND_S + 1
        await lose_all("redis", request)
        assert await mine.earlier(key()) is None
        assert await here.get(key()) is None


async def test_a_redis_that_comes_back_as_it_was_voids_nothing(
    redis_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    async with opened(tmp_path, wall) as disk, stored("redis", request, disk, wall) as store:
        for _ in range(2):  # the first begins the ledger
            await store.follow()  # type: ignore[union-attr]
        await store.put(entry())
        wall.now += 86_400
        await store.follow()  # type: ignore[union-attr]
        assert await disk.get(key()) == entry()


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_a_deleted_answer_is_gone_from_the_disk_as_well(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    wall = Wall()
    async with opened(tmp_path, wall) as disk, stored(kind, request, disk, wall) as store:
        await store.put(entry())
        await store.delete(key())
        assert await disk.get(key()) is None
        assert await store.earlier(key()) is None


async def test_bytes_of_another_secret_or_another_tenant_are_nothing(tmp_path: Path) -> None:
    wall = Wall()
    async with opened(tmp_path, wall) as disk:
        await disk.put(entry())
        assert await disk.get(key(tenant="globex")) is None
    async with opened(tmp_path, wall, secret=b"another") as disk:
        assert await disk.get(key()) is None


async def test_the_longest_unwritten_go_first_when_room_is_short(tmp_path: Path) -> None:
    wall = Wall()
    text = "x" * 5_000
    async with opened(tmp_path, wall, max_bytes=100_000) as disk:
        for number in range(401):
            await disk.put(entry(key(str(number)), text))
        assert await disk.get(key("0")) is None
        assert await disk.get(key("400")) is not None
    assert (tmp_path / "remembered.db").stat().st_mode & 0o077 == 0


async def test_an_alias_does_not_stand_in_with_what_was_corrected_since(tmp_path: Path) -> None:
    wall = Wall()
    main, corrected = entry(key("a"), "6일입니다."), entry(key("a"), "16일입니다.")
    other = canonical.alias(key("b"), "연차 며칠?", main, evidence(), wall.now)
    async with opened(tmp_path, wall) as disk:
        store = MemoryStore(wall_clock=wall, disk=disk)
        for one in (main, other, corrected):
            await store.put(one)
        again = MemoryStore(wall_clock=wall, disk=disk)
        assert (await canonical.followed(again, other)).answer == answer("16일입니다.")
