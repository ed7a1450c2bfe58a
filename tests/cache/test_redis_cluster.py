"""The same store and index on a Redis Cluster of three nodes: one scope, one slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis as sync_redis

from gateway.answers.book import Conflict
from gateway.answers.redis_book import RedisBook
from gateway.answers.reviewed import Reviewed, Status, change_of
from gateway.cache.purging import Selection, purge
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from gateway.chat import CachedQuestion
from gateway.errors import StoreUnavailable
from tests.cache.makers import SECRET, entry, key, unit
from tests.redis_server import free_port, redis_server

SLOTS = 16_384


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]  # the default, port + 10000, may not exist
        nodes = [
            stack.enter_context(redis_server("--cluster-enabled", "yes", "--cluster-port", str(bus))) for bus in buses
        ]
        clients = [stack.enter_context(sync_redis.Redis.from_url(node.url)) for node in nodes]
        for number, client in enumerate(clients):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        give_up_at = time.monotonic() + 15
        while not all(client.cluster("info")["cluster_state"] == "ok" for client in clients):
            assert time.monotonic() < give_up_at, "the cluster did not form"
            time.sleep(0.05)
        yield nodes[0].url


async def test_store_and_index_work_on_a_cluster(cluster_url: str) -> None:
    link = RedisLink(redis_client(cluster_url, cluster=True), timeout_s=1.0)
    store, index = RedisStore(link, SECRET), RedisIndex(link, SECRET)
    for _ in range(50):  # right after forming, nodes may still point elsewhere
        try:
            await store.get(key())
            break
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    for number in range(30):
        place = key("k", scope=f"{number:040x}")
        kept = entry(place, created_at=time.time(), tags=("t",))
        await store.put(kept)
        await index.add(CachedQuestion("연차는 며칠?", place), unit(1, 0), 60)
        assert await store.get(place) == kept
        assert len(await index.search(place.scope, unit(1, 0), 8)) == 1
    other = key("k", scope=f"{29:040x}")
    assert (await store.stats())["bytes"] > 0
    assert await purge(store, index, Selection(entry=other.handle)) == 1
    assert await purge(store, index, Selection(tag="t")) == 29
    assert [await store.get(key("k", scope=f"{number:040x}")) for number in range(30)] == [None] * 30
    await store.put(entry(other, created_at=time.time(), generation=store.generation))
    assert await store.get(other) is not None
    assert await purge(store, index, Selection()) == 1
    assert await index.search(other.scope, unit(1, 0), 8) == []
    assert "vector sets" in await index.probe()
    await link.close()


async def test_the_book_of_reviewed_answers_works_on_a_cluster(cluster_url: str) -> None:
    link = RedisLink(redis_client(cluster_url, cluster=True), timeout_s=1.0)
    book = RedisBook(link, SECRET)
    for _ in range(50):  # right after forming, nodes may still point elsewhere
        try:
            await book.head()
            break
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    answer = Reviewed("ans_1", "acme", "m", "연차는 며칠?", Status.PINNED, {"ko": "15일"})
    kept = await book.save(answer, change_of(None, answer, "pin"))
    assert (await book.all(), await book.head()) == ([kept], 1)
    assert [line.action for line in await book.history(5)] == ["pin"]
    with pytest.raises(Conflict):
        await book.save(answer, change_of(None, answer, "pin"))
    await link.close()
