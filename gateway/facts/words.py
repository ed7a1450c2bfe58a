"""Content words of an answer as stems, near enough to compare within one language. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.facts.tables import listed, pattern

_WORD = re.compile(r"[가-힣]+|[a-z]+(?:'[a-z]+)?")
_HANGUL = re.compile(r"[가-힣]")
_ENDINGS = pattern("endings", after="$")
_SMALL = listed("small")
_NOUNS = listed("nouns")


@lru_cache(maxsize=1_000)
def words(text: str) -> frozenset[str]:
    """Stems that carry content; numbers and the small words are left out. ``text`` folded."""
    return frozenset(stem for word in _WORD.findall(text) if (stem := _stem(word)))


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of the smaller set that the other one has, 0 to 1; 1 where one of them is empty."""
    smaller, larger = sorted((one, other), key=len)
    return len(smaller & larger) / len(smaller) if smaller else 1.0


def unshared(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """Words of ``one`` that ``other`` has in no related form: 신청서 and 신청 are related, so are apply and applied."""
    return frozenset(word for word in one if not any(_related(word, theirs) for theirs in other))


def _related(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if _HANGUL.match(short):
        return (len(short) >= 2 and long.startswith(short)) or short == long
    return (len(short) >= 4 and long.startswith(short[: max(4, len(short) - 2)])) or short == long


def _stem(word: str) -> str:
    if _HANGUL.match(word):
        if word in _SMALL:
            return ""
        stem = word
        for _ in range(2):
            shorter = _ENDINGS.sub("", stem) if len(stem) > 2 else stem
            if shorter == stem or not shorter:
                break
            stem = shorter
        if len(stem) == 2 and stem[-1] in "은는을를의에도만가이로" and stem not in _NOUNS:
            stem = stem[:1]
        return "" if stem in _SMALL or (len(stem) < 2 and stem in "하되있없수것") else stem
    if word in _SMALL or len(word) < 2:
        return ""
    for ending in ("ings", "ing", "ied", "ies", "ed", "es", "s", "'s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
