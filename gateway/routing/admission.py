"""Who may start a call now, who waits for room, and who is told at once that it would be in vain.

While a deployment has room nothing here costs anything. Without room a call waits, as long as it can still be done in
time. A line that has not been empty for ``OVERLOADED_S`` is overload, and waiting longer then makes every answer later
and none more: whoever already has his share of the room is sent away within ``OVERLOADED_WAIT_S`` (CoDel with two
delays, as Facebook's wangle has it). Room goes to the tenant with the fewest calls under way, first come first.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.errors import Overloaded
from gateway.metrics import Metrics
from gateway.routing.deployments import Health

SLOW_CALL = 1.5  # times the usual call: what one who joins must have time for, or many are cut off at work
OVERLOADED_S = 1.0
OVERLOADED_WAIT_S = 0.025
LONGEST_LINE = 1000
LOOK_AGAIN_S = 0.1  # room also comes from time passing: a deployment set aside comes back
LEAST_RETRY_AFTER_S, MOST_RETRY_AFTER_S = 1.0, 30.0

Pick = Callable[[], Health | None]  # the best deployment with room, or None


@dataclass(slots=True)
class Slot:
    """Room for one call at ``health``, taken until ``Line.leave``."""

    health: Health
    call: int
    tenant: str
    left: bool = False


@dataclass(slots=True, eq=False)
class _Waiter:
    tenant: str
    pick: Pick
    granted: asyncio.Future[Slot]


@dataclass(slots=True)
class Line:
    """The callers of one model's deployments."""

    model: str
    pool: Sequence[Health]
    clock: Clock
    metrics: Metrics
    max_wait_s: float = 5.0
    running: Counter[str] = field(default_factory=Counter)  # calls under way, by tenant
    waiting: dict[str, deque[_Waiter]] = field(default_factory=dict)
    length: int = 0
    _began: float = 0.0  # when the line was empty last
    _timer: asyncio.TimerHandle | None = None

    def take(self, pick: Pick, tenant: str) -> Slot | None:
        """Room for a call that may start now, past nobody who waits; None where there is none."""
        if self.length or (health := pick()) is None:
            return None
        return self.start(health, tenant)

    async def enter(self, pick: Pick, tenant: str, remaining_s: float) -> Slot:
        """Room for a call that has ``remaining_s`` left. Raises Overloaded when it cannot be done in time."""
        slot = self.take(pick, tenant)
        if slot is not None:
            return slot
        patience_s = self._patience_s(tenant, remaining_s)
        if self.wait_s(tenant) > patience_s - (SLOW_CALL - 1) * self._call_s() or self.length >= LONGEST_LINE:
            raise self._refusal()
        began = self.clock()
        if not self.length:
            self._began = began
        waiter = _Waiter(tenant, pick, asyncio.get_running_loop().create_future())
        self.waiting.setdefault(tenant, deque()).append(waiter)
        self.length += 1
        self._look_again()
        outcome = "cancelled"
        try:
            async with asyncio.timeout(patience_s):
                slot = await waiter.granted
            outcome = "ok"
            return slot
        except TimeoutError:
            outcome = "refused"
            raise self._refusal() from None
        finally:
            self.metrics.stage_ended("queue", outcome, self.clock() - began)
            if outcome != "ok":
                self._give_up(waiter)

    def start(self, health: Health, tenant: str) -> Slot:
        """Start a call, whether there is room or not."""
        self.running[tenant] += 1
        return Slot(health, health.started(self.clock()), tenant)

    def leave(self, slot: Slot) -> None:
        """The call has ended: its room is the next one's. Once or more often."""
        if slot.left:
            return
        slot.left = True
        slot.health.ended(slot.call, self.clock())
        left = self.running[slot.tenant] - 1
        if left:
            self.running[slot.tenant] = left
        else:
            self.running.pop(slot.tenant)
        if self.length:
            self._serve()

    def wait_s(self, tenant: str) -> float:
        """Expected wait of one who joins now: those before it, over the room that comes free."""
        ahead = len(self.waiting.get(tenant, ()))
        shares = len(self.waiting) + (tenant not in self.waiting)
        per_s = sum(h.in_flight / h.pace.whole_s for h in self.pool if h.pace.whole_s)
        return ahead * shares / per_s if per_s else 0.0

    def _patience_s(self, tenant: str, remaining_s: float) -> float:
        """How long the call may stand in line and still be done in time."""
        patience_s = min(self.max_wait_s, remaining_s - self._call_s())
        if self.length and self.clock() - self._began > OVERLOADED_S and self._has_its_share(tenant):
            patience_s = min(patience_s, OVERLOADED_WAIT_S)
        return patience_s

    def _call_s(self) -> float:
        """How long a call takes; 0 while nothing is known."""
        return min((h.pace.whole_s for h in self.pool), default=0.0)

    def _has_its_share(self, tenant: str) -> bool:
        tenants = len(self.running.keys() | self.waiting.keys() | {tenant})
        return self.running[tenant] * tenants >= self.running.total()

    def _serve(self) -> None:
        """Give the room there is to those who wait."""
        for tenant in sorted(self.waiting, key=lambda tenant: self.running[tenant]):
            line = self.waiting[tenant]
            while line and line[0].granted.done():  # gave up at this very moment, and has not run yet
                line.popleft()
                self.length -= 1
            if not line:
                del self.waiting[tenant]
            elif (health := line[0].pick()) is not None:
                waiter = line.popleft()
                self._left(tenant)
                waiter.granted.set_result(self.start(health, tenant))
                if self.length:
                    self._serve()
                return

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter.granted.done() and not waiter.granted.cancelled():
            self.leave(waiter.granted.result())  # room came at the moment its caller left
            return
        line = self.waiting.get(waiter.tenant)
        if line is not None and waiter in line:
            line.remove(waiter)
            self._left(waiter.tenant)

    def _left(self, tenant: str) -> None:
        self.length -= 1
        if not self.waiting[tenant]:
            del self.waiting[tenant]

    def _look_again(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self.length:
            self._serve()
        if self.length:
            self._look_again()

    def _refusal(self) -> Overloaded:
        self.metrics.overloaded(self.model)
        seconds = min(max(self.wait_s(""), LEAST_RETRY_AFTER_S), MOST_RETRY_AFTER_S)
        return Overloaded(
            f"every deployment of model {self.model!r} is busy and this request could not be answered in time; "
            f"try again in {seconds:.0f} s",
            retry_after_s=seconds,
        )
