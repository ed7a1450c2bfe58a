"""Text → token ids: SentencePiece's unigram model, as XLM-RoBERTa uses it.

A library for it (tokenizers) brings ten packages and takes half a second to load; the best path through a word takes
twenty lines, and most words have been seen before.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.embedding.e5.weights import Vocabulary

WORD_START = "\u2581"  # stands for the space before a word; only ever the first character of a piece
UNKNOWN_PENALTY = 10.0  # below the worst piece, as SentencePiece has it
KEPT_WORDS = 32_768
IMPOSSIBLE = -1e30

_WORDS = re.compile(" [^ ]*")
_SPACES = re.compile(" {2,}")


class Tokens:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._ids = dict(zip(vocabulary.pieces, range(len(vocabulary.pieces)), strict=True))
        self._ids.pop(vocabulary.pieces[vocabulary.unknown], None)
        self._scores = vocabulary.scores
        self._unknown = vocabulary.unknown
        self._unknown_score = min(vocabulary.scores) - UNKNOWN_PENALTY
        self._longest = max(map(len, self._ids))
        self._folded = vocabulary.folded
        self._word = lru_cache(KEPT_WORDS)(self._split)

    def ids(self, text: str) -> list[int]:
        """Without the marks of beginning and end."""
        folded = _SPACES.sub(" ", text.translate(self._folded))
        if not folded.startswith(" "):
            folded = " " + folded
        return [id for word in _WORDS.findall(folded) for id in self._word(word)]

    def _split(self, word: str) -> tuple[int, ...]:
        """The most probable pieces of one word (Viterbi)."""
        word = WORD_START + word[1:]
        size = len(word)
        best = [0.0] + [IMPOSSIBLE] * size  # of a path that ends before this character
        last = [(0, 0)] * (size + 1)  # its last piece: id, start
        for start in range(size):
            before = best[start]
            for end in range(start + 1, min(size, start + self._longest) + 1):
                id = self._ids.get(word[start:end])
                if id is not None and before + self._scores[id] > best[end]:
                    best[end] = before + self._scores[id]
                    last[end] = id, start
            if before + self._unknown_score > best[start + 1]:
                best[start + 1] = before + self._unknown_score
                last[start + 1] = self._unknown, start
        found = []
        at = size
        while at:
            id, at = last[at]
            found.append(id)
        return tuple(reversed(found))
