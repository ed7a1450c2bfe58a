"""Names in a question that are more than words: product codes, acronyms, names in other scripts. Pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache

from gateway.cache.language import HANGUL
from gateway.cache.lexical import small

_MARKS = r"(?:\+\+?|#)(?![A-Za-z0-9])"  # C++ is not C#, and A+ not A
_CODE = re.compile(rf"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*(?:{_MARKS})?")
_GRADE = re.compile(r"(?<![A-Za-z])[A-F][-−](?=\s|$)")
_JOINED = re.compile(r"(?<=[a-z])\.(?=[A-Z])")  # "it works.But": two sentences
_PLURAL = re.compile(r"[A-Z]{2,}s")
_DIGIT = re.compile(r"\d")
_MIXED = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_.-]+")
_FOREIGN = re.compile(r"[^\W\d_A-Za-zªº가-힣ᄀ-ᇿㄱ-ㆎ\u00c0-\u024f]+")
_ACCENTED = re.compile(r"\b(?=[^\W\d_]*[\u00c0-\u024f])[A-Z\u00c0-\u00de\u0100-\u024f][A-Za-z\u00c0-\u024f]+")
# In capitals a name of its own, in lower case a small word. Words that capitals only stress (NOT, WHY, ALL) are none.
_ACRONYM = re.compile(r"(?<![A-Za-z'’])(?<!\d)(?<!\d )(?:A[MS]|I[NST]|ME|OR|US|U\.S\.?|WHO)(?![A-Za-z'’])")
_LETTERS = re.compile(r"[A-Za-z]+")
_PROPER = re.compile(r"(?<=[a-z0-9,;'’] )(?!I\b)[A-Z][A-Za-z]+(?:'s)?(?![A-Za-z-])")  # not where a sentence begins
_NEARLY = 0.7  # of the letters in common, as difflib counts them
_ORDINARY_LATIN = frozenset("a an the in on of to is am pm vs no ok re it by or and for with app pc".split())  # noqa: SIM905


def fold(text: str) -> str:
    """Lower case, except where capitals make another word: "IT" is not "it"."""
    return _ACRONYM.sub(lambda found: f"\0{found[0]}", text).casefold() if acronyms(text) else text.casefold()


def acronyms(text: str) -> frozenset[str]:
    """Names in capitals that would be small words of English in lower case: IT, US, WHO."""
    if text.upper() == text or HANGUL.search(text):  # shouted; in Korean "it" is no word
        return frozenset()
    return frozenset(found.replace(".", "") for found in _ACRONYM.findall(text))


def codes(text: str, spoken: str) -> frozenset[str]:
    """Names in Latin letters, and in scripts that are not the question's own. In English only what looks like one:
    capitals inside, digits, a mark."""
    mixed = _MIXED.findall(text) if _DIGIT.search(text) else ()
    found = {word.casefold().rstrip(".-_") for word in mixed} | acronyms(text) | _foreign(text)
    found |= {word.casefold() for word in _GRADE.findall(text)}
    if spoken != "latin":
        return frozenset(found | ({word.casefold() for word in _CODE.findall(text)} - _ORDINARY_LATIN))
    if text.upper() == text:  # shouted: capitals say nothing
        return frozenset(found)
    named = (word for word in _CODE.findall(_JOINED.sub(" ", text)) if _looks_like_a_name(word))
    return frozenset(found.union(map(_abbreviation, named)))


def latin(text: str) -> frozenset[str]:
    """All words in Latin letters: "pan" names what "PAN" does."""
    words = _CODE.findall(text)
    marked = [word for word in words if not word.islower() or "." in word]  # of the others nothing is to be told
    capitals = {word.replace(".", "") for word in marked if _ACRONYM.fullmatch(word)}
    return frozenset(map(_abbreviation, marked)).union(map(str.casefold, words), capitals)


def proper(text: str, spoken: str) -> frozenset[str]:
    """Names in an English question by their capital alone, in lower case: Barclays, Croydon. None where most words have
    one."""
    if spoken != "latin":
        return frozenset()
    words = [word for word in _LETTERS.findall(text)[1:] if word != "I"]
    capitals = sum(word[0].isupper() for word in words)
    if not capitals or 2 * capitals > len(words):
        return frozenset()
    found = (name[0].removesuffix("'s").casefold() for name in _PROPER.finditer(text))
    return frozenset(word for word in found if not small(word))


def named_apart(mine: frozenset[str], my_words: frozenset[str], theirs: frozenset[str], words: frozenset[str]) -> bool:
    """Each has a proper name that is not, nor nearly (a slip of the pen, a plural), a word of the other."""
    return _only(mine, words) and _only(theirs, my_words)


def _only(mine: frozenset[str], words: frozenset[str]) -> bool:
    return any(not get_close_matches(word, words, 1, _NEARLY) for word in mine - words)


def _looks_like_a_name(word: str) -> bool:
    if word[-1] in "+#":
        return True
    capitals_inside = word[1:] != word[1:].lower()
    return capitals_inside and not small(word.casefold())  # an ordinary word in capitals is stressed


def _foreign(text: str) -> frozenset[str]:
    """Words in other scripts than the rest of the question, and names with accents."""
    if text.isascii():
        return frozenset()
    accented = frozenset(word.casefold() for word in _ACCENTED.findall(text))
    words = _FOREIGN.findall(text)
    own = len(_CODE.findall(text)) + len(HANGUL.findall(text))
    return accented.union(word.casefold() for word in words) if len(words) <= own else accented


@lru_cache(maxsize=20_000)
def _abbreviation(word: str) -> str:
    """ATM of ATMs, US of U.S."""
    if all(len(part) == 1 for part in word.split(".")):
        word = word.replace(".", "")
    return (word[:-1] if _PLURAL.fullmatch(word) else word).casefold()
