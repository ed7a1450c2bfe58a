"""An answer's text made comparable: marks and markup off, cut into sentences, the one that answers found. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from gateway.facts.tables import pattern

_CITATION = re.compile(r"(?<!\s)\s*(?:\[doc\d+\]|【[^】]*】|\[\d{1,2}\](?!\())", re.IGNORECASE)
_MARKUP = re.compile(r"\*\*|__|`|^#{1,6}\s+|^>\s?", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?。])(?<!\b[a-z]\.)(?<!no\.)(?<!vs\.)\s+|(?<=다\.)(?=[가-힣])|\n+", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:(\d{1,2})[.)]|[①②③④⑤⑥⑦⑧⑨]|[-*•·])\s+")
_FILLER = pattern("filler", "^")
REFUSAL = pattern("refusals")


@dataclass(frozen=True, slots=True)
class Read:
    """An answer as it is compared."""

    whole: str  # folded, without citations and markup
    lead: str  # what answers: the first sentence that states something, with the list that it announces
    items: tuple[str, ...]  # of the first numbered list
    refuses: bool


@lru_cache(maxsize=100)
def read(text: str) -> Read:
    plain = _MARKUP.sub("", _CITATION.sub("", unicodedata.normalize("NFKC", text))).strip()
    lines = [line for line in plain.splitlines() if line.strip()]
    numbered = [line[m.end() :].strip() for line in lines if (m := _ITEM.match(line)) and m[0].strip()[0] not in "-*•·"]
    sentences = [s for line in lines for s in _sentences(line)]
    listed = [line for line in lines if _ITEM.match(line)]
    lead = _lead([", ".join(map(_bare, listed))] if lines and lines[0] in listed else sentences)
    refuses = bool(REFUSAL.search(lead)) or bool(sentences and REFUSAL.search(sentences[0]))
    return Read(" ".join(sentences).casefold(), lead.casefold(), tuple(i.casefold() for i in numbered), refuses)


def _bare(line: str) -> str:
    return _ITEM.sub("", line).strip()


def _sentences(line: str) -> list[str]:
    line = _bare(line)
    return [part.strip() for part in _SENTENCE_END.split(line) if part and part.strip()]


def _lead(sentences: list[str]) -> str:
    """The first sentence with its filler off; one that only announces brings what it announces along."""
    for position, sentence in enumerate(sentences):
        rest = sentence
        while (shorter := _FILLER.sub("", rest, count=1)) != rest:
            rest = shorter
        if rest.rstrip().endswith((":", "다음과 같습니다.", "다음과 같습니다", "as follows.", "아래와 같습니다.")):
            return " ".join([rest, *sentences[position + 1 :]])
        if len(rest) > 3:
            return rest
    return " ".join(sentences)
