"""The one way to Redis: every call has a budget and passes a breaker; every trouble becomes ``StoreUnavailable``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from gateway.cache.breaker import Breaker
from gateway.errors import StoreUnavailable

T = TypeVar("T")
ADMIN_BUDGET_S = 5.0  # per step of what an administrator asks for; never in the serving path
ADMIN_BATCH = 200  # keys per such step
BUCKETS = 4  # of questions, per time to live: at most five keys to search, at most a quarter of a life too long kept
Client = Any  # Redis or RedisCluster: the commands used here are the same on both, their types are not


def redis_client(url: str, *, cluster: bool = False, max_connections: int = 64, timeout_s: float = 0.05) -> Client:
    """A client that connects on first use, never here. ``cluster`` for a Redis Cluster behind ``url``."""
    if cluster:
        return RedisCluster.from_url(url, max_connections=max_connections, socket_connect_timeout=1.0)
    pool = BlockingConnectionPool.from_url(
        url, max_connections=max_connections, timeout=timeout_s, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 1)
    )
    return Redis.from_pool(pool)


class RedisLink:
    """Runs calls on a client. Hangs and lost connections open ``breaker``; refused writes have their own."""

    def __init__(
        self, client: Client, *, timeout_s: float = 0.05, breaker: Breaker | None = None, writes: Breaker | None = None
    ) -> None:
        self.client = client
        self._timeout_s = timeout_s
        self._breaker = breaker or Breaker("redis")
        self._writes = writes or Breaker("redis writes")

    @property
    def up(self) -> bool:
        return self._breaker.closed

    async def run(self, call: Callable[[Client], Awaitable[T]], *, write: bool = False, budget_s: float = 0) -> T:
        """``call``'s result within the budget (``budget_s`` where given). Raises StoreUnavailable only."""
        if not self._breaker.allows() or (write and not self._writes.allows()):
            raise StoreUnavailable("the cache store is away")
        try:
            async with asyncio.timeout(budget_s or self._timeout_s):
                result = await call(self.client)
        except ResponseError as error:  # the server is there, and says no: read-only, out of memory, wrong type
            self._breaker.succeeded()
            if write:
                self._writes.failed(error)
            raise StoreUnavailable(str(error)) from error
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            self._breaker.failed(error)
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        self._breaker.succeeded()
        if write:
            self._writes.succeeded()
        return result

    async def close(self) -> None:
        await self.client.aclose()


async def scanned(link: RedisLink, pattern: str) -> AsyncIterator[bytes]:
    """Names of keys, on every node of a cluster. Raises StoreUnavailable."""
    try:
        async for name in link.client.scan_iter(match=pattern, count=ADMIN_BATCH):
            yield name
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


async def unlink_one(name: bytes, redis: Client) -> None:
    await redis.unlink(name)
