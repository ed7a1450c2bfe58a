"""What two questions share on the surface: Hangul bigrams, stems, words without the small ones. Pure."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from operator import add

from gateway.cache.korean_light import light
from gateway.cache.language import HANGUL

_WORD = re.compile(r"[가-힣]+|[^\W\d_가-힣]+(?:'[a-z]+|(?:\+\+?|#)(?![a-z0-9]))?|\d+(?:[.,]\d+)*")
# A particle after a name in Latin letters is a word to ``_WORD``: in another place the name would have another.
_PARTICLE = re.compile(r"(?<=[a-z0-9])(?:에서|으로|에게|까지|부터|은|는|이|가|을|를|의|에|와|과|로)(?![가-힣])")
# Endings and particles taken off a Korean word, longest first; what is left is near enough to a stem to compare.
_ENDINGS = re.compile(
    r"(?:하려면요?|할까요?|합니까|하나요|하는지|하는가|한가요|하세요|해주세요|해줘요?|해요|하면|하고|해서|하는|한지|할지|할|한|함|해|하기|하지"
    r"|됩니까|되나요|되는지|되나|돼요?|되면|되는|된|될까요?|될"
    r"|입니까|인가요|인지|이에요|예요|이야|야|입니다|이죠|죠|나요|는지|는가|은지|은가|을까요?|까요?|세요|어요|아요|습니까|습니다|니까"
    r"|에서는|에서|에게|으로는|으로|로는|까지|부터|이랑|랑|보다|처럼|만큼|에는|에도|에|은|는|이|가|을|를|의|도|만|과|와|로|요|지|줘|면|고|서|게)$"
)
_SMALL = frozenset(
    word
    for line in (files("gateway.cache") / "small_words.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for word in line.split()
)
_ALONE = frozenset("나내저제그이몇")  # small, but not what is left of 나이, 제도 and 내과


@dataclass(frozen=True, slots=True)
class Surface:
    grams: frozenset[str]  # 2- and 3-grams of the squeezed text
    words: frozenset[str]  # stems that carry content
    length: int  # characters without spaces


@lru_cache(maxsize=10_000)  # 4 KB each
def surface(text: str) -> Surface:
    folded = unicodedata.normalize("NFC", text).casefold()
    words = _WORD.findall(folded)
    squeezed = "".join(words)
    twos = list(map(add, squeezed, squeezed[1:]))
    grams = frozenset(map(sys.intern, chain(twos, map(add, twos, squeezed[2:]))))
    return Surface(grams, frozenset(filter(None, map(stem, words))), len(squeezed))


def stems(text: str) -> tuple[str, ...]:
    """The content words in the order of the text, as compared."""
    words = _WORD.findall(_PARTICLE.sub(" ", unicodedata.normalize("NFC", text).casefold()))
    return tuple(found for word in words if (found := stem(word)))


def small(word: str) -> bool:
    """Whether a word in lower case carries no content."""
    return word in _SMALL


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Cosine of two sets, 0 to 1."""
    if not one or not other:
        return 1.0 if one == other else 0.0
    return float(len(one & other) / (len(one) * len(other)) ** 0.5)


@lru_cache(maxsize=20_000)  # words come again and again
def stem(word: str) -> str:
    """The word as compared; "" for one that carries nothing."""
    if HANGUL.match(word):
        if word in _SMALL or light(word):
            return ""
        bare = _ENDINGS.sub("", word) if len(word) > 1 else word
        return word if bare in _ALONE else "" if bare in _SMALL else bare
    return "" if word in _SMALL else base(word)


@lru_cache(maxsize=20_000)
def base(word: str) -> str:
    """An English word without its ending."""
    for ending in ("ings", "ing", "ies", "ed", "es", "s", "'s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
