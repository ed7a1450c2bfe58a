"""Time as a value: clocks, deadlines that travel with a request, and the stage timings it collects.

Seconds are ``float`` everywhere. Instants come from a ``Clock``; wall time is used only for stored timestamps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field

from gateway.values import dataclass

Clock = Callable[[], float]  # seconds, monotonic
WallClock = Callable[[], float]  # seconds since 1970, for what is stored


@dataclass(frozen=True, slots=True)
class Deadline:
    """The instant by which work must be done. Time lost in one stage comes out of the next."""

    at: float  # seconds on ``clock``
    clock: Clock = time.monotonic
    allotted_s: float = 0.0  # what there was at the start

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Deadline:
        return cls(clock() + seconds, clock, seconds)

    def remaining_s(self) -> float:
        left_s = self.at - self.clock()
        return left_s if left_s > 0 else 0.0

    def within(self, budget_s: float) -> Deadline:
        """The earlier of this deadline and ``budget_s`` from now."""
        at = self.clock() + budget_s
        return self if self.at <= at else Deadline(at, self.clock, budget_s)


@dataclass(slots=True)
class Timings:
    """Seconds per stage of one request, in the order the stages ended. Feeds ``Server-Timing``."""

    clock: Clock = time.monotonic
    stages: dict[str, tuple[float, str]] = field(default_factory=dict)  # stage -> (seconds, outcome)

    def record(self, stage: str, seconds: float, outcome: str = "ok") -> None:
        self.stages[stage] = (seconds, outcome)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        began = self.clock()
        try:
            yield
        finally:
            self.record(stage, self.clock() - began)
