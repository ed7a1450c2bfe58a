"""Which deployment first (pure): power of two choices on first-token time and load, the busiest left out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from gateway.routing.deployments import Health

HOT_QUANTILE = 0.8  # of the pool's calls under way; well above it a deployment is hot (Prequal, NSDI 2024, section 4)
HOT_FACTOR, HOT_MARGIN = 1.25, 2  # "well above": among few deployments one call more means nothing
BAND = 1.25  # a deployment that has the prompt's beginning in its cache may be so much dearer than the best
USUAL_ROOM = 8.0  # calls at once that double the cost of a deployment whose limit is not known


def rank(
    candidates: Sequence[Health], now: float, choose: Callable[[int], int], prefix: bytes | None = None
) -> list[Health]:
    """Candidates in the order to try. ``choose(n)`` returns an index below n.

    Two are drawn and the better of them goes first (Mitzenmacher 2001: nearly as good as knowing all, without the herd
    that always picks the same best one), unless the one that ``prefix`` belongs to is about as good. A deployment that
    is due for a probe goes before all. Those set aside go last, soonest back first: better a slim chance than none.
    """
    if len(candidates) == 1:
        return list(candidates)
    fit = [h for h in candidates if h.state(now) == 0]
    due = [h for h in candidates if h.state(now) == 1 and h.has_room(now)]
    aside = sorted((h for h in candidates if h not in fit and h not in due), key=lambda h: h.aside_until)
    if len(fit) > 1:
        costs = {h.deployment.name: _cost(h, now) for h in fit}
        hot = _hot(fit)

        def cost(health: Health) -> tuple[bool, bool, float]:
            doubtful, seconds = costs[health.deployment.name]
            return (doubtful, health.in_flight > hot, seconds)

        first = choose(len(fit))
        second = (first + 1 + choose(len(fit) - 1)) % len(fit)
        best = min(fit[first], fit[second], key=cost)
        if prefix is not None:
            home = max(fit, key=lambda h: zlib.crc32(h.deployment.name.encode(), zlib.crc32(prefix)))
            if cost(home)[:2] == (False, False) and cost(home)[2] <= BAND * cost(best)[2]:
                best = home
        fit = [best, *sorted((h for h in fit if h is not best), key=cost)]
    return due + fit + aside


def _cost(health: Health, now: float) -> tuple[bool, float]:
    room = min(health.limit.value, USUAL_ROOM)
    return health.doubtful(now), health.expected_s(now) * (1 + health.in_flight / room)


def _hot(fit: Sequence[Health]) -> float:
    """Calls under way above which a deployment is not asked while there are others."""
    quantile = sorted(h.in_flight for h in fit)[int(HOT_QUANTILE * (len(fit) - 1))]
    return HOT_FACTOR * quantile + HOT_MARGIN
