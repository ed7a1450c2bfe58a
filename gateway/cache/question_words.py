"""What a question wants to hear: who, when, how much; obligation, wish, yes or no. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.cache import contrasts

Patterns = tuple[tuple[str, re.Pattern[str]], ...]  # name, pattern


def question_words(text: str) -> frozenset[str]:
    """Names of the question words in a text in NFKC and lower case."""
    return _named(_LATIN_WORDS if text.isascii() else _WORDS, text)


def frames(text: str) -> frozenset[str]:
    """… and of what it wants besides."""
    return _named(_LATIN_FRAMES if text.isascii() else _FRAMES, text)


def _named(patterns: Patterns, text: str) -> frozenset[str]:
    return frozenset(name for name, pattern in patterns if pattern.search(text))


def _latin(rows: Sequence[tuple[str, str, str]]) -> Patterns:
    return tuple((name, re.compile(english)) for name, _, english in rows)


def _both(rows: Sequence[tuple[str, str, str]]) -> Patterns:
    return tuple((name, re.compile("|".join(filter(None, (korean, english))))) for name, korean, english in rows)


_LATIN_WORDS, _WORDS = _latin(contrasts.QUESTION_WORDS), _both(contrasts.QUESTION_WORDS)
_LATIN_FRAMES, _FRAMES = _latin(contrasts.FRAMES), _both(contrasts.FRAMES)
