"""Real office files, made by the libraries people make them with."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
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


def hwp_file(flags: int = 1, *, cut: int = 0) -> bytes:
    """An HWP 5 file as its published description has it; ``cut`` bytes are missing from the end of its text."""

    def record(tag: int, level: int, payload: bytes) -> bytes:
        size = len(payload)
        head = tag | level << 10 | min(size, 0xFFF) << 20
        return struct.pack("<I", head) + (struct.pack("<I", size) if size >= 0xFFF else b"") + payload

    def words(text: str) -> bytes:
        return record(67, 1, text.encode("utf-16-le"))

    def cell(row: int, column: int, *texts: str) -> bytes:
        inside = b"".join(record(66, 2, bytes(22)) + record(67, 3, text.encode("utf-16-le")) for text in texts)
        return record(72, 2, struct.pack("<hIHHHHH", len(texts), 0, 0, column, row, 1, 1)) + inside

    control, tab = (sign + "\0" * 6 + sign for sign in "\x02\t")  # eight code units each
    section = b"".join([
        words(control + "경조금 지급 기준\r"), words("제1조(목적)\r"), words(f"경조금은{tab}신청\n다음 날 지급한다.\r"),
        words("\x0b" + "\0" * 6 + "\x0b\r"), record(71, 1, b" lbt" + bytes(42)), record(77, 2, bytes(20)),
        cell(0, 0, "구분"), cell(0, 1, "금액"), cell(1, 0, "결혼", "(본인)"), cell(1, 1, "50만 원"),
        words("가" * 2_100 + "\r"),
    ])  # fmt: skip
    section = section[: len(section) - cut]
    header = (b"HWP Document File" + bytes(15) + struct.pack("<II", 0x05000300, flags)).ljust(256, b"\0")
    if flags & 1:
        packer = zlib.compressobj(wbits=-15)
        section = packer.compress(section) + packer.flush()
    return _compound_file(header, section)


def _compound_file(header: bytes, section: bytes) -> bytes:
    """The two streams FileHeader and BodyText/Section0, large enough to have sectors of their own."""
    streams = [stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0") for stream in (header, section)]
    fat, starts = [0xFFFFFFFD, 0xFFFFFFFE], []
    for stream in streams:
        starts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + len(stream) // 512), 0xFFFFFFFE]
    none = 0xFFFFFFFF

    def entry(name: str, kind: int, left: int, child: int, start: int, size: int) -> bytes:
        raw = (name + "\0").encode("utf-16-le")
        body = struct.pack("<64sHBBIII", raw, len(raw), kind, 1, left, none, child) + bytes(36)
        return body + struct.pack("<IQ", start, size)

    directory = b"".join([
        entry("Root Entry", 5, none, 1, 0xFFFFFFFE, 0), entry("FileHeader", 2, 2, none, starts[0], len(streams[0])),
        entry("BodyText", 1, none, 3, 0, 0), entry("Section0", 2, none, none, starts[1], len(streams[1])),
    ])  # fmt: skip
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(512, b"\xff")
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<109I", 0, *[none] * 108)
    return head + table + directory + b"".join(streams)
