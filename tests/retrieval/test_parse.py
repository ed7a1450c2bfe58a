from __future__ import annotations

import io
import unicodedata
import zipfile
from random import Random

import pytest

from gateway.retrieval.ingest.blocks import Heading, Paragraph, Parsed, Table
from gateway.retrieval.ingest.parse import decode, parse
from gateway.retrieval.ingest.unreadable import UnreadableFile
from tests.retrieval.files import docx_file, hwp_file, hwpx_file, pdf_file, pptx_file, xlsx_file

MARKDOWN = """\
---
title: "연차휴가 규정"
---
# 연차휴가
<!-- 내부 메모 -->
정규직은 **16일**을 [온피플](https://x.y/z_(a))에서
신청한다.

- 이월은 6일까지
- 취소는 `전날`까지

발생
----
| 구분 | 일수 |
|------|:----:|
| 정규직 | 16일 |
| 인턴 \\| 수습 | 5일 |

```
code stays
```
"""


def words(parsed: Parsed) -> str:
    """All text of the blocks."""
    parts: list[str] = []
    for block in parsed.blocks:
        parts.extend(
            [*block.header, *(cell for row in block.rows for cell in row)] if isinstance(block, Table) else [block.text]
        )
    return "\n".join(parts)


def test_markdown_becomes_headings_paragraphs_items_and_tables() -> None:
    parsed = parse("a.md", MARKDOWN.encode())
    assert parsed.title == "연차휴가 규정"
    assert parsed.blocks == (
        Heading(1, "연차휴가"),
        Paragraph("정규직은 16일을 온피플에서 신청한다."),
        Paragraph("- 이월은 6일까지\n- 취소는 전날까지"),
        Heading(2, "발생"),
        Table(("구분", "일수"), (("정규직", "16일"), ("인턴 | 수습", "5일"))),
        Paragraph("code stays"),
    )


def test_html_keeps_text_and_tables_and_drops_the_rest() -> None:
    page = """<html><head><title>T</title><style>p{}</style></head><body><nav>menu</nav><h1>고객 지원</h1>
      <p>평일 9시부터<br>19시까지 &amp; 토요일</p><script>x()</script><ul><li>전화 <b>1500</b></li></ul>
      <table><tr><th>요금제</th><th>지원</th></tr><tr><td>Pro</td><td>채팅<p>전화</p></td></tr></table></body></html>"""
    parsed = parse("a.html", page.encode())
    assert parsed.title == "고객 지원"
    assert parsed.blocks == (
        Heading(1, "고객 지원"),
        Paragraph("평일 9시부터\n19시까지 & 토요일"),
        Paragraph("- 전화 1500"),
        Table(("요금제", "지원"), (("Pro", "채팅 전화"),)),
    )


@pytest.mark.parametrize("broken", ["<p>텍스트<table><tr><td>셀", "<div><div>텍스트 셀", "</p></table>텍스트<li>셀</"])
def test_broken_html_still_gives_its_text(broken: str) -> None:
    text = words(parse("a.html", broken.encode()))
    assert "텍스트" in text
    assert "셀" in text


def test_plain_text_with_numbered_headings() -> None:
    parsed = parse("a.txt", "주차 안내\n\n제1조(목적)\n주차장은 지하 2층이다.\n\n주차비는 무료다.".encode())
    assert parsed.title == "주차 안내"
    assert Heading(2, "제1조(목적)") in parsed.blocks
    assert Paragraph("주차장은 지하 2층이다.") in parsed.blocks


def test_docx_keeps_order_headings_and_tables() -> None:
    assert parse("a.docx", docx_file()).blocks == (
        Heading(1, "출장비 규정"),
        Heading(2, "숙박비"),
        Paragraph("숙박비는 1박에 12만 원까지 지급한다."),
        Table(("지역", "한도"), (("서울", "12만 원"), ("부산", "10만 원"))),
        Paragraph("- 교통비는 실비로 지급한다."),
    )


def test_xlsx_sheets_are_sections_and_empty_rows_part_tables() -> None:
    assert parse("a.xlsx", xlsx_file()).blocks == (
        Heading(2, "요금표"),
        Table(("요금제", "월 요금"), (("Basic", "9900"), ("Pro", "29900"))),
        Table((), (("비고", "부가세 별도"),)),
    )


def test_pptx_slides_are_sections_with_their_notes() -> None:
    parsed = parse("a.pptx", pptx_file())
    assert parsed.title == "신규 입사자 안내"
    assert parsed.blocks[0] == Heading(2, "1. 신규 입사자 안내")
    assert "노트북은 첫날 지급한다." in words(parsed)
    assert "사번을 꼭 확인한다." in words(parsed)


