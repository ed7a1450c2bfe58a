"""From which chance to be right on a judge is asked about a kept answer. Bounded, no lock needed, no I/O.

A judge errs now and then. Where hardly any of two near questions is the same, most of his yeses are his errors: with
one that errs in 5 % of his verdicts, every sixth about answers with a chance of 0.2. So what counts is what a scope
asks about: among many likely answers an unlikely one is harmless, alone it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LOWEST = 0.2  # chance to be right below which nobody is asked
JUDGE_ERRS = 0.05  # share of verdicts taken to be wrong: no scope sees enough of them to tell 5 % from 2 %
MAX_WRONG = 0.03  # of the yeses, taken together, that may be such errors; the stricter 0.02 cost more hits than errors
BINS = 50
RECENT = 400.0  # answers that were worth a look
_MIDDLES = (np.arange(BINS) + 0.5) / BINS
_WRONG_YES = (1 - _MIDDLES) * JUDGE_ERRS
_YES = _MIDDLES * (1 - JUDGE_ERRS) + _WRONG_YES


@dataclass(slots=True)
class Asking:
    """The chances that one scope's near answers had."""

    seen: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def see(self, chance: float) -> None:
        self.seen *= 1 - 1 / RECENT
        self.seen[min(int(chance * BINS), BINS - 1)] += 1

    def floor(self) -> float:
        """The lowest chance at which the yeses keep to ``MAX_WRONG``; above 1 where none does."""
        wrong = np.cumsum((self.seen * _WRONG_YES)[::-1])[::-1]
        fine = np.flatnonzero((wrong <= MAX_WRONG * np.cumsum((self.seen * _YES)[::-1])[::-1]) & (wrong > 0))
        return max(LOWEST, int(fine[0]) / BINS) if len(fine) else 2.0
