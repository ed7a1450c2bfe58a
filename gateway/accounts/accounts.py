"""One account per API key with limits: requests and tokens a minute, tokens and money a day and a month.

Counted here, in this process, so that asking costs microseconds and nothing can be down; ``gateway/shared.py`` tells
other gateways now and then and hears of theirs. What is under way when a limit is reached still ends: limits are kept
to within the calls in flight (and, with several gateways, what they did in the last second).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.accounts.windows import Meter, span_of
from gateway.clock import WallClock
from gateway.errors import LimitReached
from gateway.metrics import Metrics

REQUESTS, TOKENS, MONEY = "requests", "tokens", "money"
_UNLIMITED = nullcontext()


@dataclass(frozen=True, slots=True)
class Limit:
    what: str  # requests, tokens or money
    period: str  # minute, day or month
    most: float

    @property
    def name(self) -> str:
        return f"{self.what}_per_{self.period}"


@dataclass(slots=True)
class Account:
    key_id: str
    tenant: str
    limits: Sequence[Limit]
    meters: dict[tuple[str, str], Meter] = field(init=False)  # by (what, period)
    used_at: float = field(default_factory=time.time)  # wall seconds; or when it was opened
    reserved: float = 0.0  # tokens that requests under way will cost at least

    def __post_init__(self) -> None:
        self.meters = {(limit.what, limit.period): Meter(limit.period) for limit in self.limits}

    def add(self, what: str, amount: float, now: float) -> None:
        self.used_at = now
        for (counted, _), meter in self.meters.items():
            if counted == what:
                meter.count(now).fresh += amount

    def used(self, limit: Limit, now: float) -> float:
        """What counts against ``limit``; tokens of requests under way count within the minute."""
        reserved = self.reserved if (limit.what, limit.period) == (TOKENS, "minute") else 0.0
        return self.meters[limit.what, limit.period].used(now) + reserved

    def reached(self, limit: Limit, now: float) -> bool:
        if limit.what == REQUESTS:
            return self.used(limit, now) + 1 > limit.most
        return self.used(limit, now) >= limit.most

    @property
    def counts(self) -> bool:
        """Whether what this key spends has to be known."""
        return any(limit.what != REQUESTS for limit in self.limits)


class Accounts:
    """Every account, by the id of its key. Keys without limits have none, and cost nothing here."""

    def __init__(self, accounts: Sequence[Account], metrics: Metrics, wall_clock: WallClock = time.time) -> None:
        self._accounts = {account.key_id: account for account in accounts}
        self.of = self._accounts.get  # the account of a key; None where it has no limits
        self._metrics = metrics
        self._now = wall_clock
        for account in accounts:
            for limit in account.limits:
                self._watch(account, limit)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def enter(self, key_id: str) -> Mapping[str, str]:
        """Count one request; the headers that tell how much is left. Raises LimitReached."""
        account = self._accounts.get(key_id)
        if account is None:
            return {}
        now = self._now()
        for limit in account.limits:
            if limit.what == REQUESTS and account.reached(limit, now):
                raise self._refusal(account, limit, now)
        account.add(REQUESTS, 1, now)
        return headers_of(account, now)

    def spending(self, key_id: str, tokens: Callable[[], float]) -> AbstractContextManager[None]:
        """Around work that costs at least ``tokens()`` tokens upstream. Raises LimitReached before it."""
        account = self._accounts.get(key_id)
        return self._reserving(account, tokens()) if account is not None else _UNLIMITED

    @contextmanager
    def _reserving(self, account: Account, tokens: float) -> Iterator[None]:
        reserved = self.reserve(account, tokens)
        try:
            yield
        finally:
            account.reserved -= reserved

    def reserve(self, account: Account, tokens: float) -> float:
        """``tokens``, which count as used until they are taken from ``account.reserved``. Raises LimitReached."""
        now = self._now()
        for limit in account.limits:
            if limit.what != REQUESTS and account.reached(limit, now):
                raise self._refusal(account, limit, now)
        account.reserved += tokens
        return tokens

    def spent(self, key_id: str, tokens: float, money: float) -> None:
        """One upstream call for this key has ended."""
        account = self._accounts.get(key_id)
        if account is not None:
            now = self._now()
            account.add(TOKENS, tokens, now)
            account.add(MONEY, money, now)

    def _refusal(self, account: Account, limit: Limit, now: float) -> LimitReached:
        self._metrics.limit_reached(account.tenant, limit.name)
        wait_s = account.meters[limit.what, limit.period].free_after_s(now, limit.most)
        wait_s = max(wait_s, 1.0)  # reserved tokens: until a request under way has ended
        most = f"{limit.most:,.10g}"
        if limit.period == "minute":
            message = f"this API key may use {most} {limit.what} per minute, and has; try again in {_duration(wait_s)}"
            code, kind = "rate_limit_exceeded", limit.what
        else:
            resets = datetime.fromtimestamp(span_of(limit.period, now).ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
            unit = "" if limit.what == MONEY else f" {limit.what}"
            message = (
                f"this API key has used up its budget of {most}{unit} per {limit.period}; it resets at {resets}. "
                "Answers that are in the cache are still given"
            )
            code = kind = "insufficient_quota"
        again = limit.period == "minute"  # else the caller's SDK need not try twice more
        return LimitReached(
            message, code=code, type=kind, retry_after_s=wait_s,
            headers={**headers_of(account, now), "x-should-retry": "true" if again else "false"},
        )  # fmt: skip

    def _watch(self, account: Account, limit: Limit) -> None:
        self._metrics.watch_limit(
            account.tenant, account.key_id[:8], limit.name,
            lambda: account.used(limit, self._now()) / limit.most,
        )  # fmt: skip


def headers_of(account: Account, now: float) -> dict[str, str]:
    """``x-ratelimit-*`` as OpenAI sends them, for the limits per minute that there are."""
    headers = {}
    for limit in account.limits:
        if limit.period == "minute":
            left = max(0, int(limit.most - account.used(limit, now)))
            headers[f"x-ratelimit-limit-{limit.what}"] = f"{limit.most:.0f}"
            headers[f"x-ratelimit-remaining-{limit.what}"] = str(left)
            reset_s = account.meters[limit.what, limit.period].empty_after_s(now)
            headers[f"x-ratelimit-reset-{limit.what}"] = _duration(reset_s)
    return headers


def _duration(seconds: float) -> str:
    """``1m5s`` or ``0.4s``, as OpenAI writes it."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest:.3g}s"
