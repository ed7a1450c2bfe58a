"""The facts that an answer states, apart from its words and its language. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from gateway.facts.polarity import denies, yes_no
from gateway.facts.quantities import Quantity, located, rates
from gateway.facts.tables import listed
from gateway.facts.text import read
from gateway.facts.words import words

MOST_READ = 8_000  # characters of an answer that are looked at
MOST_QUANTITIES = 300  # of a text: each is held against each of the other answer

_HANGUL = re.compile(r"[가-힣]")
_LINK = re.compile(
    r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+|https?://[^\s가-힣]+"
    r"|(?<!\w)(?<!\w[.-])\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|kr|io|co|example|internal)\b(?:/[^\s가-힣]*)?",
    re.ASCII,
)
_CODE = re.compile(r"\b[a-z\d]+(?:[-_][a-z\d]+)*\b")  # with both letters and digits
_LETTER, _DIGIT = re.compile(r"[a-z]"), re.compile(r"\d")
_UNIT_CODE = re.compile(r"^\d+(?:st|nd|rd|th|k|gb|mb|tb|kg|km|cm|m|h|hr|hrs|am|pm|d|p)$|^(?:doc|fy)\d+$")
_ACRONYM = re.compile(
    r"(?<![A-Za-z])[A-Z][A-Za-z]*[A-Z][A-Za-z]*(?![a-z])|(?<=[가-힣\s(])[A-Z][a-zA-Z]+(?=[가-힣\s),.])"
)
_LATIN_IN_KOREAN = re.compile(r"[a-z][a-z]{1,}")
_ORDINARY = listed("ordinary_latin")
_STEPS_KO = re.compile(r"(?:먼저|우선|첫째)(.+?)(?:그다음|다음으로|그 후|그런 다음|이후|그리고 나서|둘째)(.+)")
_STEPS_EN = re.compile(r"\bfirst,? (.+?)[,;.]? (?:and )?(?:then|next|after that|afterwards|second),? (.+)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one stretch of text states."""

    quantities: tuple[Quantity, ...]
    rates: frozenset[str]  # per day, per month, per person …
    codes: frozenset[str]  # addresses, identifiers, product names, acronyms
    concepts: Mapping[str, frozenset[str]]  # group → those of its concepts that are named
    words: frozenset[str]  # content stems: of one language
    about: tuple[frozenset[str], ...] = ()  # per quantity, the words since the one before it


@dataclass(frozen=True, slots=True)
class FactSignature:
    korean: bool
    refuses: bool  # says that it cannot answer
    yes_no: bool | None
    denies: bool  # polarity of the claim that answers
    lead: Facts  # the sentence that answers
    whole: Facts
    steps: tuple[frozenset[str], ...]  # content of ordered items, in their order
    text: str  # the whole, folded


@lru_cache(maxsize=1_000)  # 15 KB each
def signature(text: str) -> FactSignature:
    """The signature of an answer; equal for texts that differ in citations, markup, Unicode form and case only."""
    parts = read(text[:MOST_READ])
    korean = bool(_HANGUL.search(parts.whole))
    names = _names(text, korean)
    return FactSignature(
        korean=korean,
        refuses=parts.refuses,
        yes_no=yes_no(parts.whole),
        denies=denies(parts.lead),
        lead=_facts(parts.lead, names, korean),
        whole=_facts(parts.whole, names, korean),
        steps=tuple(words(item) for item in parts.items) or _steps(parts.whole),
        text=parts.whole,
    )


def _facts(text: str, names: frozenset[str], korean: bool) -> Facts:
    links = {found.rstrip(".,/") for found in _LINK.findall(text)}
    rest = _LINK.sub(" ", text)
    mixed = (code for code in _CODE.findall(rest) if _LETTER.search(code) and _DIGIT.search(code))
    codes = {code for code in mixed if not _UNIT_CODE.match(code)}
    named = {name for name in names if re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", rest)}
    found = located(rest)[:MOST_QUANTITIES]
    ends = [0, *(at for at, _ in found)]
    return Facts(
        quantities=tuple(quantity for _, quantity in found),
        rates=rates(rest),
        codes=frozenset(links | codes | named),
        concepts=_concepts(text),
        words=words(rest),
        about=tuple(words(rest[start:end]) for start, end in pairwise(ends)),
    )


def _names(text: str, korean: bool) -> frozenset[str]:
    """Names in Latin letters. In Korean every Latin word is one, in English what has capitals inside."""
    plain = _LINK.sub(" ", text)
    if korean:
        found = set(_LATIN_IN_KOREAN.findall(plain.casefold()))
    else:
        shouted = plain.upper() == plain
        found = (
            set() if shouted else {name.casefold() for name in re.findall(r"\b[A-Z][A-Za-z]*[A-Z][A-Za-z]*\b", plain)}
        )
    return frozenset(name for name in found if len(name) > 1 and name not in _ORDINARY and not name.startswith("doc"))


def _steps(text: str) -> tuple[frozenset[str], ...]:
    match = _STEPS_KO.search(text) or _STEPS_EN.search(text)
    return tuple(words(part) for part in match.groups()) if match else ()


def _concepts(text: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for group, concept, pattern in _CONCEPTS:
        if pattern.search(text):
            found.setdefault(group, set()).add(concept)
    return {group: frozenset(concepts) for group, concepts in found.items()}


def _read_concepts() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    rows = []
    for line in (files("gateway.facts") / "concepts.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, korean, english = line.split(" / ")
            group, concept = name.split(": ")
            rows.append((group, concept, re.compile(f"{korean}|{english}")))
    return tuple(rows)


_CONCEPTS = _read_concepts()
