"""Real office files, made by the libraries people make them with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any


def docx_file() -> bytes:
    import docx

    document = docx.Document()
    document.add_heading("출장비 규정", level=1)
    document.add_heading("숙박비", level=2)
    document.add_paragraph("숙박비는 1박에 12만 원까지 지급한다.")
    grid = document.add_table(rows=3, cols=2)
    for row, cells in zip(grid.rows, [("지역", "한도"), ("서울", "12만 원"), ("부산", "10만 원")], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_paragraph("교통비는 실비로 지급한다.", style="List Bullet")
    return _saved(document)


def xlsx_file() -> bytes:
    import openpyxl  # type: ignore[import-untyped,unused-ignore]

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "요금표"
    for row in (["요금제", "월 요금"], ["Basic", 9900.0], ["Pro", 29900], [None, None], ["비고", "부가세 별도"]):
        sheet.append(row)
    return _saved(book)


def pptx_file() -> bytes:
    import pptx  # type: ignore[import-untyped,unused-ignore]

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "신규 입사자 안내"
    slide.placeholders[1].text = "노트북은 첫날 지급한다."
    slide.notes_slide.notes_text_frame.text = "사번을 꼭 확인한다."
    return _saved(deck)


def pdf_file(pages: Sequence[Sequence[str]], password: str = "") -> bytes:
    """A PDF with one line under the other, in a Korean font that every reader knows by name (none is embedded)."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(f'{4 + 2 * n} 0 R' for n in range(len(pages)))}]>>",
        "<</Type/Font/Subtype/Type0/BaseFont/HYSMyeongJo-Medium/Encoding/UniKS-UCS2-H/DescendantFonts[<</Type/Font"
        "/Subtype/CIDFontType0/BaseFont/HYSMyeongJo-Medium/DW 1000/CIDSystemInfo<</Registry(Adobe)/Ordering(Korea1)"
        "/Supplement 1>>/FontDescriptor<</Type/FontDescriptor/FontName/HYSMyeongJo-Medium/Flags 4>>>>]>>",
    ]
    for n, lines in enumerate(pages):
        shown = "".join(
            f"1 0 0 1 72 {780 - 16 * i} Tm <{line.encode('utf-16-be').hex()}> Tj\n" for i, line in enumerate(lines)
        )
        drawn = f"BT /F1 12 Tf\n{shown}ET"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * n} 0 R>>"
        )
        objects.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj{body}endobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n"
    data += f"{end}startxref\n{len(data)}\n%%EOF\n".encode()
    return _encrypted(data, password) if password else data


def _encrypted(data: bytes, password: str) -> bytes:
    from pypdf import PdfWriter

    writer, out = PdfWriter(clone_from=io.BytesIO(data)), io.BytesIO()
    writer.encrypt(password, algorithm="RC4-128")
    writer.write(out)
    return out.getvalue()


def hwpx_file() -> bytes:
    hp = "http://www.hancom.co.kr/hwpml/2011/paragraph"

    def p(inner: str) -> str:
        return f"<hp:p><hp:run>{inner}</hp:run></hp:p>"

    def cell(text: str) -> str:
        return f"<hp:tc><hp:subList>{p(f'<hp:t>{text}</hp:t>')}</hp:subList></hp:tc>"

    rows = "".join(f"<hp:tr>{cell(a)}{cell(b)}</hp:tr>" for a, b in [("구분", "금액"), ("결혼", "50만 원")])
    section = (
        f'<hs:sec xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section" xmlns:hp="{hp}">'
        f"{p('<hp:t>경조금 지급 기준</hp:t>')}{p('<hp:t>제1조(목적)</hp:t>')}"
        f"{p('<hp:t>경조금은 신청 후 7일 안에 지급한다.</hp:t>')}"
        f"{p(f'<hp:tbl>{rows}</hp:tbl>')}</hs:sec>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/section0.xml", section)
    return out.getvalue()


def _saved(document: Any) -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()
