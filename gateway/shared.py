"""What gateways on one Redis tell each other, once a second: what keys have used, which deployments are in trouble, and
what was purged.

    ocho:{accounts}:<key>:<what>:<period>:<begins>   sum of one span of time; ends a while after the span
    ocho:{deployments}:<digest>                      "told:<gateway>" or "failing:<gateway>"; lives as long as it holds

Never on a request's path: requests look at what this process knows. Without Redis, or while it is away, that is what
this process has seen itself, and what was counted meanwhile is told afterwards. A round that was lost after Redis had
taken it is counted twice: limits then err on the side of the purse, by a second's use.

A provider's word ("not before 20 s from now") is good for everybody. That calls of another gateway fail may be its own
network's fault: here it only makes the deployment the second choice.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from gateway.accounts.accounts import Account, Accounts
from gateway.accounts.windows import Count, span_of
from gateway.cache.redis_link import Client, RedisLink
from gateway.chat import Deployment
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.metrics import Metrics
from gateway.routing.deployments import Deployments, Health

EVERY_S = 1.0
ROUND_S = 1.0  # budget of one round
ACTIVE_S = 120.0  # an account that was not used here for so long is not asked for
GRACE_S = 120.0  # that a span is kept after its end: a sliding minute looks back at the one before
LEAST_MS = 50  # worth telling of a deployment that is to be left alone


class Purges(Protocol):
    async def follow(self) -> None:
        """Learn what was purged elsewhere. Raises StoreUnavailable."""


@dataclass(slots=True)
class Replicas:
    """One gateway among others."""

    link: RedisLink
    accounts: Accounts
    deployments: Deployments
    purges: Purges
    metrics: Metrics
    wall_clock: WallClock
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    _told: dict[str, int] = field(default_factory=dict)  # deployments that others know of from here: ms it was for

    async def run(self) -> None:
        """Exchange until cancelled."""
        while True:
            try:
                await self.exchange()
                self.metrics.shared("ok")
            except StoreUnavailable:
                self.metrics.shared("away")
            await asyncio.sleep(EVERY_S)

    async def say_goodbye(self) -> None:
        """Tell what was not told yet, if Redis is there."""
        with suppress(StoreUnavailable):
            await self._accounts()

    async def exchange(self) -> None:
        """One round: tell and hear. Raises StoreUnavailable, and nothing is lost then."""
        await self.purges.follow()
        await self._accounts()
        await self._deployments()

    async def _accounts(self) -> None:
        now = self.wall_clock()
        counts = {
            key: (count, expires, count.fresh)
            for account in self.accounts
            if now - account.used_at < ACTIVE_S
            for key, count, expires in _counts(account, now)
        }
        if not counts:
            return

        async def ask(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for key, (_, expires, delta) in counts.items():
                pipeline.incrbyfloat(key, delta)
                pipeline.expireat(key, expires)
            return list(await pipeline.execute())

        totals = (await self.link.run(ask, write=True, budget_s=ROUND_S))[::2]
        for (count, _, delta), total in zip(counts.values(), totals, strict=True):
            count.told(delta, float(total))

    async def _deployments(self) -> None:
        now = self.deployments.clock()
        known = {_place(health.deployment): health for health in self.deployments}
        news = {place: self._news(health, now) for place, health in known.items()}

        async def ask(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for place, (kind, left_ms) in news.items():
                if left_ms:
                    pipeline.set(place, f"{kind}:{self.id}", px=left_ms)
                elif place in self._told:  # it came back sooner than was told
                    pipeline.delete(place)
            for place in known:
                pipeline.get(place)
                pipeline.pttl(place)
            return list(await pipeline.execute())[-2 * len(known) :]

        heard = await self.link.run(ask, write=True, budget_s=ROUND_S)
        self._told = {place: left_ms for place, (_, left_ms) in news.items() if left_ms}
        for health, value, left_ms in zip(known.values(), heard[::2], heard[1::2], strict=True):
            self._hear(health, value, left_ms, now)

    def _news(self, health: Health, now: float) -> tuple[str, int]:
        """What there is to tell of a deployment, and for how many milliseconds; 0: nothing."""
        kind = "told" if health.told_until > now else "failing"
        left_ms = int(1000 * (health.aside_until - now))
        return kind, left_ms if left_ms >= LEAST_MS and not health.heard else 0

    def _hear(self, health: Health, value: bytes | None, left_ms: int, now: float) -> None:
        kind, _, teller = (value or b"").decode("ascii", "replace").partition(":")
        until = now + left_ms / 1000 if value is not None and teller != self.id and left_ms > 0 else None
        health.hear_told(until if kind == "told" else None, now)
        health.failing_elsewhere_until = until if until is not None and kind == "failing" else 0.0


def _counts(account: Account, now: float) -> list[tuple[str, Count, int]]:
    """(key, count, second it may be forgotten) of the spans that are running or have something to tell."""
    found = []
    for (what, period), meter in account.meters.items():
        meter.count(now)
        for begins, count in meter.counts.items():
            span = span_of(period, begins)
            if span.ends > now or count.fresh:
                key = f"ocho:{{accounts}}:{account.key_id}:{what}:{period}:{begins:.0f}"
                found.append((key, count, int(span.ends + GRACE_S)))
    return found


def _place(deployment: Deployment) -> str:
    """Two gateways mean the same deployment where its address and model are the same, whatever they call it."""
    named = "\n".join((deployment.kind, deployment.base_url, deployment.model or deployment.name))
    return f"ocho:{{deployments}}:{blake2b(named.encode(), digest_size=12).hexdigest()}"
