"""What gateways on one Redis tell each other, on a real Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.accounts.accounts import Account, Accounts, Limit
from gateway.cache.purging import Selection
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from gateway.chat import Deployment
from gateway.errors import LimitReached, StoreUnavailable
from gateway.metrics import Metrics
from gateway.routing.deployments import Deployments, Health
from gateway.shared import Replicas
from tests.cache.makers import SECRET
from tests.redis_server import redis_server

pytestmark = pytest.mark.filterwarnings("error")
LIMITS = (Limit("tokens", "day", 100), Limit("requests", "minute", 3))


def nothing() -> float:
    return 0.0


class Here:
    """One gateway: its accounts, its view of the deployments."""

    def __init__(self, url: str) -> None:
        self.now = 0.0
        self.accounts = Accounts([Account("k", "acme", LIMITS)], Metrics())
        pair = (Deployment("one", "openai", "http://a/v1", "m"), Deployment("two", "openai", "http://b/v1", "m"))
        self.deployments = Deployments(pair, lambda: self.now)
        self.link = RedisLink(redis_client(url), timeout_s=1.0)
        self.store = RedisStore(self.link, SECRET)
        self.replicas = Replicas(self.link, self.accounts, self.deployments, self.store, Metrics(), time.time)

    @property
    def one(self) -> Health:
        return self.deployments["one"]


@asynccontextmanager
async def gateways(url: str) -> AsyncIterator[tuple[Here, Here]]:
    here, there = Here(url), Here(url)
    try:
        yield here, there
    finally:
        await here.link.close()
        await there.link.close()


async def exchange(*each: Here) -> None:
    for gateway in each:
        await gateway.replicas.exchange()


async def test_a_budget_is_one_for_all_gateways(redis_url: str) -> None:
    async with gateways(redis_url) as (here, there):
        here.accounts.spent("k", 60, 0)
        there.accounts.spent("k", 50, 0)
        with there.accounts.spending("k", nothing):  # it knows of its own 50 only
            pass
        await exchange(here, there)
        with pytest.raises(LimitReached, match="100 tokens per day"), there.accounts.spending("k", nothing):
            pass
        with here.accounts.spending("k", nothing):  # told before the other did
            pass
        await exchange(here)
        with pytest.raises(LimitReached), here.accounts.spending("k", nothing):
            pass


async def test_requests_are_counted_once_however_often_they_are_told(redis_url: str) -> None:
    async with gateways(redis_url) as (here, there):
        here.accounts.enter("k")
        for _ in range(5):
            await exchange(here, there)
        there.accounts.enter("k")
        await exchange(there, here)
        account = next(iter(here.accounts))
        assert account.used(LIMITS[1], time.time()) == pytest.approx(2, abs=0.5)  # a minute may have begun meanwhile


async def test_a_providers_word_is_good_for_everybody_and_so_is_its_end(redis_url: str) -> None:
    async with gateways(redis_url) as (here, there):
        here.one.failed(here.now, retry_after_s=20.0)
        await exchange(here, there)
        assert there.one.state(there.now) == 2
        assert there.one.told_until == pytest.approx(20, abs=1)
        assert there.deployments["two"].state(there.now) == 0
        await exchange(there, here)  # the listener does not tell it on as its own word
        here.now += 1
        call = here.one.started(here.now)
        here.one.answered(call, here.now)  # it took a call all the same
        await exchange(here, there)
        assert there.one.state(there.now) == 0


async def test_another_gateways_failures_make_a_deployment_the_second_choice_only(redis_url: str) -> None:
    async with gateways(redis_url) as (here, there):
        for _ in range(3):
            here.one.failed(here.now)
        assert here.one.state(here.now) == 2
        await exchange(here, there)
        assert (there.one.state(there.now), there.one.doubtful(there.now)) == (0, True)
        there.now += 60
        assert not there.one.doubtful(there.now)


async def test_what_was_counted_while_redis_was_away_is_told_afterwards() -> None:
    with redis_server() as server:
        async with gateways(server.url) as (here, there):
            await exchange(here, there)
            server.pause()
            here.accounts.spent("k", 70, 0)
            with pytest.raises(StoreUnavailable):
                await exchange(here)
            with here.accounts.spending("k", nothing):
                pass
            server.resume()
            there.accounts.spent("k", 40, 0)
            await exchange(there, here)
            with pytest.raises(LimitReached), here.accounts.spending("k", nothing):
                pass


async def test_a_purge_is_known_at_every_gateway_after_a_round(redis_url: str) -> None:
    async with gateways(redis_url) as (here, there):
        await exchange(here, there)
        async for _ in here.store.purge(Selection()):
            pass
        await exchange(there)
        assert there.store.generation == here.store.generation > 0
