"""Whether a Redis that holds the book of reviewed answers keeps it: it must neither evict it nor forget it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from redis.exceptions import ResponseError

from gateway.cache.redis_link import Client, RedisLink
from gateway.errors import StoreUnavailable

log = structlog.get_logger()
ASK_S = 2.0
RETRY_S = 5.0  # while Redis is away


async def risks(link: RedisLink) -> list[str]:
    """How this Redis may lose what has no expiry, as far as it tells. Raises StoreUnavailable."""

    async def ask(redis: Client) -> list[str]:
        return [*_eviction(await _told(redis.info("memory"))), *await _forgetting(redis)]

    return await link.run(ask, budget_s=ASK_S)


async def warn(link: RedisLink) -> None:
    """Log the risks as soon as Redis answers."""
    while True:
        try:
            if found := await risks(link):
                log.warning("Redis may lose the reviewed answers", risks=found)
            return
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)


def _eviction(memory: Mapping[str, Any]) -> list[str]:
    policy = str(memory.get("maxmemory_policy", ""))
    if not memory.get("maxmemory") or not policy.startswith("allkeys"):
        return []
    return [f"it evicts them when its memory is full (maxmemory-policy {policy}): use volatile-lru"]


async def _forgetting(redis: Client) -> list[str]:
    persistence = await _told(redis.info("persistence"))
    snapshots = await _told(redis.config_get("save"))
    if persistence.get("aof_enabled") != 0 or snapshots.get("save") != "":
        return []
    return ["it forgets them when it restarts (no appendonly, no save): use appendonly yes"]


async def _told(question: Any) -> Mapping[str, Any]:
    """The reply; nothing where the server does not let us ask, as many managed ones do not."""
    try:
        return dict(await question)
    except ResponseError:
        return {}
