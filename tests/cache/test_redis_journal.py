"""Questions on a Redis without vector sets: every gateway follows one journal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis as sync_redis

from gateway.cache.redis_journal import BATCH, JournalIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import SECRET, Wall, entry, key, unit

SCOPE = key().scope
V = unit(1, 0)


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(redis_client(redis_url, timeout_s=2), timeout_s=2)
    yield link
    await link.close()


def index(link: RedisLink, secret: bytes = SECRET) -> JournalIndex:
    return JournalIndex(link, secret, max_ttl_s=400, wall_clock=Wall(4_000_000_000.0))


def texts(found: list[Neighbor]) -> list[str]:
    return sorted(neighbor.question.text for neighbor in found)


async def test_what_one_gateway_adds_the_others_find_also_after_a_restart(link: RedisLink) -> None:
    one, other = index(link), index(link)
    await one.add(CachedQuestion("연차는 며칠?", key("a")), V, 60)
    assert texts(await other.search(SCOPE, V, 8)) == ["연차는 며칠?"]
    await one.add(CachedQuestion("병가는 며칠?", key("b")), unit(1, 1), 60)
    assert texts(await other.search(SCOPE, V, 8)) == texts(await index(link).search(SCOPE, V, 8)) == [
        "병가는 며칠?", "연차는 며칠?"]  # fmt: skip


async def test_a_long_journal_is_read_in_batches(link: RedisLink) -> None:
    one, late = index(link), index(link)
    for number in range(BATCH + 3):
        await one.add(CachedQuestion(str(number), key(str(number))), unit(1, number / 1_000), 60)
    assert len(await late.search(SCOPE, V, 2 * BATCH)) == BATCH
    assert len(await late.search(SCOPE, V, 2 * BATCH)) == BATCH + 3


async def test_a_redis_that_lost_its_data_is_followed_from_its_new_beginning(link: RedisLink, redis_url: str) -> None:
    one = index(link)
    for text in ("a", "b"):
        await one.add(CachedQuestion(text, key(text)), V, 60)
    assert texts(await one.search(SCOPE, V, 8)) == ["a", "b"]
    with sync_redis.Redis.from_url(redis_url) as client:
        client.flushall()
    await one.add(CachedQuestion("c", key("c")), V, 60)
    assert await one.search(SCOPE, V, 8) == []  # notices
    assert texts(await one.search(SCOPE, V, 8)) == ["c"]


async def test_planted_torn_and_foreign_records_are_passed_over(link: RedisLink, redis_url: str) -> None:
    one = index(link)
    await one.add(CachedQuestion("own", key("a")), V, 60)
    await index(link, b"another secret").add(CachedQuestion("foreign", key("b")), V, 60)
    await one.add(CachedQuestion("other scope", key("c", scope="6d")), V, 60)
    with sync_redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys("ocho:{5c}:j:*")
        (elsewhere,) = client.keys("ocho:{6d}:j:*")
        (own, _), (moved,) = client.lrange(name, 0, -1), client.lrange(elsewhere, 0, -1)
        client.rpush(name, b"", own[:20], own[:-1], b"x" * 200, moved)
    assert texts(await index(link).search(SCOPE, V, 8)) == ["own"]


async def test_a_forgotten_question_is_blank_in_redis_and_moves_no_other(link: RedisLink, redis_url: str) -> None:
    one, other = index(link), index(link)
    for text in ("a", "b"):
        await one.add(CachedQuestion(f"질문 {text}", key(text)), V, 60)
    assert len(await other.search(SCOPE, V, 8)) == 2
    await one.forget([entry(key("a"))])
    await one.add(CachedQuestion("질문 c", key("c")), V, 60)
    assert texts(await one.search(SCOPE, V, 8)) == ["질문 b", "질문 c"]
    assert texts(await other.search(SCOPE, V, 8)) == ["질문 a", "질문 b", "질문 c"]  # whose answer is void anyway
    with sync_redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys("ocho:*:j:*")
        assert [len(record) > 0 for record in client.lrange(name, 0, -1)] == [False, True, True]
