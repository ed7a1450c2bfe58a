"""Stops asking a store that does not answer, and tries it again with one call at a time."""

from __future__ import annotations

import time
from typing import Any

import structlog

from gateway.clock import Clock

log = structlog.get_logger()


class Breaker:
    """Closed: calls pass. ``failures`` in a row open it for ``cooldown_s``; then one call probes and decides.

    One log line per change of state, whatever the traffic.
    """

    def __init__(
        self, name: str, *, failures: int = 3, cooldown_s: float = 1.0, max_cooldown_s: float = 15.0,
        clock: Clock = time.monotonic,
    ) -> None:  # fmt: skip
        self._name = name
        self._limit = failures
        self._first_cooldown_s = cooldown_s
        self._max_cooldown_s = max_cooldown_s
        self._clock = clock
        self._failures = 0
        self._open = False
        self._cooldown_s = cooldown_s
        self._retry_at = 0.0

    @property
    def closed(self) -> bool:
        return not self._open

    def allows(self) -> bool:
        """Whether a call may be made now. While open, at most one caller per cool-down gets ``True``."""
        if not self._open:
            return True
        now = self._clock()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._cooldown_s  # this caller probes, the others go on without
        return True

    def succeeded(self) -> None:
        self._failures = 0
        if self._open:
            self._open = False
            self._cooldown_s = self._first_cooldown_s
            log.info("store back", store=self._name)

    def failed(self, cause: object) -> None:
        """Count a failure; the probe's failure doubles the wait."""
        self._failures += 1
        if self._open:
            self._cooldown_s = min(2 * self._cooldown_s, self._max_cooldown_s)
            self._retry_at = self._clock() + self._cooldown_s
        elif self._failures >= self._limit:
            self._open = True
            self._retry_at = self._clock() + self._cooldown_s
            log.warning("store away, going on without it", store=self._name, cause=_short(cause))


def _short(cause: Any) -> str:
    text = f"{type(cause).__name__}: {cause}" if isinstance(cause, BaseException) else str(cause)
    return text[:200]
