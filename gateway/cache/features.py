"""What the calibrated rule looks at: one row of numbers for a question and its neighbours. Pure.

Neighbours with the same answer speak together: ``key`` tells which. Nearest first, at most ``CANDIDATES``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.cache.facets import facets, soft_conflict
from gateway.cache.lexical import overlap, surface
from gateway.cache.numbers import agree
from gateway.chat import Neighbor

CANDIDATES = 8
# name, direction in which the chance to be right may move with it (1 up, -1 down, 0 either)
FEATURES: tuple[tuple[str, int], ...] = (
    ("cosine", 1),
    ("margin", 1),  # to the nearest question with another answer; NaN where there is none in sight
    ("answer_share", 1),  # similarity-weighted share of the neighbours that have this answer
    ("supporters", 1),  # other questions with this answer among the neighbours
    ("cluster_cosine", 1),  # mean of this answer's neighbours
    ("spread", 0),  # nearest minus farthest neighbour: how crowded it is here
    ("grams", 1),
    ("gram_margin", 1),
    ("words", 1),
    ("asked_uncovered", -1),  # content words of the question in none of this answer's questions
    ("kept_uncovered", -1),  # content words of the nearest one that the question has not
    ("one_word_swapped", -1),
    ("length_ratio", 1),
    ("length", 0),
    ("numbers", 1),
    ("codes", 1),
    ("negation", 1),
    ("hard", -1),  # contrasts where the sides named differ
    ("soft", -1),
    ("asks", 1),
)
NAMES = tuple(name for name, _ in FEATURES)
DIRECTIONS = tuple(direction for _, direction in FEATURES)


def features(asked: str, neighbors: Sequence[Neighbor]) -> NDArray[np.float64]:
    """The row for serving the nearest neighbour's answer. ``neighbors`` is not empty."""
    best = neighbors[0]
    answer = best.question.key
    same = [n for n in neighbors if n.question.key == answer]
    others = [n for n in neighbors if n.question.key != answer]
    cosines = np.array([n.similarity for n in neighbors])
    weights = np.exp((cosines - cosines[0]) * 40.0)
    ours = np.array([n.question.key == answer for n in neighbors])
    mine = surface(asked)
    theirs = surface(best.question.text)
    grams = [overlap(mine.grams, surface(n.question.text).grams) for n in neighbors]
    other_grams = [g for g, own in zip(grams, ours, strict=True) if not own]
    own_grams = max(g for g, own in zip(grams, ours, strict=True) if own)
    known = frozenset().union(*(surface(n.question.text).words for n in same))
    lost, gained = mine.words - known, theirs.words - mine.words
    one, other = facets(asked), facets(best.question.text)
    return np.array(
        [
            best.similarity,
            best.similarity - others[0].similarity if others else np.nan,
            float(weights[ours].sum() / weights.sum()),
            len(same) - 1,
            float(cosines[ours].mean()),
            float(cosines[0] - cosines[-1]) if len(neighbors) > 1 else np.nan,
            own_grams,
            own_grams - max(other_grams) if other_grams else np.nan,
            overlap(mine.words, theirs.words),
            len(lost) / (len(mine.words) or 1),
            len(gained) / (len(theirs.words) or 1),
            float(len(mine.words - theirs.words) == 1 and len(gained) == 1 and len(mine.words) > 1),
            min(mine.length, theirs.length) / (max(mine.length, theirs.length) or 1),
            mine.length,
            float(agree(one.numbers, other.numbers)),
            float(one.codes == other.codes),
            float(one.negations % 2 == other.negations % 2),
            sum(a != b for a, b in zip(one.hard, other.hard, strict=True)),
            float(soft_conflict(one, other)),
            len(one.asks & other.asks) / (len(one.asks | other.asks) or 1) if one.asks or other.asks else 1.0,
        ]
    )
