"""What a question is shown of its evidence: all passages, the likeliest few, the one with the nearest line.

A model that takes the wrong line among many passages mostly takes the right one among few, where it is there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.chat import ChatRequest, Evidence
from gateway.routing.nearness import Nearness

FEW_PASSAGES = 2

Look = Callable[[], Awaitable[ChatRequest | None]]  # a grounded request; None: it is known too late
OverBest = Callable[[int, Evidence], ChatRequest]  # the question over so many passages, the likeliest by score


def looks_at(
    whole: ChatRequest, over_best: OverBest, evidence: Evidence, looked: Callable[[], Awaitable[Nearness | None]]
) -> list[Look]:
    """A draft model's, side by side; the first is over all passages. ``looked``: at the lines, by meaning."""

    async def over_all() -> ChatRequest:
        return whole

    async def over_few() -> ChatRequest:
        return over_best(FEW_PASSAGES, evidence)

    async def over_nearest() -> ChatRequest | None:
        nearness = await looked()
        return None if nearness is None else over_best(1, nearness.nearest_first)

    return [over_all, *([over_few] if len(evidence.passages) > FEW_PASSAGES else []),
            *([over_nearest] if len(evidence.passages) > 1 else [])]  # fmt: skip
