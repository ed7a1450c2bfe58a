"""Text → token ids, as BERT base uncased has it: lower case, no accents, longest known piece of a word first."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.resources import files

MAX_WORD = 100  # letters; a longer word is unknown
CHINESE = (("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0002fa1f"))


class WordPieces:
    """The vocabulary of a model, and the ids of texts in it."""

    def __init__(self) -> None:
        text = (files("gateway.embedding.minilm") / "vocabulary.txt").read_text(encoding="utf-8")
        self._ids = {piece: number for number, piece in enumerate(text.splitlines())}
        self._first, self._last, self._unknown = (self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        self._of_word = lru_cache(20_000)(self._pieces)

    def ids(self, text: str, limit: int) -> list[int]:
        """At most ``limit`` ids, the two that mark the ends among them."""
        found = [number for word in _words(text) for number in self._of_word(word)]
        return [self._first, *found[: limit - 2], self._last]

    def _pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > MAX_WORD:
            return (self._unknown,)
        found, start = [], 0
        while start < len(word):
            begin = "##" if start else ""
            fits = (end for end in range(len(word), start, -1) if begin + word[start:end] in self._ids)
            end = next(fits, 0)
            if not end:
                return (self._unknown,)
            found.append(self._ids[begin + word[start:end]])
            start = end
        return tuple(found)


def _words(text: str) -> list[str]:
    clean = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    plain = unicodedata.normalize("NFD", clean.lower())
    marked = (f" {c} " if _stands_alone(c) else c for c in plain if unicodedata.category(c) != "Mn")
    return "".join(marked).split()


def _stands_alone(sign: str) -> bool:
    """Punctuation, every sign of ASCII, Chinese characters."""
    if sign.isascii():
        return not sign.isalnum() and sign != " "
    return unicodedata.category(sign)[0] == "P" or any(low <= sign <= high for low, high in CHINESE)
