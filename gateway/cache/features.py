"""What the calibrated rule looks at: a row of numbers for a question and the kept one that might answer it. Pure.

Neighbours with the same answer speak together: ``key`` tells which. A neighbour that a veto refuses is no candidate
and no rival either: it is plainly another question. Where only one of two questions says something ("today", "not",
a number) and they differ in much else, that is no veto but a number of the row: a scope learns what it means there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.cache.arrangement import alike
from gateway.cache.facets import facets, final, frame, negates, veto
from gateway.cache.lexical import overlap, surface
from gateway.cache.thesaurus import unsaid
from gateway.chat import CacheKey, Neighbor

CANDIDATES = 8
SLIGHT = 0.02  # cosine that a neighbour gives away to others where only one of the two says something
SWAP_SIMILARITY = 0.98  # cosine from which one word in the place of another is taken to mean the same: as near lie 5 of
# the 270 swaps of bench/data/swaps that change the answer and pass all vetoes, and 68 of 141 that do not change it
SAME_WORDS_SIMILARITY = 0.95  # cosine under which even the same content words are not taken for the same question
NAMES = (
    "one",
    "cosine",
    "margin",  # of the cosine over the nearest question with another answer
    "supporters",  # log2 of the neighbours that have this answer
    "asked_uncovered",  # share of the asked content words that no question with this answer has
    "kept_uncovered",
    "one_word_swapped",  # one content word in the place of another: what traps look like, and some paraphrases
    "grams",
    "gram_margin",
    "vetoed",  # nearer questions that a veto refused
    "margin_x_supporters",
    "cosine_x_margin",
    "asks",  # agreement of the question words
    "one_sided",  # only one of the two says a number, a name, a time, a process
    "negated",  # one negates, the other does not
    "differing",  # content words that only one of the two has, six at most
    "same_words",  # there are none
    "said_otherwise",  # words that the other has a synonym for
)
EARNED = ("one_sided", "negated")  # what a scope trusts only as far as its own labels bear it out
_SWAP, _COSINE = NAMES.index("one_word_swapped"), NAMES.index("cosine")
Row = NDArray[np.float64]  # (len(NAMES),), each about -3 to 3


@dataclass(frozen=True, slots=True)
class Look:
    """A question beside what was asked before."""

    best: Neighbor | None  # the nearest that no veto refuses
    refused: str  # why the nearest was refused; "" where it was not
    row: Row | None = None
    same_words: bool = False  # nothing but small words, endings and politeness differ


def look(asked: str, neighbors: Sequence[Neighbor]) -> Look:
    """``neighbors``: most similar first, at most ``CANDIDATES`` count."""
    near = neighbors[:CANDIDATES]
    wanted = facets(asked)
    vetoes = [veto(wanted, facets(neighbor.question.text)) for neighbor in near]
    able = [
        (n.similarity - SLIGHT * bool(reason), not reason, n)
        for n, reason in zip(near, vetoes, strict=True)
        if not reason or _slight(asked, n.question.text)
    ]
    if not able:
        return Look(None, vetoes[0] if vetoes else "")
    able.sort(key=lambda one: -one[0])
    best, clean = able[0][2], able[0][1]
    row = _row(asked, [n for _, _, n in able], near)
    return Look(best, vetoes[0], row, clean and _same_words(asked, best))


def row_of(asked: str, neighbors: Sequence[Neighbor], key: CacheKey) -> Row:
    """What speaks for the answer ``key``, one of the neighbours', whatever is nearer and whatever a veto says."""
    near = neighbors[:CANDIDATES]
    mine = [neighbor for neighbor in near if neighbor.question.key == key]
    wanted = facets(asked)
    others = [n for n in near if n.question.key != key and not veto(wanted, facets(n.question.text))]
    return _row(asked, [*mine, *others], near)


