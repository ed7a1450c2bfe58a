"""What is known of each deployment: how fast it is now, and whether it works."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from gateway.chat import Deployment
from gateway.clock import Clock

HALF_LIFE_S = 10.0  # of the first-token average: old news about a provider's speed is no news
PACE_SHARE = 0.2  # of a new measurement in the average pace: the last five or so answers count
USUAL_FIRST_TOKEN_S = 1.0  # until a deployment has answered once
USUAL_TOKENS_PER_S = 25.0
RECENT = 100  # first-token times kept
FEWEST_RECENT = 20  # below that a high quantile is a guess
FAILURES_TO_SET_ASIDE = 3
SET_ASIDE_S = 10.0


@dataclass(slots=True)
class Pace:
    """How fast a deployment usually is. Averages: for planning, where ``Health.first_token_s`` is for choosing."""

    first_token_s: float = USUAL_FIRST_TOKEN_S
    tokens_per_s: float = USUAL_TOKENS_PER_S
    known: bool = False

    def measured(self, first_token_s: float, tokens: int, decode_s: float) -> None:
        """One answer of ``tokens`` tokens, the first after ``first_token_s``, the rest within ``decode_s``."""
        share = PACE_SHARE if self.known else 1.0
        self.known = True
        self.first_token_s += share * (first_token_s - self.first_token_s)
        if tokens > 3 and decode_s > 0:
            self.tokens_per_s += share * (tokens / decode_s - self.tokens_per_s)


@dataclass(slots=True)
class Health:
    """Live state of one deployment."""

    deployment: Deployment
    first_token_s: float = 0.0  # peak-sensitive moving average; 0 while nothing is known
    in_flight: int = 0
    failures: int = 0  # in a row
    aside_until: float = 0.0  # instant on the clock
    measured_at: float = 0.0
    pace: Pace = field(default_factory=Pace)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # first-token seconds, latest last

    def started(self) -> None:
        self.in_flight += 1

    def ended(self) -> None:
        self.in_flight -= 1

    def succeeded(self, first_token_s: float, now: float) -> None:
        """A peak counts at once, a better time fades in (Finagle's peak EWMA)."""
        if first_token_s >= self.first_token_s:
            self.first_token_s = first_token_s
        else:
            kept = math.exp(-(now - self.measured_at) / HALF_LIFE_S)
            self.first_token_s = self.first_token_s * kept + first_token_s * (1 - kept)
        self.recent.append(first_token_s)
        self.measured_at = now
        self.failures = 0
        self.aside_until = 0.0

    def first_token_quantile(self, q: float) -> float | None:
        """Seconds; None while too little is known."""
        if len(self.recent) < FEWEST_RECENT:
            return None
        return sorted(self.recent)[min(len(self.recent) - 1, int(q * len(self.recent)))]

    def failed(self, now: float, retry_after_s: float | None) -> None:
        self.failures += 1
        if retry_after_s is not None:
            self.aside_until = max(self.aside_until, now + retry_after_s)
        elif self.failures >= FAILURES_TO_SET_ASIDE:
            self.aside_until = now + SET_ASIDE_S

    def state(self, now: float) -> int:
        """0 healthy, 1 worth one probe, 2 set aside."""
        if self.aside_until > now:
            return 2
        return 1 if self.failures >= FAILURES_TO_SET_ASIDE else 0


class Deployments:
    """Health of every configured deployment, by name."""

    def __init__(self, deployments: tuple[Deployment, ...], clock: Clock) -> None:
        self._health = {d.name: Health(d) for d in deployments}
        self.clock = clock

    def __getitem__(self, name: str) -> Health:
        return self._health[name]
