"""Which sides of the contrasts a question takes: enable or disable, 정규직 or 인턴. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise

from gateway.cache.language import HANGUL

_PLAIN = re.compile(r"[^\[\](){}?*+.|\\^$~]*")

Sides = Mapping[int, frozenset[int]]  # contrast → the sides named, where any is


class Contrasts:
    """Rows of sides, each side a pattern of words. Most questions take no side in most rows, so a row is only looked at
    where one of its words begins in the text."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """``rows``: as in ``contrasts.txt``."""
        self._rows = tuple(tuple(_compile(side) for side in row) for row in rows)
        self._always: list[int] = []  # rows with a word that no letters begin
        self._beginning: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)  # first two letters → words, rows
        for number, row in enumerate(rows):
            beginnings = {_beginning(word) for side in row for word in re.split(r"\|(?![^(]*\))", side)}
            if "" in beginnings:
                self._always.append(number)
                continue
            for beginning in beginnings:
                self._beginning[beginning[:2]].append((beginning, number))

    def sides(self, text: str, starts: Set[str]) -> Sides:
        """The sides named in a text in lower case, of which ``starts`` are the ``starts_in``."""
        near = {
            row
            for start in self._beginning.keys() & starts
            for beginning, row in self._beginning[start]
            if beginning in text
        }
        named = {number: self._named(number, text) for number in (*self._always, *near)}
        return {number: sides for number, sides in named.items() if sides}

    def _named(self, number: int, text: str) -> frozenset[int]:
        return frozenset(i for i, side in enumerate(self._rows[number]) if side.search(text))


def disjoint(one: Sides, other: Sides) -> bool:
    """Some contrast has both on a side, and not on the same."""
    return any(not one[number] & other[number] for number in one.keys() & other.keys())


def starts_in(text: str) -> frozenset[str]:
    """What a word in the text may begin with: each letter, and each with the next."""
    return frozenset(text).union(map("".join, pairwise(text)))


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
