"""Rank fusion. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)

K = 60  # Cormack, Clarke and Büttcher, SIGIR 2009: flat between 20 and 100


def fuse(
    rankings: Sequence[Sequence[T]],
    *,
    weights: Sequence[float] | None = None,
    k: int = K,
    tie: Callable[[T], Any] | None = None,
) -> list[tuple[T, float]]:
    """Reciprocal rank fusion: items of all rankings with their scores, best first.

    Equal scores are ordered by ``tie`` (ascending), else by first appearance, so equal input gives equal output.
    """
    scores: dict[T, float] = {}
    for number, ranking in enumerate(rankings):
        weight = 1.0 if weights is None else weights[number]
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (k + rank)
    if tie is None:
        return sorted(scores.items(), key=lambda pair: -pair[1])
    return sorted(scores.items(), key=lambda pair: (-pair[1], tie(pair[0])))
