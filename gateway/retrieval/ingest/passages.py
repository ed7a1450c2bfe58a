"""Blocks → passages: pieces of about a paragraph that can be understood and cited alone. Pure, deterministic, no
overlap.

A passage stays under one heading, and carries the headings' path; sentences and table rows stay whole; every piece of
a long table repeats the table's header. Short neighbouring sections are joined, keeping their headings as lines of
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.retrieval.documents import Piece
from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, Table

RECIPE = "passages-1"  # raise it with every change of what is cut where: files are then read anew
FULL_CHARS = 600  # a passage never gets longer
GOOD_CHARS = 300  # from here on a passage may end
SHORT_CHARS = 120  # a section under this is joined with the next one

_SENTENCE_END = re.compile(
    r"(?<=[.!?。…])[\"'”’)\]」』]*\s+"  # Latin and Korean full stops; a stop inside 3.5 or a.b has no space after it
    r"|(?<=[。!?])(?=\S)"  # CJK full stops need none
    r"|\n+"
)
_NOT_AN_END = re.compile(r"(?:^|\s)(?:\d{1,3}|[가-하]|[A-Za-z]|e\.g|i\.e|No|Mr|Mrs|Dr|vs|cf|etc)\.$")


def split(parsed: Parsed) -> list[Piece]:
    """The passages of a document, in reading order; [] where it has no text."""
    blocks: Iterable[Block] = parsed.blocks
    if all(isinstance(block, Heading) for block in blocks):  # a note of one line looks like one
        blocks = [Paragraph(block.text) for block in parsed.blocks if isinstance(block, Heading)]
    return [piece for section in _joined(_sections(blocks)) for piece in _cut(section)]


@dataclass(slots=True)
class _Section:
    path: tuple[str, ...]
    units: list[str] = field(default_factory=list)  # sentences, list items, table rows: never cut if they fit
    headers: dict[int, str] = field(default_factory=dict)  # unit number -> header of the table whose row it is

    @property
    def chars(self) -> int:
        return sum(len(unit) + 1 for unit in self.units)

    def add(self, unit: str, header: str = "") -> None:
        if header:
            self.headers[len(self.units)] = header
        self.units.append(unit)


def _sections(blocks: Iterable[Block]) -> Iterator[_Section]:
    path: list[tuple[int, str]] = []
    section = _Section(())
    for block in blocks:
        if isinstance(block, Heading):
            if section.units:
                yield section
            path = [(level, text) for level, text in path if level < block.level]
            path.append((block.level, " ".join(block.text.split())))
            section = _Section(tuple(text for _, text in path if text))
        elif isinstance(block, Paragraph):
            for sentence in sentences(block.text):
                section.add(sentence)
        else:
            _add_table(section, block)
    if section.units:
        yield section


def _add_table(section: _Section, table: Table) -> None:
    header = _row(table.header) if table.header else ""
    for row in table.rows:
        section.add(_row(row), header)
    if header and not table.rows:
        section.add(header)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def sentences(text: str) -> list[str]:
    """Sentences and lines of ``text``, stripped, none empty."""
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if "\n" not in match.group() and _NOT_AN_END.search(text[max(start, match.start() - 8) : match.start()]):
            continue
        found.append(text[start : match.end()])
        start = match.end()
    found.append(text[start:])
    return [clean for sentence in found if (clean := " ".join(sentence.split()))]


def _joined(sections: Iterable[_Section]) -> Iterator[_Section]:
    """Sections with short neighbours taken together under the headings they share."""
    held: _Section | None = None
    for section in sections:
        if held is not None and held.chars < SHORT_CHARS and held.chars + section.chars <= GOOD_CHARS:
            shared = _common(held.path, section.path)
            if shared:
                held = _under(shared, held, section)
                continue
        if held is not None:
            yield held
        held = section
    if held is not None:
        yield held


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    n = 0
    while n < min(len(one), len(other)) and one[n] == other[n]:
        n += 1
    return one[:n]


def _under(shared: tuple[str, ...], *parts: _Section) -> _Section:
    whole = _Section(shared)
    for part in parts:
        if below := " > ".join(part.path[len(shared) :]):
            whole.add(f"{below}:")
        for number, unit in enumerate(part.units):
            whole.add(unit, part.headers.get(number, ""))
    return whole


def _cut(section: _Section) -> Iterator[Piece]:
    """The section as one passage, or as several of like size."""
    pieces = max(1, -(-section.chars // FULL_CHARS))
    aim = max(GOOD_CHARS, section.chars / pieces)  # even pieces: no last passage of six words
    lines: list[str] = []
    size, header = 0, ""
    for unit, own_header in _fitting(section):
        added = len(unit) + 1 + (len(own_header) + 1 if own_header and own_header != header else 0)
        if lines and (size + added > FULL_CHARS or size >= aim):
            yield Piece(" > ".join(section.path), "\n".join(lines))
            lines, size, header = [], 0, ""
        if own_header and own_header != header:
            lines.append(own_header)
            size += len(own_header) + 1
        header = own_header
        lines.append(unit)
        size += len(unit) + 1
    if lines:
        yield Piece(" > ".join(section.path), "\n".join(lines))


def _fitting(section: _Section) -> Iterator[tuple[str, str]]:
    """Units with their table headers; one too long for a passage is cut at spaces, in need anywhere."""
    for number, unit in enumerate(section.units):
        header = section.headers.get(number, "")
        if len(header) > FULL_CHARS // 2:
            header = ""  # a header row that is itself a text
        room = FULL_CHARS - len(header) - 2
        while len(unit) > room:
            at = max(unit.rfind(mark, room // 2, room) for mark in (" ", ",", "|"))
            at = at + 1 if at > 0 else room
            yield unit[:at].strip(), header
            unit = unit[at:].strip()
        if unit:
            yield unit, header