def swapped(row: Row) -> bool:
    """One word stands in the place of another, and the vectors do not say that both mean the same.

    Nothing else tells "pause my plan" from "resume my plan", and a scope that has only seen synonyms swapped learns to
    trust every other swap.
    """
    return bool(row[_SWAP]) and bool(row[_COSINE] < _cosine(SWAP_SIMILARITY))


def _slight(asked: str, kept: str) -> bool:
    """What a veto is about is said by one of the two only, and is not all that tells them apart."""
    mine, theirs = surface(asked).words, surface(kept).words
    only_mine, only_theirs = (sum(not negates(word) for word in words) for words in (mine - theirs, theirs - mine))
    much_else = min(only_mine, only_theirs) > 0 and max(only_mine, only_theirs) > 1
    return much_else and not final(facets(asked), facets(kept))


def _row(asked: str, able: Sequence[Neighbor], near: Sequence[Neighbor]) -> Row:
    best = able[0]
    same = [n for n in able if n.question.key == best.question.key]
    rivals = [n for n in able if n.question.key != best.question.key]
    # No rival in a full view: the farthest neighbour stands for it. In a view that is not full nothing is known.
    rival = rivals[0].similarity if rivals else near[-1].similarity if len(near) == CANDIDATES else best.similarity
    mine = surface(asked)
    kept = [surface(n.question.text).words for n in same]
    compared = [_unsaid(asked, n) for n in same]
    differing = min(6, min(len(ours) + len(theirs) for ours, theirs in compared))
    plainly = min(6, min(len(mine.words ^ words) for words in kept))
    grams = max(overlap(mine.grams, surface(n.question.text).grams) for n in same)
    rival_grams = max((overlap(mine.grams, surface(n.question.text).grams) for n in rivals), default=0.0)
    cosine = _cosine(best.similarity)
    margin = _clip((best.similarity - rival) / 0.03, -0.67, 2)
    supporters = min(float(np.log2(len(same))), 2.0)
    wanted, kept_facets = facets(asked), facets(best.question.text)
    reason = veto(wanted, kept_facets)
    one, other = wanted.asks, kept_facets.asks
    return np.array(
        [
            1.0,
            cosine,
            margin,
            supporters,
            2 * len(frozenset.intersection(*(ours for ours, _ in compared))) / (len(mine.words) or 1),
            2 * min(len(theirs) / (len(words) or 1) for (_, theirs), words in zip(compared, kept, strict=True)),
            float(all(len(ours) == len(theirs) == 1 for ours, theirs in compared)),
            2 * (grams - 0.5),
            2 * _clip(grams - rival_grams, -0.2, 0.5),
            min(near.index(best), 2),
            margin * supporters / 2,
            cosine * margin / 4,
            (len(one & other) / len(one | other) if one | other else 1.0) - 0.7,
            float(reason not in ("", "negation")),
            float(wanted.negations % 2 != kept_facets.negations % 2),
            differing / 3 - 1,
            float(not differing),
            (plainly - differing) / 3,
        ]
    )


def _unsaid(asked: str, kept: Neighbor) -> tuple[frozenset[str], frozenset[str]]:
    """Content words of each that the other does not say, not by a synonym either."""
    mine, theirs = surface(asked).words, surface(kept.question.text).words
    own, other = facets(asked).meaning, facets(kept.question.text).meaning
    return frozenset(unsaid(mine - theirs, own, other)), frozenset(unsaid(theirs - mine, other, own))


def _same_words(asked: str, best: Neighbor) -> bool:
    mine, theirs = surface(asked).words, surface(best.question.text).words
    return (
        best.similarity >= SAME_WORDS_SIMILARITY
        and len(mine) > 1
        and mine == theirs
        and alike(facets(asked).arrangement, facets(best.question.text).arrangement)
        and frame(asked) == frame(best.question.text)
    )


def _cosine(similarity: float) -> float:
    return _clip((similarity - 0.95) / 0.02, -5, 3)


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
