"""Learning without waiting: two answers that state the same facts make their questions one. Pure."""

from __future__ import annotations

from gateway.cache.language import language
from gateway.chat import CacheEntry
from gateway.facts import Comparison, Verdict, compare, signature

LINK_FLOOR = 0.85  # cosine of the questions under which their answers are not compared


def same_answer(one: CacheEntry, other: CacheEntry) -> bool:
    """The two say the same, in the same language and from the same versions of the same documents.

    A missed match costs a hit; a false one makes a wrong alias. So: in doubt, no.
    """
    mine, theirs = one.answer.text, other.answer.text
    if not mine or dict(one.dependencies) != dict(other.dependencies):
        return False
    if mine == theirs:
        return True
    return language(mine) == language(theirs) and same_facts(one, other)


def same_facts(one: CacheEntry, other: CacheEntry) -> bool:
    """The two state the same facts, wherever they have them from. In doubt, no."""
    return agreement(one, other).verdict is Verdict.SAME


def agreement(one: CacheEntry, other: CacheEntry) -> Comparison:
    """Whether the facts of two answers agree, whatever their words and languages."""
    return compare(signature(one.answer.text), signature(other.answer.text))
