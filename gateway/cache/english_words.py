"""What each word of an English question does there: its place, its preposition, who acts and who is acted on. Pure."""

from __future__ import annotations

import re

from gateway.cache.arrangement import Arrangement, Word
from gateway.cache.lexical import stem

_WORD = re.compile(r"[^\W_]+(?:['’][a-z]+)?(?:\+\+?|#)?")
_ARTICLES = frozenset(("a", "an", "the", "this", "that", "these", "those", "my", "your", "our", "i", "we", "you"))
_PREPOSITIONS = frozenset(
    word
    for line in (
        "from to into onto than for of on in at by against under over between through",
        "when if while because",
    )
    for word in line.split()
)
_GOVERNING = {
    "before": "before", "after": "after", "until": "until", "without": "without", "except": "without",
    "excluding": "without", "unless": "without", "no": "without",
}  # fmt: skip
_PERSONS = {
    word: (person, role)
    for person, roles in {
        "i": {"subject": "i i'm i've i'd i'll", "object": "me"},
        "we": {"subject": "we we're we've we'd we'll", "object": "us"},
        "you": {"": "you u you're you've you'd you'll"},
    }.items()
    for role, words in roles.items()
    for word in words.split()
}
_POLITE = re.compile(
    r"\b(?:(?:tell|help|let|give|show|send|get|explain to) me|(?:can|could|would|will) you (?:please|tell|help))\b"
)


def arranged(text: str) -> Arrangement:
    """Of a question in NFKC and lower case."""
    text = text.replace("’", "'")
    words: list[Word] = []
    between: list[str] = []
    passed: list[str] = []  # small words since the last content word
    for written in _WORD.findall(text):
        content = "" if written in _GOVERNING or written in _PREPOSITIONS else stem(written)
        if not content and written != "not":
            passed.append(written)
            continue
        words.append(Word(content or "not", _role(passed), _under(passed)) if passed else Word(content or "not"))
        between.append(_around(passed) if passed else "")
        passed = []
    between.append(_around(passed))
    return Arrangement("latin", tuple(words), tuple(between), _persons(text))


def _role(passed: list[str]) -> str:
    role = next((word for word in reversed(passed) if word in _PREPOSITIONS), "")
    return "to" if role in ("into", "onto") else role


def _under(passed: list[str]) -> frozenset[str]:
    return frozenset(_GOVERNING[word] for word in passed if word in _GOVERNING)


def _around(passed: list[str]) -> str:
    return " ".join("do" if word == "does" else word for word in passed if word not in _ARTICLES)


def _persons(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(_PERSONS[word] for word in _WORD.findall(_POLITE.sub(" ", text)) if word in _PERSONS)
