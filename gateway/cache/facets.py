"""What a question turns on: its numbers, codes, negations, sides taken. Two questions that differ here differ. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from gateway.cache import contrasts, counted, english_words, korean_words, names, numbers
from gateway.cache.arrangement import Arrangement, rearranged
from gateway.cache.counted import Counted
from gateway.cache.grammar import Grammar, grammar, said_apart
from gateway.cache.language import language
from gateway.cache.numbers import Quantities
from gateway.cache.question_words import frames, question_words
from gateway.cache.sides import Contrasts, Sides, apart, disjoint, starts_in
from gateway.cache.thesaurus import Meaning, meaning

_NEGATION = re.compile(f"{contrasts.NEGATIONS_KO}|{contrasts.NEGATIONS_EN}", re.IGNORECASE)
_NEGATION_EN = re.compile(contrasts.NEGATIONS_EN, re.IGNORECASE)
_NEGATING = re.compile(r"(?:않|없|못|아니|아닌|말고|마$|마세|마십|대신|not$|never$|no$|\w+n['’]?t$)")
_TURNED = re.compile(r"(?:un|non-?|dis)(.{4,})")


@dataclass(frozen=True, slots=True)
class Facets:
    numbers: Quantities
    codes: frozenset[str]  # product names, acronyms, identifiers
    proper: frozenset[str]  # names by their capital alone
    latin: frozenset[str]  # all words in Latin letters: "pan" names what "PAN" does
    unturned: frozenset[str]  # "opened" where the question says "unopened"
    negations: int
    audience: Sides
    hard: Sides
    soft: Sides
    meaning: Meaning
    asks: frozenset[str]  # question words
    language: str
    counts: tuple[Counted, ...]  # what its numbers count, where there are several
    arrangement: Arrangement
    grammar: Grammar | None  # of Korean


@lru_cache(maxsize=10_000)  # 7 KB each
def facets(text: str) -> Facets:
    """The facets of a question as the caller wrote it."""
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    folded = text.casefold()
    spoken = language(text)
    found, starts, latin = numbers.found_in(folded), starts_in(folded), names.latin(text)
    negation = _NEGATION if spoken == "ko" else _NEGATION_EN  # the Korean half takes as long to find nothing
    return Facets(
        numbers=numbers.quantities(found),
        codes=names.codes(text, spoken),
        proper=names.proper(text, spoken),
        latin=latin,
        unturned=frozenset(turned[1] for word in latin if (turned := _TURNED.fullmatch(word))),
        negations=len(negation.findall(folded)),
        audience=_AUDIENCE.sides(folded, starts),
        hard=_HARD.sides(folded, starts),
        soft=_SOFT.sides(folded, starts),
        meaning=meaning(folded, spoken),
        asks=question_words(folded),
        language=spoken,
        counts=counted.counted(folded, found),
        arrangement=(korean_words if spoken == "ko" else english_words).arranged(folded),
        grammar=grammar(folded) if spoken == "ko" else None,
    )


def negates(word: str) -> bool:
    """Whether a content word does nothing but negate."""
    return _NEGATING.match(word) is not None


@lru_cache(maxsize=10_000)
def frame(text: str) -> frozenset[str]:
    """What a question wants to hear: its question words, and obligation, wish, yes or no."""
    folded = " ".join(unicodedata.normalize("NFKC", text).split()).casefold()
    return facets(text).asks | frames(folded)


def veto(one: Facets, other: Facets) -> str:
    """Why the two cannot be one question; "" where nothing speaks against it."""
    if one.language != other.language:
        return "language"
    if not numbers.agree(one.numbers, other.numbers):
        return "numbers"
    if _unnamed(one, other) or _unnamed(other, one):
        return "codes"
    if one.negations % 2 != other.negations % 2:
        return "negation"
    if soft_conflict(one, other):
        return "polarity"
    if one.audience != other.audience or one.hard != other.hard:
        return "audience, time or measure"
    if _ask_apart(one, other):
        return "question word"
    if apart(one.meaning.kinds, other.meaning.kinds):
        return "kind"
    if _named_apart(one, other):
        return "codes"
    if rearranged(one.arrangement, other.arrangement) or counted.exchanged(one.counts, other.counts):
        return "direction"
    return _said_apart(one, other)


def contradicts(one: Facets, other: Facets) -> bool:
    """Both say something about one thing, and not the same."""
    return (
        one.language != other.language
        or (_unshared(one.numbers, other.numbers) and _unshared(other.numbers, one.numbers))
        or numbers.exchanged(one.numbers, other.numbers)
        or bool(_unnamed(one, other) and _unnamed(other, one))
        or disjoint(one.audience, other.audience)
        or disjoint(one.hard, other.hard)
        or soft_conflict(one, other)
        or rearranged(one.arrangement, other.arrangement)
        or counted.exchanged(one.counts, other.counts)
        or bool(_said_apart(one, other))
    )


def final(one: Facets, other: Facets) -> bool:
    """Two questions whatever else they share: they contradict each other, ask for or about someone else, or one tells a
    number where the other asks for one."""
    return (
        contradicts(one, other)
        or one.audience != other.audience
        or _ask_apart(one, other)
        or (not numbers.agree(one.numbers, other.numbers) and bool((one.asks | other.asks) & _NUMBER_ASKED))
    )


def soft_conflict(one: Facets, other: Facets) -> bool:
    """Some contrast has both questions on a side, and not on the same."""
    return (
        disjoint(one.soft, other.soft)
        or not one.unturned.isdisjoint(other.latin)
        or not other.unturned.isdisjoint(one.latin)
    )


def _unshared(mine: Quantities, theirs: Quantities) -> bool:
    """Some quantity is only mine; a unit that only one names is no difference."""
    left = list(theirs)
    for value, unit in mine:
        match = next((x for x in left if x[0] == value and (x[1] == unit or not unit or not x[1])), None)
        if match is None:
            return True
        left.remove(match)
    return False


def _unnamed(mine: Facets, theirs: Facets) -> frozenset[str]:
    return mine.codes - theirs.codes - theirs.latin


def _named_apart(one: Facets, other: Facets) -> bool:
    return names.named_apart(one.proper, one.latin, other.proper, other.latin)


def _said_apart(one: Facets, other: Facets) -> str:
    return said_apart(one.grammar, other.grammar) if one.grammar is not None and other.grammar is not None else ""


def _ask_apart(one: Facets, other: Facets) -> bool:
    return bool(_who_asks(one) and _who_asks(other) and not one.asks & other.asks)


def _who_asks(one: Facets) -> frozenset[str]:
    return one.asks - {"may", "how", "which"}  # a method and a possibility are asked for in each other's words


_NUMBER_ASKED = frozenset(("how_many", "how_much", "how_long", "how_often", "when"))
_AUDIENCE = Contrasts(contrasts.AUDIENCE)
_HARD = Contrasts(contrasts.HARD)
_SOFT = Contrasts(contrasts.SOFT)
