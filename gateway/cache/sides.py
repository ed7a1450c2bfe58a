"""Which sides of the contrasts a question takes: enable or disable, 정규직 or 인턴. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from operator import add

from gateway.cache.language import HANGUL

_PLAIN = re.compile(r"[^\[\](){}?*+.|\\^$~]*")

Sides = Mapping[int, frozenset[int]]  # contrast → the sides named, where any is
Place = tuple[int, int]  # contrast, side


class Contrasts:
    """Rows of sides, each side a pattern of words. Most questions take hardly a side, so one is only looked at where a
    word of it begins in the text."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """``rows``: as in ``contrasts.txt``."""
        self._sides: dict[Place, re.Pattern[str]] = {}
        self._untold: list[Place] = []  # a Korean word of theirs is not known by the letters that begin it
        self._beginning: defaultdict[str, list[tuple[str, Place]]] = defaultdict(list)  # by their first two letters
        for row, sides in enumerate(rows):
            for place, side in (((row, number), side) for number, side in enumerate(sides)):
                self._sides[place] = _compile(side)
                beginnings = {_beginning(word) for word in re.split(r"\|(?![^(]*\))", side)}
                if "" in beginnings:
                    self._untold.append(place)
                    continue
                for beginning in beginnings:
                    self._beginning[beginning[:2]].append((beginning, place))

    def sides(self, text: str, starts: Set[str]) -> Sides:
        """The sides named in a text in lower case, of which ``starts`` are the ``starts_in``."""
        near = {
            place
            for start in self._beginning.keys() & starts
            for beginning, place in self._beginning[start]
            if beginning in text
        }
        if not text.isascii():
            near.update(self._untold)
        named: defaultdict[int, set[int]] = defaultdict(set)
        for row, side in near:
            if self._sides[row, side].search(text):
                named[row].add(side)
        return {row: frozenset(sides) for row, sides in named.items()}


def disjoint(one: Sides, other: Sides) -> bool:
    """Some contrast has both on a side, and not on the same."""
    if not one or not other:
        return False
    return any(number in other and one[number].isdisjoint(other[number]) for number in one)


def apart(one: Sides, other: Sides) -> bool:
    """Some contrast has each on a side that the other is not on."""
    if not one or not other:
        return False
    return any(number in other and one[number] - other[number] and other[number] - one[number] for number in one)


def starts_in(text: str) -> frozenset[str]:
    """What a word in the text may begin with: each letter, and each with the next."""
    return frozenset(text).union(map(add, text, text[1:]))


def _compile(side: str) -> re.Pattern[str]:
    choices = []
    for word in side.split("|"):
        if HANGUL.search(word):
            choices.append(f"(?<![가-힣]){word}" if len(word) == 1 else word)
        else:
            choices.append(rf"\b{word[:-1]}\w*" if word.endswith("~") else rf"\b{word}\b")
    return re.compile("|".join(choices))


def _beginning(word: str) -> str:
    """The letters that every match of the word begins with; "" where there are none, and then it is in every text."""
    found = _PLAIN.match(word)
    assert found is not None
    optional = word[found.end() : found.end() + 1] in {"?", "*", "{"}
    return found[0][:-1] if optional else found[0]
