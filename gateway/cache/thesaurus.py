"""What the words of a question mean: by which others they can be said, and of which things they are one kind. Pure.

``synonyms.txt`` has words that say the same, ``kinds.txt`` things that are each of one kind and not the same.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain

from gateway.cache.language import HANGUL
from gateway.cache.lexical import base, stem
from gateway.cache.sides import Place, Sides

_ENGLISH = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_KOREAN = re.compile(r"[가-힣]+|[a-z0-9]+")
_BEHIND = re.compile(  # what may follow a noun, or what the forms of a verb begin with
    r"(?:들|님)?(?:에서|으로|에게|한테|까지|부터|이랑|랑|보다|처럼|만큼|에|은|는|이|가|을|를|의|도|만|과|와|로|요|용)?(?:는|도|만|은)?"
    r"|(?:하|되|시키|시켜|받|해|됐|했|돼|할|한|함|된|될|입니|이에|예요|인|일|이|려|면|고|는|은|을|지|니|나|어|아|었|았|게|도록|던|자|줘|주|서|야"
    r"|세|십|습|죠|네|거|느|라|라고|ㄴ)[가-힣]{0,6}"
)
_LONGEST = 4  # words of a Korean entry

Places = frozenset[Place]
Line = list[list[str]]  # sides, of words


@dataclass(frozen=True, slots=True)
class Meaning:
    senses: Mapping[str, tuple[Places, ...]]  # content word → where each part of it is listed
    places: Places  # all of these
    kinds: Sides


class Lexicon:
    """Words and phrases, each with where it is listed. Of those that begin at a word the longest counts."""

    def __init__(self, rows: Sequence[Line]) -> None:
        self._korean: dict[str, Places] = {}  # written without spaces
        self._english: dict[str, Places] = {}  # stems, a space between
        alike: dict[Places, Places] = {}  # most words of a side are listed there alone, and share one set
        for row, sides in enumerate(rows):
            for side, words in enumerate(sides):
                for word in words:
                    entries, key = (
                        (self._korean, "".join(_KOREAN.findall(word)))
                        if HANGUL.search(word)
                        else (self._english, " ".join(map(base, _ENGLISH.findall(word))))
                    )
                    places = entries.get(key, frozenset()) | {(row, side)}
                    entries[sys.intern(key)] = alike.setdefault(places, places)
        # How long the entries are that begin with two letters, or with an English word; the longest first.
        self._sizes = _sizes((word[:2], len(word)) for word in self._korean)
        self._counts = _sizes((word.split(" ")[0], word.count(" ") + 1) for word in self._english)

    def english(self, words: Sequence[str], bases: Sequence[str]) -> Iterator[tuple[str, Places]]:
        """Words of a text, and where they, or the phrases they are in, are listed. ``bases``: without endings."""
        at = 0
        while at < len(words):
            for size in self._counts.get(bases[at], ()):
                places = self._english.get(bases[at] if size == 1 else " ".join(bases[at : at + size]))
                if places is not None:
                    yield from ((word, places) for word in words[at : at + size])
                    at += size
                    break
            else:
                at += 1

    def korean(self, words: Sequence[str]) -> Iterator[tuple[str, Places]]:
        """… of a Korean text."""
        at = 0
        while at < len(words):
            taken, parts = self._begun(words, at)
            yield from ((word, places) for word in words[at : at + taken] for places in parts)
            at += taken

    def _begun(self, words: Sequence[str], at: int) -> tuple[int, list[Places]]:
        """How many of the words from ``at`` on the longest entry takes that they begin with; its places, and those of
        what is joined to it (여권재발급)."""
        if len(words[at]) > 1 and words[at][:2] not in self._sizes:
            return 1, []
        joined = "".join(words[at : at + _LONGEST])
        for size in self._sizes.get(joined[:2], ()):
            places = self._korean.get(joined[:size])
            if places is None or size > len(joined):
                continue
            taken = end = 0
            while end < size:
                end += len(words[at + taken])
                taken += 1
            rest = joined[size:end]
            if not rest or _BEHIND.fullmatch(rest):
                return taken, [places]
            _, more = self._begun([rest], 0)
            if more or size > 2:
                return taken, [places, *(more or [frozenset()])]
        return 1, []


class Thesaurus:
    """Both lists. Kinds are looked for by themselves, since a phrase that is a synonym may hold a thing of a kind."""

    def __init__(self, kinds: str, synonyms: str = "") -> None:
        """Lines as in the files."""
        self._kinds = Lexicon(_lines(kinds))
        self._words = Lexicon([*_lines(kinds), *_lines(synonyms)])

    def meaning(self, text: str, spoken: str) -> Meaning:
        """Of a text in NFKC and lower case."""
        if spoken == "ko":
            words = _KOREAN.findall(text)
            said, things = self._words.korean(words), self._kinds.korean(words)
        else:
            words = _ENGLISH.findall(text.replace("’", "'"))
            bases = list(map(base, words))
            said, things = self._words.english(words, bases), self._kinds.english(words, bases)
        senses: dict[str, tuple[Places, ...]] = {}
        for word, places in said:
            content = stem(word)
            senses[content] = (*senses.get(content, ()), places)
        kinds: defaultdict[int, set[int]] = defaultdict(set)
        for _, places in things:
            for row, side in places:
                kinds[row].add(side)
        return Meaning(
            senses={word: parts for word, parts in senses.items() if word},
            places=frozenset[Place]().union(*chain.from_iterable(senses.values())),
            kinds={row: frozenset(sides) for row, sides in kinds.items()},
        )


def unsaid(mine: Iterable[str], own: Meaning, other: Meaning) -> Iterator[str]:
    """Those of my words that the other question does not say by another word."""
    for word in mine:
        parts = own.senses.get(word)
        if parts is None or any(part.isdisjoint(other.places) for part in parts):
            yield word


def _sizes(entries: Iterable[tuple[str, int]]) -> Mapping[str, Sequence[int]]:
    """The sizes of the entries that begin alike, largest first."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for beginning, size in entries:
        found[beginning].add(size)
    return {beginning: tuple(sorted(sizes, reverse=True)) for beginning, sizes in found.items()}


def _lines(text: str) -> list[Line]:
    lines = (line for line in text.splitlines() if line and line[0] not in "#[")
    return [[side.split("|") for side in line.split(" / ")] for line in lines]


_THESAURUS = Thesaurus(
    *((files("gateway.cache") / name).read_text(encoding="utf-8") for name in ("kinds.txt", "synonyms.txt"))
)
meaning = _THESAURUS.meaning
