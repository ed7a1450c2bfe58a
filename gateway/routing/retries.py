"""How many calls may be made again: a share of all calls, so that retries never become the load that keeps us down."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = 0.1  # of requests
PER_S = 2.0  # besides: a quiet gateway may always try again (Finagle's RetryBudget: 20 % and 10 a second)
BURST_S = 5.0
MOST_EARNED = 10 * PER_S * BURST_S


@dataclass(slots=True)
class RetryBudget:
    """One model's. Over any time t at most SHARE × requests + PER_S × (t + BURST_S) retries."""

    balance: float = PER_S * BURST_S
    earned: float = 0.0  # by requests, capped so that a day of peace does not pay for an hour of storms
    at: float = 0.0

    def request(self) -> None:
        if self.earned < MOST_EARNED:
            self.earned += SHARE

    def take(self, now: float) -> bool:
        """Whether one more retry may be made now."""
        self.balance = min(self.balance + PER_S * (now - self.at), PER_S * BURST_S)
        self.at = now
        if self.earned >= 1:
            self.earned -= 1
        elif self.balance >= 1:
            self.balance -= 1
        else:
            return False
        return True
