"""The passage that most likely answers, in its own words: better than nothing when no answer is ready in time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.chat import Evidence, Passage
from gateway.retrieval.tokens import tokenize

MAX_CHARACTERS = 700
_LINE_END = re.compile(r"\n+|(?<=다\.)\s+|(?<=[.!?])\s+(?=[A-Z가-힣])")


@dataclass(frozen=True, slots=True)
class Quote:
    text: str
    number: int  # of the passage in the evidence, from 1
    source: str  # document and section


def quote(question: str, evidence: Evidence) -> Quote | None:
    """The best passage, cut around the line that says most of what was asked for. None without evidence."""
    if not evidence.passages:
        return None
    best = max(evidence.passages, key=lambda p: p.score)
    where = f"{best.collection}/{best.document}"
    return Quote(
        text=_around(question, best),
        number=evidence.passages.index(best) + 1,
        source=f"{where} · {' '.join(best.section.split())}" if best.section else where,
    )


def _around(question: str, passage: Passage) -> str:
    """Whole lines, at most ``MAX_CHARACTERS``, with the nearest one among them."""
    lines = [line.strip() for line in _LINE_END.split(passage.text) if line.strip()]
    asked = set(tokenize(question))
    start = end = max(range(len(lines)), key=lambda i: len(asked & set(tokenize(lines[i]))), default=0)
    size = len(lines[start]) if lines else 0
    while True:
        after = end + 1 < len(lines) and size + len(lines[end + 1]) <= MAX_CHARACTERS
        before = start > 0 and size + len(lines[start - 1]) <= MAX_CHARACTERS
        if after:
            end += 1
            size += len(lines[end])
        elif before:
            start -= 1
            size += len(lines[start])
        else:
            break
    return "\n".join(lines[start : end + 1])[: 2 * MAX_CHARACTERS]
