"""Learning without waiting: two answers that state the same facts make their questions one. Pure."""

from __future__ import annotations

from gateway.cache.facets import facets
from gateway.cache.lexical import overlap, surface
from gateway.chat import CacheEntry

LINK_FLOOR = 0.85  # cosine of the questions under which their answers are not compared
MIN_SHARED_WORDS = 0.6  # of the answers' content; below it two texts with no numbers at all would "agree"


def same_answer(one: CacheEntry, other: CacheEntry) -> bool:
    """The two say the same: numbers, names, negations and sides agree, the words for the most part, the documents all.

    A missed match costs a hit; a false one makes a wrong alias. So: in doubt, no.
    """
    if dict(one.dependencies) != dict(other.dependencies):
        return False
    mine, theirs = one.answer.text, other.answer.text
    if mine == theirs:
        return bool(mine)
    a, b = facets(mine), facets(theirs)
    if (a.language, a.numbers, a.codes, a.hard) != (b.language, b.numbers, b.codes, b.hard):
        return False
    if a.negations != b.negations:
        return False
    return overlap(surface(mine).words, surface(theirs).words) >= MIN_SHARED_WORDS
