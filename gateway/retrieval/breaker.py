"""Stops asking a source that does not answer, and tries it again now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gateway.clock import Clock

FAILURES = 3  # in a row, before a source is left alone
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0
_WEIGHT = 0.2  # of the newest observation in the expected time


@dataclass(slots=True)
class Breaker:
    """Health of one source: closed (asked), open (left alone), half open (one request tries it)."""

    clock: Clock = time.monotonic
    expected_s: float | None = None  # moving average of how long it takes to answer, or to be given up
    _failures: int = 0
    _pause_s: float = FIRST_PAUSE_S
    _closed_from: float = 0.0  # open until then
    _trying: bool = False

    def allows(self) -> bool:
        """Whether to ask now. A True while recovering makes the caller the one that tries."""
        if self._failures < FAILURES:
            return True
        if self._trying or self.clock() < self._closed_from:
            return False
        self._trying = True
        return True

    def answered(self, seconds: float) -> None:
        self._failures, self._pause_s, self._trying = 0, FIRST_PAUSE_S, False
        self._observe(seconds)

    def failed(self, seconds: float) -> None:
        """It raised, or was still silent at the hard limit."""
        self._failures += 1
        self._observe(seconds)
        if self._failures >= FAILURES:
            self._closed_from = self.clock() + self._pause_s
            if self._trying:
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._trying = False

    def abandoned(self) -> None:
        """The request went away before the source could show anything."""
        self._trying = False

    def _observe(self, seconds: float) -> None:
        before = self.expected_s
        self.expected_s = seconds if before is None else before + _WEIGHT * (seconds - before)
