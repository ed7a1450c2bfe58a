"""Redis in trouble costs a request nothing noticeable, and a log reader one line per change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest
import redis as sync_redis
from structlog.testing import capture_logs

from gateway.cache.breaker import Breaker
from gateway.cache.exact import ExactCache
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from gateway.cache.semantic import SemanticCache
from gateway.chat import CachedQuestion, CacheWishes
from gateway.errors import StoreUnavailable
from gateway.ports import Vector
from tests.cache.makers import SECRET, Wall, ask, entry, key, keys_of, unit
from tests.redis_server import RedisServer, free_port, redis_server

WISHES = CacheWishes()
V = unit(1, 0, 0, 0)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[RedisLink]:
    link = make_link(server.url)
    await warm(link)
    yield link
    await link.close()


def make_link(url: str, timeout_s: float = 0.05) -> RedisLink:
    return RedisLink(
        redis_client(url),
        timeout_s=timeout_s,
        breaker=Breaker("redis", failures=3, cooldown_s=0.2),
        writes=Breaker("redis writes", failures=3, cooldown_s=0.2),
    )


async def warm(link: RedisLink) -> None:
    for _ in range(20):  # the first connection may be slower than the budget on a busy machine
        try:
            await link.run(lambda redis: redis.ping())
            return
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def vector() -> Vector:
    return V


async def lookup(link: RedisLink) -> tuple[Any, Any]:
    exact = ExactCache(RedisStore(link, SECRET))
    semantic = SemanticCache(RedisStore(link, SECRET), RedisIndex(link, SECRET))
    keys = keys_of(ask())
    return (
        await exact.lookup(keys, WISHES),
        await semantic.lookup(keys, ask().question, vector(), None, WISHES),
    )


async def test_a_hung_redis_is_a_quick_miss_and_comes_back(server: RedisServer, link: RedisLink) -> None:
    with capture_logs() as logs:
        server.pause()
        began = time.monotonic()
        for _ in range(50):
            assert await lookup(link) == (None, None)
        assert time.monotonic() - began < 1.0  # three budgets of 50 ms, a probe or two, then nothing
        server.resume()
        await asyncio.sleep(1.0)
        await warm(link)
        await lookup(link)
        assert link.up
    assert [line["event"] for line in logs] == ["store away, going on without it", "store back"]


async def test_what_was_answered_while_redis_is_away_is_given_again_until_it_is_back(
    server: RedisServer, link: RedisLink
) -> None:
    wall = Wall(time.time())
    store = RedisStore(link, SECRET, wall_clock=wall)
    made = entry(created_at=wall.now, ttl_s=60.0)
    server.pause()
    with pytest.raises(StoreUnavailable):
        await store.get(made.key)
    with pytest.raises(StoreUnavailable):
        await store.put(made)
    assert await store.get(made.key) == made
    with pytest.raises(StoreUnavailable):
        await store.get(key(tenant="globex"))
    wall.now += 61
    assert await store.get(made.key) is None
    wall.now -= 61
    server.resume()
    await asyncio.sleep(1.0)
    await warm(link)
    await store.follow()
    server.pause()
    with pytest.raises(StoreUnavailable):
        await store.get(made.key)


async def test_no_redis_at_all_delays_nobody() -> None:
    link = make_link(f"redis://127.0.0.1:{free_port()}/0")
    with capture_logs() as logs:
        for _ in range(20):
            assert await lookup(link) == (None, None)
    assert len(logs) == 1
    await link.close()


@pytest.mark.parametrize("trouble", ["read only", "out of memory"])
async def test_refused_writes_leave_reads_alone(server: RedisServer, link: RedisLink, trouble: str) -> None:
    store = RedisStore(link, SECRET)
    kept = entry(created_at=time.time())
    await store.put(kept)
    with sync_redis.Redis.from_url(server.url) as admin:
        if trouble == "read only":
            admin.replicaof("127.0.0.1", free_port())
        else:
            admin.config_set("maxmemory", 1)
    with capture_logs() as logs:
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await store.put(kept)
            assert await store.get(kept.key) == kept
    assert [line["store"] for line in logs] == ["redis writes"]
    assert link.up


PLANTED = [
    b"", b"\x01", b"\x00" * 40, b'{"answer": "planted"}', b"\x01" + b"\0" * 16 + b'{"tenant":"acme"}', b"\xff" * 500,
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_answer_is_a_miss(server: RedisServer, link: RedisLink, planted: bytes) -> None:
    keys = keys_of(ask())
    with sync_redis.Redis.from_url(server.url) as attacker:
        attacker.set(f"ocho:{{{keys.scope.digest}}}:e:{keys.exact.digest}", planted)
    assert await RedisStore(link, SECRET).get(keys.exact) is None


async def test_an_answer_copied_from_another_key_or_cut_or_changed_is_a_miss(
    server: RedisServer, link: RedisLink
) -> None:
    store = RedisStore(link, SECRET)
    await store.put(entry(key("mine"), created_at=time.time()))
    with sync_redis.Redis.from_url(server.url) as attacker:
        name = "ocho:{5c}:e:mine"
        data = attacker.get(name)
        assert isinstance(data, bytes)
        attacker.set("ocho:{5c}:e:yours", data)
        assert await RedisStore(link, b"another secret").get(key("mine")) is None
        assert await store.get(key("yours")) is None
        for damaged in (data[:-1], data[:30], data.replace("15일".encode(), "99일".encode()), data + b" "):
            attacker.set(name, damaged)
            assert await store.get(key("mine")) is None
        attacker.delete(name)
        attacker.hset(name, "a", "b")
        with pytest.raises(StoreUnavailable):  # wrong type: Redis itself says no
            await store.get(key("mine"))


async def test_a_planted_question_is_not_found(server: RedisServer, link: RedisLink) -> None:
    index = RedisIndex(link, SECRET)
    await index.add(CachedQuestion("연차는 며칠인가요?", key("a")), V, 600)
    with sync_redis.Redis.from_url(server.url) as attacker:
        (name,) = attacker.keys("ocho:{5c}:v:*")
        planted = orjson.dumps({"q": "연차는 며칠인가요?", "k": "evil", "x": 9e9, "m": "0" * 32})
        for attributes in (planted, b"[]", b"{}", b"1", b'{"q":1}'):
            attacker.execute_command("VADD", name, "FP32", V.tobytes(), attributes[:9], "Q8", "SETATTR", attributes)
    found = await index.search(key().scope, V, 8)
    assert [neighbor.question.key.digest for neighbor in found] == ["a"]


async def test_a_key_of_the_wrong_type_spoils_only_its_own_bucket(server: RedisServer, link: RedisLink) -> None:
    index = RedisIndex(link, SECRET, max_ttl_s=4)
    with sync_redis.Redis.from_url(server.url) as attacker:
        bucket = int(time.time()) - 1
        attacker.set(f"ocho:{{5c}}:v:4:1:{bucket}", "planted")
        await index.add(CachedQuestion("q", key("a")), V, 4)
    assert len(await index.search(key().scope, V, 8)) == 1


async def test_a_server_without_vector_sets_has_a_journal_instead_and_says_so_once(
    server: RedisServer, link: RedisLink
) -> None:
    class Old:
        def __init__(self, client: Any) -> None:
            self.client = client

        def pipeline(self, transaction: bool) -> Any:
            pipe = self.client.pipeline(transaction=transaction)
            execute = pipe.execute_command
            pipe.execute_command = lambda name, *rest, **more: execute(
                f"OLD{name}" if name in {"VADD", "VSIM"} else name, *rest, **more
            )
            return pipe

    link.client = Old(link.client)
    index = RedisIndex(link, SECRET)
    with capture_logs() as logs:
        assert await index.search(key().scope, V, 8) == []
        await index.add(CachedQuestion("연차는 며칠?", key()), V, 60)
        assert [n.question.text for n in await index.search(key().scope, V, 8)] == ["연차는 며칠?"]
    assert len(logs) == 1
    assert not index.supported
    assert link.up
    link.client = link.client.client


async def test_the_server_is_described(link: RedisLink) -> None:
    assert await RedisIndex(link, SECRET).probe() == "Redis 8.2.3, vector sets"
