"""Tables in real PDFs, made by the library that most reports come from."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, SimpleDocTemplate, Spacer
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Drawn

from gateway.retrieval.ingest.blocks import Heading, Paragraph, Table
from gateway.retrieval.ingest.parse import parse
from gateway.retrieval.ingest.passages import split

FONT = "HYGothic-Medium"  # every reader knows it by name
pdfmetrics.registerFont(UnicodeCIDFont(FONT))
PLAIN = ParagraphStyle("plain", fontName=FONT, fontSize=10, leading=14)

GRID = ("GRID", (0, 0), (-1, -1), 0.5, "black")
LODGING = [
    ["지역", "1박 한도", "식비"],
    ["서울", "12만 원", "2만 원"],
    ["부산", "10만 원", "1만 8천 원"],
    ["그 밖", "8만 원", ""],
]


def pdf(*parts: Any) -> bytes:
    out = io.BytesIO()
    SimpleDocTemplate(out).build([Text(part, PLAIN) if isinstance(part, str) else part for part in parts])
    return out.getvalue()


def drawn(rows: Sequence[Sequence[Any]], *style: tuple[Any, ...], **given: Any) -> Drawn:
    return Drawn(rows, style=[("FONT", (0, 0), (-1, -1), FONT, 9), *style], **given)


def rows_of(block: object) -> list[list[str]]:
    assert isinstance(block, Table)
    return [list(block.header), *map(list, block.rows)]


def test_a_ruled_table_between_paragraphs() -> None:
    assert parse("a.pdf", pdf("숙박비는 이렇게 준다.", drawn(LODGING, GRID), "영수증을 낸다.")).blocks == (
        Heading(2, "p. 1"),
        Paragraph("숙박비는 이렇게 준다."),
        Table(tuple(LODGING[0]), tuple(map(tuple, LODGING[1:]))),
        Paragraph("영수증을 낸다."),
    )


OPEN = [
    ("INNERGRID", (0, 0), (-1, -1), 0.5, "black"),
    ("LINEABOVE", (0, 0), (-1, 0), 1, "black"),
    ("LINEBELOW", (0, -1), (-1, -1), 1, "black"),
]


@pytest.mark.parametrize(
    "style",
    [[GRID], OPEN, [("LINEBELOW", (0, 0), (-1, -1), 0.5, "black")], []],
    ids=["every stroke", "open sides", "level strokes only", "no stroke"],
)
def test_the_same_table_however_it_is_drawn(style: list[tuple[Any, ...]]) -> None:
    rows = [*LODGING[:3], ["그 밖", "8만 원", "1만 원"]]
    blocks = parse("a.pdf", pdf("출장자는 규정을 따른다.", drawn(rows, *style), "끝.")).blocks
    assert rows_of(blocks[2]) == rows
    assert (blocks[1], blocks[3]) == (Paragraph("출장자는 규정을 따른다."), Paragraph("끝."))


def test_two_columns_are_enough_with_a_stroke_between() -> None:
    rows = [row[:2] for row in LODGING]
    assert rows_of(parse("a.pdf", pdf("출장자는 규정을 따른다.", drawn(rows, *OPEN))).blocks[2]) == rows


def test_a_cell_over_several_rows_is_told_in_each_and_its_wrapped_lines_are_one() -> None:
    rows = [
        ["직급", "항목", "한도"],
        ["임원", "숙박", Text("국내는 1박 20만 원 해외는 1박 30만 원", PLAIN)],
        ["", "식비", "3만 원"],
    ]
    table = drawn(rows, GRID, ("SPAN", (0, 1), (0, 2)), colWidths=[60, 60, 90])
    assert rows_of(parse("a.pdf", pdf(table)).blocks[1]) == [
        ["직급", "항목", "한도"],
        ["임원", "숙박", "국내는 1박 20만 원 해외는 1박 30만 원"],
        ["임원", "식비", "3만 원"],
    ]


def test_a_table_over_pages_has_one_header_in_every_passage() -> None:
    rows = [["사번", "이름", "내선"], *([f"A{n:03}", f"김하나{n}", f"7{n:03}"] for n in range(150))]
    for repeated in (0, 1):  # rows of the header on every page
        parsed = parse("a.pdf", pdf(drawn(rows, GRID, repeatRows=repeated)))
        tables = [block for block in parsed.blocks if isinstance(block, Table)]
        assert len(tables) > 2
        assert {table.header for table in tables} == {("사번", "이름", "내선")}
        assert [list(row) for table in tables for row in table.rows] == rows[1:]
        assert all(piece.text.startswith("| 사번 | 이름 | 내선 |\n") for piece in split(parsed))


def test_no_word_is_lost_and_none_comes_twice() -> None:
    words = iter(f"낱말{n:04}" for n in range(10_000))
    cells = [[next(words) for _ in range(4)] for _ in range(30)]
    loose = [[next(words) for _ in range(3)] for _ in range(6)]

    def text() -> str:
        return " ".join(next(words) for _ in range(60))

    data = pdf(text(), drawn(cells[:15], GRID), text(), drawn(cells[15:], *OPEN), text(), Spacer(1, 8), drawn(loose),
               text(), PageBreak(), text())  # fmt: skip
    blocks = parse("a.pdf", data).blocks
    found = Counter(re.findall(r"낱말\d{4}", " ".join(map(str, blocks))))
    assert sum(isinstance(block, Table) for block in blocks) >= 3
    assert set(found.values()) == {1}
    assert len(found) == int(next(words)[2:])


def columns(count: int) -> bytes:
    """Running text in columns, as newsletters have it."""
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setFont(FONT, 9)
    width = 480 // count
    for column, line in product(range(count), range(12)):
        canvas.drawString(60 + column * width, 760 - 14 * line, f"{column}단 {line}행은 본문이다"[: width // 9])
    canvas.save()
    return out.getvalue()


@pytest.mark.parametrize("count", [2, 3])
def test_text_in_columns_stays_text_in_its_order(count: int) -> None:
    blocks = parse("a.pdf", columns(count)).blocks
    assert not any(isinstance(block, Table) for block in blocks)
    told = re.findall(r"(\d)단 +(\d+)행", " ".join(block.text for block in blocks if isinstance(block, Paragraph)))
    assert told == [(str(column), str(line)) for column, line in product(range(count), range(12))]


def test_a_frame_around_text_is_no_table() -> None:
    note = drawn([["유의 사항"], ["신청은 전날까지 한다."]], ("BOX", (0, 0), (-1, -1), 1, "black"))
    blocks = parse("a.pdf", pdf("안내", note, note)).blocks
    assert not any(isinstance(block, Table) for block in blocks)
    assert str(blocks).count("신청은 전날까지 한다.") == 2


def test_columns_that_do_not_agree_are_no_table() -> None:
    """A wrong header would be repeated in every passage: where the rows are in doubt they stay text."""
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setFont(FONT, 9)
    for line, starts in enumerate(
        [(60, 160, 260), (60, 160, 260), (60, 160, 260), (60, 110, 230, 300), (60, 110, 300)]
    ):
        for column, x in enumerate(starts):
            canvas.drawString(x, 760 - 14 * line, f"{line}행 {column}열 값이다")
    canvas.save()
    blocks = parse("a.pdf", out.getvalue()).blocks
    assert not any(isinstance(block, Table) for block in blocks)
