"""Several rankings into one, by rank or by score. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T", bound=Hashable)

# How much meaning counts beside words. Chosen on the sample handbook and a public FAQ: best from .4 to .5, and the
# smaller loses less where vectors are poor (noise added to them: docs/notes/documents.md).
MEANING = 0.4

# Either leg may have little to say. Words: a question in another language than the documents shares a number with some,
# and the best of these is a chance find. Vectors: an embedder that does not know the language ranks at random, and then
# the legs agree on nothing. Both chosen on the same data (docs/documents.md).
SURE = 0.25  # share of what its words could score from which the best passage by words counts in full
DOUBTED = 0.2  # weight of meaning where words are sure, and meaning finds
AGREED, AMONG = 2, 10  # fewer than so many of their best ten

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


def blend(words: Mapping[T, float], meaning: Mapping[T, float] | None, *, share: float = 1.0) -> dict[T, float]:
    """One score in [0, 1] from BM25 scores and cosines of the best passages of each leg, best first; None: there is one
    leg. ``share``: of what the question's words could score, by the best passage.

    Unlike ranks, scores say how sure a leg is: far ahead by words stays ahead. BM25 is measured from 0, where no word
    is shared; a cosine from the worst of its list, since unrelated passages of some embedders still have .8.
    """
    by_words = _scaled(words, 0.0)
    if meaning is None:
        return by_words
    by_meaning = _scaled(meaning, min(meaning.values(), default=0.0))
    agreed = len(set(islice(words, AMONG)) & set(islice(meaning, AMONG)))
    doubted = share >= SURE and agreed < min(AGREED, len(words), len(meaning))
    weight = DOUBTED if doubted else MEANING
    rest = (1 - weight) * min(1.0, share / SURE)
    items = dict.fromkeys([*by_words, *by_meaning])
    return {item: rest * by_words.get(item, 0.0) + weight * by_meaning.get(item, 0.0) for item in items}


def _scaled(scores: Mapping[T, float], low: float) -> dict[T, float]:
    """``low`` becomes 0, the best 1."""
    width = max(scores.values(), default=low) - low
    return {item: (score - low) / width if width > 0 else 1.0 for item, score in scores.items()}
