"""Several rankings into one, by rank or by score. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)

# How much meaning counts beside words. Chosen on the sample handbook and a public FAQ: best from .4 to .5, and the
# smaller loses less where vectors are poor (noise added to them: docs/documents.md).
MEANING = 0.4

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


def blend(words: Mapping[T, float], meaning: Mapping[T, float] | None) -> dict[T, float]:
    """One score in [0, 1] from BM25 scores and cosines of the best passages of each leg; None: there is one leg.

    Unlike ranks, scores say how sure a leg is: far ahead by words stays ahead. BM25 is measured from 0, where no word
    is shared; a cosine from the worst of its list, since unrelated passages of some embedders still have .8.
    """
    by_words = _scaled(words, 0.0)
    if meaning is None:
        return by_words
    by_meaning = _scaled(meaning, min(meaning.values(), default=0.0))
    items = dict.fromkeys([*by_words, *by_meaning])
    return {item: (1 - MEANING) * by_words.get(item, 0.0) + MEANING * by_meaning.get(item, 0.0) for item in items}


def _scaled(scores: Mapping[T, float], low: float) -> dict[T, float]:
    """``low`` becomes 0, the best 1."""
    width = max(scores.values(), default=low) - low
    return {item: (score - low) / width if width > 0 else 1.0 for item, score in scores.items()}
