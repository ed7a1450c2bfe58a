"""Knowledge shared with the other gateways on the same Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.accounts.accounts import Accounts
from gateway.cache.breaker import Breaker
from gateway.metrics import Metrics
from gateway.routing.deployments import Deployments
from gateway.settings import Settings
from gateway.shared import Purges, Replicas
from gateway.stages import ended
from gateway.wiring.cache import redis_link


@asynccontextmanager
async def told_to_others(
    settings: Settings, accounts: Accounts, deployments: Deployments, purges: Purges, metrics: Metrics
) -> AsyncIterator[None]:
    """While the block runs; its last round takes along what was not told yet."""
    link = redis_link(settings, Breaker("redis, for what gateways tell each other"))
    replicas = Replicas(link, accounts, deployments, purges, metrics, time.time)
    rounds = asyncio.create_task(replicas.run())
    try:
        yield
    finally:
        await ended(rounds)
        await replicas.say_goodbye()
        await link.close()
