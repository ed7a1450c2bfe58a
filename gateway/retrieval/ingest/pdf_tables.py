"""Pages of a PDF that may hold tables → lines of text and grids of cells in reading order, with pdfplumber.

A PDF knows letters and strokes, no tables. *Ruled* ones are found by their strokes, *unruled* ones by letters that
stand in columns; where that is in doubt there is no table, and its words stay text. Every letter goes to one place.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pdfplumber
from pdfplumber.page import Page
from pdfplumber.table import merge_edges
from pdfplumber.utils.text import extract_words

Char = dict[str, Any]
Word = dict[str, Any]
Box = tuple[float, float, float, float]  # left, top, right, bottom in points; downwards

TOUCH = 3.0  # points within which strokes and letters count as level
WORD_GAP = 0.25  # of the size of the letters: from here on it is a space
COLUMN_GAP = 0.9  # of it: from here on it is another column
LINE_GAP = 2.5  # of it, from line to line: from here on the table has ended
LEAST_STROKES, MOST_STROKES = 4, 5_000  # of a page with a ruled table; more is a drawing, and takes minutes
LEAST_ROWS, LEAST_COLUMNS = 3, 3  # of an unruled table
LONGEST_CELL = 60  # characters of an unruled table

logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns of every font that is not as the book says


class Signs:
    """Whether a page may hold a table: a visitor of what pypdf passes by while it reads the page's text."""

    _PAINT = frozenset({b"S", b"s", b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"})

    def __init__(self) -> None:
        self._strokes = self._pending = 0
        self._starts: dict[int, set[int]] = defaultdict(set)  # where pieces of text begin, by height

    def __call__(self, operator: bytes, operands: Any, cm: Sequence[float], tm: Sequence[float]) -> None:
        if operator in {b"re", b"l"}:
            self._pending += 1
        elif operator in self._PAINT:
            self._strokes += self._pending
            self._pending = 0
        elif operator == b"n":  # a path that only clips
            self._pending = 0
        elif operator in {b"Tj", b"TJ"}:
            x, y = tm[4], tm[5]
            self._starts[round(x * cm[1] + y * cm[3] + cm[5])].add(round(x * cm[0] + y * cm[2] + cm[4]))

    @property
    def found(self) -> bool:
        if LEAST_STROKES <= self._strokes <= MOST_STROKES:
            return True
        rows = [starts for starts in self._starts.values() if len(starts) >= LEAST_COLUMNS]
        columns = set().union(*rows)
        return sum(sum(x in row for row in rows) >= LEAST_ROWS for x in columns) >= LEAST_COLUMNS


@dataclass(frozen=True, slots=True)
class Grid:
    rows: list[list[str]]
    columns: tuple[float, ...]  # left edges, in points

    def goes_on(self, other: Grid) -> bool:
        """Whether ``other``, at the head of the next page, has the same columns."""
        return len(self.columns) == len(other.columns) and all(
            abs(one - two) <= TOUCH for one, two in zip(self.columns, other.columns, strict=True)
        )


Part = str | Grid  # a line of text, or a table


def pages_with_tables(file: Any, numbers: Sequence[int]) -> Iterator[tuple[int, list[Part]]]:
    """The pages among ``numbers`` (from 1) that hold a table, with all of their parts."""
    if not numbers:
        return
    with pdfplumber.open(file, pages=list(numbers)) as pdf:
        for page in pdf.pages:
            parts = _parts(page)
            if any(isinstance(part, Grid) for part in parts):
                yield page.page_number, parts
            page.close()


def _parts(page: Page) -> list[Part]:
    chars: list[Char] = page.chars
    order = {id(char): number for number, char in enumerate(chars)}
    grids: list[tuple[int, Grid]] = []  # with the number of the first letter
    left = chars
    for cells in _ruled(page):
        if (grid := _filled(cells, left)) is not None:
            inside = {id(char) for char in left if _cell_of(char, cells) is not None}
            grids.append((min(order[one] for one in inside), grid))
            left = [char for char in left if id(char) not in inside]
    for words, grid in _unruled(left, order):
        inside = {id(char) for word in words for char in word["chars"]}
        grids.append((min(order[one] for one in inside), grid))
        left = [char for char in left if id(char) not in inside]
    parts: list[Part] = []
    at = 0
    for first, grid in sorted(grids, key=lambda pair: pair[0]):
        before = [char for char in left[at:] if order[id(char)] < first]
        at += len(before)
        parts += [*_lines(before), grid]
    return parts + _lines(left[at:])


def _words(chars: Sequence[Char]) -> list[Word]:
    """In the order in which they were written, which other programs read them in as well."""
    found: list[Word] = extract_words(
        list(chars), x_tolerance_ratio=WORD_GAP, use_text_flow=True, return_chars=True, keep_blank_chars=False
    )
    return found


def _lines(chars: Sequence[Char]) -> list[str]:
    lines: list[list[str]] = []
    before: Word | None = None
    for word in _words(chars):
        if before is None or abs(word["bottom"] - before["bottom"]) > TOUCH or word["x1"] < before["x0"]:
            lines.append([])
        lines[-1].append(word["text"])
        before = word
    return [" ".join(line) for line in lines]


# --- by strokes --------------------------------------------------------------------------------------------------


def _ruled(page: Page) -> list[list[Box]]:
    """Cells of each table, the outermost where one stands in another."""
    if not LEAST_STROKES <= len(page.edges) <= MOST_STROKES:
        return []
    tables = page.find_tables({"explicit_vertical_lines": _open_sides(page.edges)})
    return [
        table.cells for table in tables if not any(_holds(other.bbox, table.bbox) for other in tables if other != table)
    ]


def _open_sides(edges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Left and right sides of tables that are drawn without them, as Korean forms often are.

    Only beside rows that have strokes between their cells: two rules across a page are no table.
    """
    merged = merge_edges(edges, TOUCH, TOUCH, TOUCH, TOUCH)
    upright = [edge for edge in merged if edge["orientation"] == "v"]
    levels: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for edge in merged:
        if edge["orientation"] == "h":
            levels[round(edge["x0"] / TOUCH), round(edge["x1"] / TOUCH)].append(edge)
    sides = []
    for level in levels.values():
        for above, below in pairwise(sorted(level, key=lambda edge: float(edge["top"]))):
            left, right, top, bottom = above["x0"], above["x1"], above["top"], below["top"]
            if any(
                left + TOUCH < v["x0"] < right - TOUCH and v["top"] <= top + TOUCH and v["bottom"] >= bottom - TOUCH
                for v in upright
            ):
                sides += [_upright(x, top, bottom) for x in (left, right)]
    return sides


def _upright(x: float, top: float, bottom: float) -> dict[str, Any]:
    return {"object_type": "line_edge", "orientation": "v", "x0": x, "x1": x, "top": top, "bottom": bottom,
            "height": bottom - top}  # fmt: skip


def _holds(outer: Box, inner: Box) -> bool:
    return (
        outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]
        and outer != inner
    )  # fmt: skip


def _cell_of(char: Char, cells: Iterable[Box]) -> Box | None:
    x, y = (char["x0"] + char["x1"]) / 2, (char["top"] + char["bottom"]) / 2
    return next((cell for cell in cells if cell[0] <= x < cell[2] and cell[1] <= y < cell[3]), None)


def _filled(cells: list[Box], chars: Sequence[Char]) -> Grid | None:
    """The table with its text; None for a frame around text, and for a drawing."""
    columns, tops = sorted({cell[0] for cell in cells}), sorted({cell[1] for cell in cells})
    if len(columns) < 2 or len(tops) < 2:
        return None
    held: dict[Box, list[Char]] = defaultdict(list)
    for char in chars:
        if (cell := _cell_of(char, cells)) is not None:
            held[cell].append(char)
    texts = {cell: " ".join(_lines(inside)) for cell, inside in held.items()}
    rows = [[_text_at(x, y, cells, texts) for x in columns] for y in tops]
    return Grid(rows, tuple(columns)) if sum(len(set(filter(None, row))) > 1 for row in rows) > 1 else None


def _text_at(x: float, y: float, cells: Iterable[Box], texts: dict[Box, str]) -> str:
    """Text of the cell that covers this place: one over several rows is told in each, one over several columns once."""
    for cell in cells:
        if cell[0] == x and cell[1] <= y < cell[3]:
            return texts.get(cell, "")
    return ""


# --- by columns --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Segment:
    """Words of one line that stand together."""

    words: list[Word]

    @property
    def left(self) -> float:
        return float(self.words[0]["x0"])

    @property
    def right(self) -> float:
        return float(self.words[-1]["x1"])

    @property
    def text(self) -> str:
        return " ".join(word["text"] for word in self.words)


_Line = list[_Segment]  # from left to right


def _unruled(chars: Sequence[Char], order: dict[int, int]) -> Iterator[tuple[list[Word], Grid]]:
    """Tables of at least three columns and rows, written row by row: text in columns is written column by column."""
    lines = [_segments(line) for line in _levels(_words(chars))]
    at = 0
    while at < len(lines):
        length, columns = _run(lines[at:])
        run = lines[at : at + length]
        around = [lines[at - 1 : at + 1], lines[at + length - 1 : at + length + 1]]  # a pair of lines at each end
        at += max(1, length)
        if sum(len(line) >= LEAST_COLUMNS for line in run) < LEAST_ROWS or not _by_rows(run, order):
            continue
        if any(len(pair) == 2 and min(map(len, pair)) > 1 and _near(*pair) for pair in around):
            continue  # the columns go on, but not as these do
        rows = _rows(run, columns)
        if max(len(cell) for row in rows for cell in row) <= LONGEST_CELL:
            words = [word for line in run for segment in line for word in segment.words]
            yield words, Grid(rows, tuple(left for left, _ in columns))


def _levels(words: Iterable[Word]) -> list[list[Word]]:
    """Words by the line they stand on, from top to bottom."""
    lines: list[list[Word]] = []
    for word in sorted((word for word in words if word["upright"]), key=lambda word: (word["bottom"], word["x0"])):
        if lines and word["bottom"] - lines[-1][0]["bottom"] <= TOUCH:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [sorted(line, key=lambda word: float(word["x0"])) for line in lines]


def _segments(line: list[Word]) -> _Line:
    segments: _Line = []
    for word in line:
        if segments and word["x0"] - segments[-1].right < COLUMN_GAP * _size(word):
            segments[-1].words.append(word)
        else:
            segments.append(_Segment([word]))
    return segments


def _size(word: Word) -> float:
    return float(word["bottom"] - word["top"])


def _run(lines: Sequence[_Line]) -> tuple[int, list[tuple[float, float]]]:
    """How many lines share the columns of the first, and these columns (left, right)."""
    if len(lines[0]) < LEAST_COLUMNS:
        return 0, []
    columns = [(segment.left, segment.right) for segment in lines[0]]
    for number, (before, line) in enumerate(pairwise(lines), start=1):
        wider = _with(columns, line)
        if wider is None or not _near(before, line):
            return number, columns
        columns = wider
    return len(lines), columns


def _near(before: _Line, line: _Line) -> bool:
    first, last = line[0].words[0], before[0].words[0]
    return bool(first["bottom"] - last["bottom"] <= LINE_GAP * _size(first))


def _with(columns: list[tuple[float, float]], line: _Line) -> list[tuple[float, float]] | None:
    """The columns, wide enough for one more line; None where it does not stand in them."""
    places = [_columns_of(segment, columns) for segment in line]
    if any(len(place) != 1 for place in places) or len({place[0] for place in places}) < len(places):
        return None
    if len(line) == 1 and places[0][0] == 0:
        return None  # the next paragraph; what goes on in the next line is never the first column alone
    wider = list(columns)
    for segment, (place,) in zip(line, places, strict=True):
        wider[place] = min(wider[place][0], segment.left), max(wider[place][1], segment.right)
    return wider if all(one[1] < two[0] for one, two in pairwise(wider)) else None


def _columns_of(segment: _Segment, columns: Sequence[tuple[float, float]]) -> list[int]:
    return [n for n, (left, right) in enumerate(columns) if segment.left <= right and segment.right >= left]


def _by_rows(run: Sequence[_Line], order: dict[int, int]) -> bool:
    rows = [[order[id(char)] for segment in line for word in segment.words for char in word["chars"]] for line in run]
    full = [row for row, line in zip(rows, run, strict=True) if len(line) >= LEAST_COLUMNS]
    return all(max(one) < min(two) for one, two in pairwise(full))


def _rows(run: Sequence[_Line], columns: Sequence[tuple[float, float]]) -> list[list[str]]:
    """A line without its first column goes on with the row before."""
    rows: list[list[str]] = []
    for line in run:
        cells = [""] * len(columns)
        for segment in line:
            cells[_columns_of(segment, columns)[0]] = segment.text
        if not cells[0] and rows:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
    return rows
