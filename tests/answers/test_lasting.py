"""A Redis that may lose the reviewed answers says so; the one that we ship does not lose them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis as sync_redis
import yaml
from structlog.testing import capture_logs

from gateway.answers import lasting
from gateway.answers.redis_book import BOOK, RedisBook
from gateway.answers.reviewed import change_of
from gateway.cache.purging import Selection
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import LEDGER, RedisStore
from gateway.cache.remembering import RedisShelf
from gateway.chat import CachedQuestion
from gateway.wiring.telling import describe
from tests.cache.makers import SECRET, entry, key, unit
from tests.contracts.test_book import answer
from tests.flows.house import model, settings
from tests.redis_server import redis_server

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
BOUNDED = ("--maxmemory", "64mb")
APPENDING = ("--appendonly", "yes")


def shipped() -> tuple[str, ...]:
    """The options that ``deploy/compose.yaml`` starts Redis with."""
    service = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["redis"]
    assert service["volumes"] == ["redis:/data"]
    return tuple(service["command"][1:])


@asynccontextmanager
async def linked(*options: str) -> AsyncIterator[RedisLink]:
    with redis_server(*options) as server:
        link = RedisLink(redis_client(server.url, timeout_s=1), timeout_s=1)
        yield link
        await link.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*APPENDING, *BOUNDED, "--maxmemory-policy", "allkeys-lru"), ["maxmemory-policy allkeys-lru"]),
        ((*APPENDING, "--maxmemory-policy", "allkeys-lru"), []),  # no bound: nothing is evicted
        ((*APPENDING, *BOUNDED, "--maxmemory-policy", "noeviction"), []),
        ((), ["no appendonly, no save"]),
        (("--save", "3600 1"), []),
        ((*BOUNDED, "--maxmemory-policy", "allkeys-random"), ["allkeys-random", "no appendonly"]),
        (("--rename-command", "CONFIG", ""), []),  # a managed one
        (("--rename-command", "INFO", "", *APPENDING), []),
        (shipped(), []),
    ],
)
async def test_what_a_redis_may_lose(options: tuple[str, ...], said: list[str]) -> None:
    async with linked(*options) as link:
        found = await lasting.risks(link)
        assert len(found) == len(said)
        assert all(words in risk for words, risk in zip(said, found, strict=True))
        assert link.up


async def test_it_is_logged_once() -> None:
    async with linked() as link:
        with capture_logs() as logs:
            await lasting.warn(link)
    assert [line["event"] for line in logs] == ["Redis may lose the reviewed answers"]


@pytest.mark.parametrize("reviewing", [True, False])
async def test_check_warns_where_anything_can_be_reviewed(reviewing: bool, redis_url: str, tmp_path: Path) -> None:
    made = settings(
        tmp_path, model("m", "http://127.0.0.1:1/v1"),
        cache={"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}},
        auth={"admin_key": "an-admin-key"} if reviewing else {},
    )  # fmt: skip
    warned = [text for part, text, fine in await describe(made) if part == "reviewed answers" and not fine]
    assert [text.startswith("Redis may lose them: it forgets them") for text in warned] == [True] * reviewing


async def test_what_the_cache_writes_expires_and_what_people_decided_does_not(redis_url: str) -> None:
    link = RedisLink(redis_client(redis_url, timeout_s=1), timeout_s=1)
    store, index = RedisStore(link, SECRET), RedisIndex(link, SECRET)
    await store.put(entry(created_at=time.time()))
    await index.add(CachedQuestion("연차는 며칠인가요?", key()), unit(1, 0, 0, 0), 600)
    await RedisShelf(link).save(key().scope, b"learned")
    async for _ in store.purge(Selection(tag="faq")):
        pass
    await RedisBook(link, SECRET).save(answer(), change_of(None, answer(), "pin"))
    await link.close()
    with sync_redis.Redis.from_url(redis_url) as client:
        life = {name.decode(): client.ttl(name) for name in client.scan_iter()}
    lasts = {name for name, seconds in life.items() if seconds == -1}
    assert len(life) == len(lasts) + 4
    assert lasts == {BOOK, "ocho:{answers}:changes", LEDGER}


async def test_the_book_survives_a_restart_and_a_full_memory_of_the_redis_we_ship(tmp_path: Path) -> None:
    kept = (*shipped(), "--dir", str(tmp_path))
    async with linked(*kept) as link:
        await RedisBook(link, SECRET).save(answer(), change_of(None, answer(), "pin"))
    async with linked(*kept, *BOUNDED) as link:
        for number in range(100):
            await link.client.set(f"filler:{number}", b"x" * 1_000_000, ex=600)
        assert await link.client.dbsize() < 100
        assert [one.question for one in await RedisBook(link, SECRET).all()] == [answer().question]
