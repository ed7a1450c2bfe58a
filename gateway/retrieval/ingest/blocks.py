"""What every file format is read into: a title and a list of blocks in reading order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    level: int  # 1 is the document's own title
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text, a list item with its marker, or a piece of code; may hold line breaks."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    header: tuple[str, ...]  # () where the table has none
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Table


@dataclass(frozen=True, slots=True)
class Parsed:
    title: str  # "" where the document names none
    blocks: tuple[Block, ...]


def table(rows: list[list[str]]) -> Table | None:
    """Rows of cells as a table whose first row is the header; None where all cells are empty."""
    clean = [tuple(" ".join(cell.split()) for cell in row) for row in rows]
    clean = [row for row in clean if any(row)]
    if not clean:
        return None
    return Table(clean[0], tuple(clean[1:])) if len(clean) > 1 else Table((), tuple(clean))
