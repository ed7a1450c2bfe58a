"""Which deployment first (pure): power of two choices on first-token time and load."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.routing.deployments import Health


def rank(candidates: Sequence[Health], now: float, choose: Callable[[int], int]) -> list[Health]:
    """Candidates in the order to try. ``choose(n)`` returns an index below n.

    Two are drawn and the better of them goes first (Mitzenmacher 2001: nearly as good as knowing all, without the herd
    that always picks the same best one). Those set aside go last, soonest back first: better a slim chance than none.
    """
    fit = [h for h in candidates if h.state(now) < 2]
    aside = sorted((h for h in candidates if h.state(now) == 2), key=lambda h: h.aside_until)
    if len(fit) > 1:
        one = fit[choose(len(fit))]
        other = fit[choose(len(fit))]
        best = min(one, other, key=_cost)
        fit = [best, *sorted((h for h in fit if h is not best), key=_cost)]
    return fit + aside


def _cost(health: Health) -> tuple[int, float]:
    return (min(health.failures, 1), health.first_token_s * (1 + health.in_flight))