def test_hwpx_text_and_tables() -> None:
    parsed = parse("a.hwpx", hwpx_file())
    assert parsed.title == "경조금 지급 기준"
    assert Heading(2, "제1조(목적)") in parsed.blocks
    assert Table(("구분", "금액"), (("결혼", "50만 원"),)) in parsed.blocks


@pytest.mark.parametrize("flags", [0, 1])
def test_hwp_text_and_tables(flags: int) -> None:
    parsed = parse("a.hwp", hwp_file(flags))
    assert parsed.title == "경조금 지급 기준"
    assert parsed.blocks == (
        Paragraph("경조금 지급 기준"),
        Heading(2, "제1조(목적)"),
        Paragraph("경조금은 신청\n다음 날 지급한다."),
        Table(("구분", "금액"), (("결혼 (본인)", "50만 원"),)),
        Paragraph("가" * 2_100),
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (hwp_file(3), "password"),
        (hwp_file(5), "배포용"),
        (hwp_file(0, cut=5_000), "no text|damaged"),
        (hwp_file(1)[:600], "cannot be read|not an HWP 5"),
        (b"HWP Document File V3.00 \x1a\1\2\3\4\5" + bytes(3000), "not an HWP 5 file"),
        (hwpx_file(), "not an HWP 5 file"),
    ],
)
def test_an_hwp_file_that_gives_no_text_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        parse("a.hwp", data)


def test_csv_in_the_encoding_of_korean_windows() -> None:
    parsed = parse("a.csv", "이름;내선\n김하나;1234\n".encode("cp949"))
    assert parsed.blocks == (Table(("이름", "내선"), (("김하나", "1234"),)),)


def test_pdf_pages_are_sections_without_running_heads() -> None:
    pages = [["Hanbit Handbook", f"Topic number {n} is described at length.", f"- {n} -"] for n in range(1, 6)]
    parsed = parse("a.pdf", pdf_file(pages))
    assert [b.text for b in parsed.blocks if isinstance(b, Heading)] == [f"p. {n}" for n in range(1, 6)]
    assert "Handbook" not in words(parsed)
    assert "Topic number 3 is described" in words(parsed)


def test_korean_pdf() -> None:
    assert "연차휴가는 1년에 16일이다." in words(parse("a.pdf", pdf_file([["연차휴가는 1년에 16일이다."]])))


def test_decomposed_text_comes_out_composed() -> None:
    text = unicodedata.normalize("NFD", "# 휴가\n\n연차는 16일")
    assert parse("a.md", text.encode()).blocks == (Heading(1, "휴가"), Paragraph("연차는 16일"))
    assert parse("a.html", unicodedata.normalize("NFD", "<p>한글</p>").encode()).blocks == (Paragraph("한글"),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_text_in_every_usual_encoding(encoding: str) -> None:
    assert decode("휴가 규정\r\n연차".encode(encoding)) == "휴가 규정\n연차"


def test_a_few_bytes_that_are_no_text_spoil_none() -> None:
    text = "Les congés payés: deux jours et demi par mois, \x1b[1mtrente\x1b[0m par année entière"
    assert decode(text.encode("latin-1")) == text.replace("é", "\ufffd").replace("è", "\ufffd")


def test_a_broken_pdf_says_nothing_beside_its_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        parse("a.pdf", b"%PDF-1.4 broken")
    assert caplog.records == []


def not_a_docx() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("hello.txt", "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.md", b"", "empty"),
        ("a.md", b" \n\xef\xbb\xbf", "empty"),
        ("a.txt", bytes(range(256)) * 8 + b"\0" * 900, "not text"),
        ("a.txt", Random(5).randbytes(2000), "not text"),
        ("a.txt", "휴가 규정은 다음과 같다.".encode("utf-16-le"), "not text"),  # without its mark
        ("a.exe", b"MZ", "no reader"),
        ("README", b"x", "no reader"),
        ("a.doc", b"\xd0\xcf\x11\xe0", "no reader"),
        ("a.pdf", b"%PDF-1.7 and then nothing", "cannot be read"),
        ("a.pdf", pdf_file([["secret"]], password="1234"), "password"),
        ("a.pdf", pdf_file([[]]), "no text"),
        ("a.docx", b"PK\x03\x04 broken", "cannot be read"),
        ("a.docx", not_a_docx(), "cannot be read"),
        ("a.docx", b"\xd0\xcf\x11\xe0 encrypted", "password"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0 encrypted", "password"),
        ("a.hwpx", not_a_docx(), "no text"),
        ("a.html", b"<script>only()</script>", "no text"),
    ],
)
def test_a_file_without_text_says_why(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=reason):
        parse(name, data)
