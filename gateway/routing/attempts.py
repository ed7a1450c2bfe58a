"""The deployments that one request is tried at: each of its model once, then fallback models, then again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from random import Random

from gateway.chat import RequestContext
from gateway.errors import ELSEWHERE_STATUS, TRANSIENT_STATUS, GatewayError, Overloaded, UpstreamError, UpstreamTimeout
from gateway.ports import Timeouts
from gateway.routing.admission import Line, Slot
from gateway.routing.deployments import Health
from gateway.routing.policy import rank
from gateway.routing.retries import RetryBudget
from gateway.routing.route import Route
from gateway.values import dataclass

MAX_WAIT_S = 10.0  # for a deployment to take requests again; a caller knows better what to do with longer waits
TEST_LOOK_S = 0.05  # how often those who wait look whether a provider still means its word
BACKOFF_S = 0.2  # before asking a deployment again; doubles, with full jitter (AWS builders' library)


@dataclass(frozen=True, slots=True)
class Attempt:
    slot: Slot
    line: Line
    model: str  # whose deployment this is: another one than was asked for after a fallback
    kind: str  # primary, retry, fallback, hedge
    timeouts: Timeouts
    number: int

    @property
    def health(self) -> Health:
        return self.slot.health

    @property
    def name(self) -> str:
        return self.slot.health.deployment.name

    def in_line(self, error: UpstreamError) -> bool:
        """Time was up while the deployment answered others: that says nothing against it."""
        return isinstance(error, UpstreamTimeout) and self.health.in_line(self.slot.call)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One model whose deployments may take requests."""

    model: str
    route: Route
    line: Line


@dataclass(slots=True)
class Attempts:
    """``next`` gives one after the other; who gets one must leave its slot again."""

    targets: tuple[Target, ...]  # the model's own first, then its fallbacks
    budget: RetryBudget
    ctx: RequestContext
    clock: Callable[[], float]
    chance: Random
    prefix: bytes | None = None  # of the prompt: which deployment may have it in its cache
    number: int = 0
    _refusal: Overloaded | None = None
    _tried: dict[Target, list[Health]] = field(default_factory=dict)

    def at_once(self) -> Attempt | None:
        """The first attempt where it needs no waiting; None: ask ``next``."""
        own = self.targets[0]
        if own.line.length or (health := self._best(own.line.pool)) is None:
            return None
        slot = own.line.start(health, self.ctx.tenant.id)
        self.budget.request()
        self.number = 1
        self._tried[own] = [health]
        return Attempt(slot, own.line, own.model, "primary", own.route.timeouts, 1)

    async def next(self, failure: UpstreamError | None) -> Attempt:
        """The next attempt after ``failure`` (None: the first). Raises what the caller is told if there is none."""
        if self.number == 0:
            self.budget.request()
        elif failure is not None and not self._worth_it(failure):
            raise failure
        self.number += 1
        for target in self.targets:
            untried = self._untried(target)
            if not any(h.state(self.clock()) < 2 for h in untried):
                continue
            try:
                slot = await target.line.enter(partial(self._best, untried), self.ctx.tenant.id, self._left_s())
            except Overloaded as refusal:
                self._refusal = self._refusal or refusal
                continue
            self._tried.setdefault(target, []).append(slot.health)
            return self._attempt(target, slot)
        return await self._against_hope(failure)

    def _worth_it(self, failure: UpstreamError) -> bool:
        return failure.retryable and self.ctx.deadline.remaining_s() > 0 and self.budget.take(self.clock())

    def more(self, error_status: int) -> bool:
        """Whether a reply with this status may be made good by another attempt."""
        if error_status not in TRANSIENT_STATUS and error_status not in ELSEWHERE_STATUS:
            return False
        return self.elsewhere() or (error_status in TRANSIENT_STATUS and self.number <= self.targets[0].route.retries)

    def elsewhere(self) -> bool:
        """Whether there is a deployment that this request has not been tried at, and that is not set aside."""
        now = self.clock()
        return any(h.state(now) < 2 for target in self.targets for h in self._untried(target))

    def spare(self, attempt: Attempt) -> Attempt | None:
        """A healthy deployment of the same model with room now, other than that of ``attempt``."""
        now = self.clock()
        others = [h for h in attempt.line.pool if h is not attempt.health and h.state(now) == 0]
        slot = attempt.line.take(lambda: self._best(others), self.ctx.tenant.id)
        if slot is None:
            return None
        self.number += 1
        return Attempt(slot, attempt.line, attempt.model, "hedge", attempt.timeouts, self.number)

    def _untried(self, target: Target) -> Sequence[Health]:
        tried = self._tried.get(target)
        return target.line.pool if tried is None else [h for h in target.line.pool if all(h is not t for t in tried)]

    def _best(self, candidates: Sequence[Health]) -> Health | None:
        now = self.clock()
        if len(candidates) == 1:
            return candidates[0] if candidates[0].has_room(now) else None
        ranked = rank(candidates, now, self.chance.randrange, self.prefix)
        return next((h for h in ranked if h.has_room(now)), None)

    async def _against_hope(self, failure: UpstreamError | None) -> Attempt:
        """Every deployment has failed for this request, is set aside or is busy."""
        own = self.targets[0]
        told: GatewayError | None = failure or self._refusal
        if failure is not None and (not failure.transient or self.number > own.route.retries + 1):
            raise failure
        if failure is None and told is not None:
            raise told
        health = rank(own.line.pool, self.clock(), self.chance.randrange)[0]
        if failure is not None and health.told_until <= self.clock() < health.aside_until:
            raise failure  # set aside for failures in a row: nobody has said when it will be well
        wait_s = 0.0 if failure is None and await self._tested(health) else self._pause_s(health, failure)
        if wait_s >= min(self._left_s(), MAX_WAIT_S):
            raise told or Overloaded(
                f"the provider of model {own.model!r} takes no requests for {wait_s:.0f} s; try again then",
                retry_after_s=wait_s,
            )
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return self._attempt(own, own.line.start(health, self.ctx.tenant.id))

    async def _tested(self, health: Health) -> bool:
        """Whether a request that has tried nothing yet may go to a deployment that is set aside. One that failed too
        often is asked at once: better a slim chance than none. One that asked to be left alone is tested by a call now
        and then, and the others wait for what comes of that: many providers say so of one kind of request or by
        mistake, and silence for a minute would cost every answer."""
        while health.told_until > (now := self.clock()) and not health.tested(now):
            if not health.under_test or self._left_s() <= 0:
                return False
            await asyncio.sleep(TEST_LOOK_S)
        return True

    def _pause_s(self, health: Health, failure: UpstreamError | None) -> float:
        """How long to leave a deployment alone."""
        now = self.clock()
        if failure is None:
            return max(0.0, health.told_until - now) * self.chance.uniform(1.0, 1.1)  # not all at the same instant
        backoff_s = self.chance.uniform(0, BACKOFF_S * 2.0 ** (self.number - 2)) if health.failures else 0.0
        return max(health.aside_until - now, backoff_s, 0.0)

    def _left_s(self) -> float:
        promise = self.ctx.promise
        if promise is not None and (left_s := promise.remaining_s()) > 0:
            return left_s
        return self.ctx.deadline.remaining_s()

    def _attempt(self, target: Target, slot: Slot) -> Attempt:
        kind = "fallback" if target is not self.targets[0] else "primary" if self.number == 1 else "retry"
        return Attempt(slot, target.line, target.model, kind, target.route.timeouts, self.number)
