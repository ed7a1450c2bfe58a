"""Cutting a passage into statements that can be said on their own: sentences, bullets, table rows (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from bench.provider.passages import Passage

_BULLET = re.compile(r"^\s*(?:[-*•·]|\d{1,2}[.)])\s+")
_RULE = re.compile(r"^[\s|:\-=_*]+$")  # table rules, horizontal rules
_SENTENCE_END = re.compile(r"(?<=[.!?。])(?<![ap]\.m\.)\s+")
_MARKUP = re.compile(r"\*\*|__|`")


@dataclass(frozen=True, slots=True)
class Statement:
    text: str  # as it may be quoted, without a closing full stop
    context: str  # title, headings, table header or lead-in over it: helps to find it, is not quoted
    passage: str  # "doc3"


@lru_cache(maxsize=4_000)
def statements(passage: Passage) -> tuple[Statement, ...]:
    """Every statement of ``passage`` in its order."""
    found: list[Statement] = []
    headings: dict[int, str] = {}
    lead_in = ""
    header: list[str] | None = None
    for raw in passage.text.splitlines():
        line = _MARKUP.sub("", raw).strip()
        if not line or _RULE.match(line):
            continue
        if line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            headings = {n: text for n, text in headings.items() if n < level} | {level: line.lstrip("# ")}
            lead_in, header = "", None
            continue
        over = " ".join([passage.title, *headings.values()])
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if header is None:
                header = cells
                continue
            found.append(Statement(_row(header, cells), f"{over} {lead_in}", passage.name))
            continue
        header = None
        bullet = bool(_BULLET.match(line))
        line = _BULLET.sub("", line)
        context = f"{over} {lead_in}" if bullet else over
        if line.endswith(":") and not bullet:
            lead_in = line
            continue
        found += [Statement(part.rstrip(".。 "), context, passage.name) for part in _sentences(line)]
    return tuple(found)


def _sentences(line: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(line) if len(part) > 3]


def _row(header: list[str], cells: list[str]) -> str:
    """A table row as words: "직급 과장: 숙박비 12만 원, 일비 3만 원"."""
    pairs = [f"{name} {cell}".strip() for name, cell in zip(header, cells, strict=False) if cell]
    return f"{pairs[0]}: {', '.join(pairs[1:])}" if len(pairs) > 1 else " ".join(pairs)
