from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, Table
from gateway.retrieval.ingest.passages import FULL_CHARS, sentences, split


def test_each_section_is_a_passage_under_its_headings() -> None:
    long = "연차휴가는 1년에 16일이며 온피플에서 신청한다. " * 6
    pieces = split(
        Parsed("t", (Heading(1, "휴가"), Heading(2, "발생"), Paragraph(long), Heading(2, "이월"), Paragraph(long)))
    )
    assert [piece.section for piece in pieces] == ["휴가 > 발생", "휴가 > 이월"]


def test_a_document_of_nothing_but_headings_is_its_headings() -> None:
    assert [(p.section, p.text) for p in split(Parsed("t", (Heading(1, "주차장 지하 1층"),)))] == [
        ("", "주차장 지하 1층")
    ]
    assert split(Parsed("t", (Heading(1, " "),))) == []


def test_short_sections_are_joined_and_keep_their_headings_as_text() -> None:
    pieces = split(
        Parsed("t", (Heading(1, "휴가"), Heading(2, "발생"), Paragraph("16일."), Heading(2, "이월"), Paragraph("6일.")))
    )
    assert [(piece.section, piece.text) for piece in pieces] == [("휴가", "발생:\n16일.\n이월:\n6일.")]


def test_every_piece_of_a_long_table_has_its_header() -> None:
    rows = tuple((f"항목 {n}", f"{n}만 원까지 지급하며 영수증을 붙여야 한다") for n in range(60))
    pieces = split(Parsed("t", (Heading(1, "경비"), Table(("항목", "한도"), rows))))
    assert len(pieces) > 3
    assert all(piece.text.startswith("| 항목 | 한도 |\n") for piece in pieces)
    lines = [line for piece in pieces for line in piece.text.split("\n")[1:]]
    assert lines == [f"| {a} | {b} |" for a, b in rows]


def test_sentences_end_where_korean_and_english_ones_do() -> None:
    text = "한도는 3.5배다. 단, 1. 항목은 예외다! 왜냐하면 No. 5 규정이 있기 때문이다.그렇다. Dr. Kim said so. 끝"
    assert sentences(text) == [
        "한도는 3.5배다.",
        "단, 1. 항목은 예외다!",
        "왜냐하면 No. 5 규정이 있기 때문이다.그렇다.",
        "Dr. Kim said so.",
        "끝",
    ]


def test_a_sentence_longer_than_a_passage_is_cut_at_spaces() -> None:
    pieces = split(Parsed("t", (Paragraph("낱말 " * 500),)))
    assert all(set(re.split(r"\s+", piece.text)) == {"낱말"} for piece in pieces)


blocks = st.lists(
    st.one_of(
        st.builds(Heading, st.integers(1, 4), st.text("가나다 abc", max_size=20)),
        st.builds(Paragraph, st.text("가나다라. abc!\n12,", max_size=1500)),
        st.builds(
            Table,
            st.tuples(st.text("가 a", max_size=30), st.text("나 b", max_size=400)),
            st.lists(st.tuples(st.text("다 c", max_size=300), st.text("라d", max_size=900)), max_size=8).map(tuple),
        ),
    ),
    max_size=12,
)


@given(blocks)
def test_passages_are_bounded_complete_and_the_same_every_time(given: list[Block]) -> None:
    parsed = Parsed("t", tuple(given))
    pieces = split(parsed)
    assert pieces == split(parsed)
    assert all(0 < len(piece.text) <= FULL_CHARS for piece in pieces)

    def letters(text: str) -> list[str]:
        return [c for c in text if c.isalnum()]

    told = "".join(piece.text for piece in pieces)
    for block in given:
        if isinstance(block, Paragraph):
            for line in block.text.split("\n"):
                assert "".join(letters(line)) in "".join(letters(told))
