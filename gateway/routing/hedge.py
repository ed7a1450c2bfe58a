"""A second deployment when the first is late with its first content token. First content wins, the other is hung up on.

The trigger is live: the 95th percentile of recent first tokens (Dean and Barroso, "The tail at scale", 2013). When
everything is slow so is the percentile, and the budget bounds what is spent in vain. Once half of it is gone only calls
that are twice as late are hedged: the rest is for a deployment that turns slow, not for everyday stragglers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Claim = Callable[[], bool]  # "my first content token is here": True for the first to say so


class Lost(Exception):
    """The other one spoke first."""


@dataclass(slots=True)
class HedgeBudget:
    """Tokens for hedges: every request earns ``share`` of its own. Saved up for ``burst`` average requests at most."""

    share: float
    burst: float = 20.0
    balance: float = 0.0
    usual: float = 0.0  # tokens of a request

    @property
    def plenty(self) -> bool:
        return 2 * self.balance > self.burst * self.usual

    def earn(self, tokens: float) -> None:
        self.usual = tokens if not self.usual else self.usual + 0.1 * (tokens - self.usual)
        self.balance = min(self.balance + self.share * tokens, self.burst * self.usual)

    def take(self, tokens: float) -> bool:
        """Set ``tokens`` aside if they are there."""
        if self.balance < tokens:
            return False
        self.balance -= tokens
        return True

    def give_back(self, tokens: float) -> None:
        self.balance += tokens


@dataclass(slots=True)
class _Floor:
    """Who may speak."""

    holder: int | None = None
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    def claim_of(self, who: int) -> Claim:
        def claim() -> bool:
            if self.holder is None:
                self.holder = who
                self.taken.set()
            return self.holder == who

        return claim


async def hedged(
    first: Callable[[Claim], Awaitable[T]],
    second: Callable[[Claim], Awaitable[T]],
    after_s: float,
    may_start: Callable[[], bool],
) -> T:
    """The result of whoever claims first. ``second`` starts after ``after_s`` of silence, if ``may_start()`` then.

    Where nobody claims, the first one's error. What is cut short is waited for, so its connection is closed on return.
    """
    floor = _Floor()
    calls = [asyncio.ensure_future(first(floor.claim_of(0)))]
    spoken = asyncio.create_task(floor.taken.wait())
    try:
        await asyncio.wait([calls[0], spoken], timeout=after_s, return_when=asyncio.FIRST_COMPLETED)
        if not calls[0].done() and floor.holder is None and may_start():
            calls.append(asyncio.ensure_future(second(floor.claim_of(1))))
        while floor.holder is None and not all(call.done() for call in calls):
            running = (call for call in calls if not call.done())
            await asyncio.wait([*running, spoken], return_when=asyncio.FIRST_COMPLETED)
        winner = floor.holder or 0
        await _stop([call for number, call in enumerate(calls) if number != winner])
        return await calls[winner]
    finally:
        await _stop([*calls, spoken])
        calls.clear()  # an error on its way keeps this frame, and a call that failed its error: a circle


async def _stop(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
