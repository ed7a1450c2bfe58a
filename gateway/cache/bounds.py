"""Bounds of a share seen in a sample. One-sided, 95 %."""

from __future__ import annotations

import math

Z95 = 1.6448536269514722


def clopper_pearson_upper(wrong: int, trials: int) -> float:
    """The exact upper bound; 1 where nothing was tried."""
    if wrong >= trials:
        return 1.0
    low, high = wrong / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        logs = [
            math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
            + k * math.log(middle or 1e-300) + (trials - k) * math.log1p(-min(middle, 1 - 1e-15))
            for k in range(wrong + 1)
        ]  # fmt: skip
        low, high = (middle, high) if sum(map(math.exp, logs)) > 0.05 else (low, middle)
    return high


def wilson_lower(wrong: float, trials: float) -> float:
    """Wilson's lower bound; 0 where nothing was tried. Takes sums that fade, which need not be whole."""
    if trials <= 0:
        return 0.0
    share, z2 = wrong / trials, Z95 * Z95
    spread = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, (share + z2 / (2 * trials) - spread) / (1 + z2 / trials))
