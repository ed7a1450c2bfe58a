"""DOCX, XLSX and PPTX → blocks."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table
from gateway.retrieval.ingest.sheets import row_blocks
from gateway.retrieval.ingest.unreadable import UnreadableFile

_OLD_OFFICE = b"\xd0\xcf\x11\xe0"  # OLE: .doc files under a new name, and every password-protected file
_HEADING_STYLE = re.compile(r"(?:heading|제목|머리글|개요)\s*(\d)?", re.IGNORECASE)
MAX_UNPACKED = 1 << 30  # bytes; a small zip may hold a thousand times its size


def check_zip(data: bytes) -> None:
    """Raises UnreadableFile for what is no zip, or too much of one."""
    if data.startswith(_OLD_OFFICE):
        raise UnreadableFile("encrypted with a password, or in the old binary format: save it anew without a password")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
            raise UnreadableFile(f"unpacks to more than {MAX_UNPACKED >> 20} MB")


def parse_docx(data: bytes) -> Parsed:
    import docx
    from docx.table import Table as DocxTable

    check_zip(data)
    document = docx.Document(io.BytesIO(data))
    blocks: list[Block] = []
    for item in document.iter_inner_content():
        if isinstance(item, DocxTable):
            found = table([[cell.text for cell in _distinct(row.cells)] for row in item.rows])
            if found is not None:
                blocks.append(found)
        elif text := item.text.strip():
            blocks.append(_docx_paragraph(item.style.name or "" if item.style else "", text))
    title = (document.core_properties.title or "").strip()
    first = next((b.text for b in blocks if isinstance(b, Heading)), "")
    return Parsed(title if title and title != "Word Document" else first, tuple(blocks))


def _docx_paragraph(style: str, text: str) -> Block:
    if style.lower() in {"title", "제목"}:
        return Heading(1, text)
    if match := _HEADING_STYLE.match(style):
        return Heading(int(match.group(1) or 1), text)
    return Paragraph(f"- {text}" if style.startswith("List") else text)


def _distinct(cells: Any) -> Iterator[Any]:
    """Cells of a row, merged ones once."""
    before = None
    for cell in cells:
        if cell._tc is not before:
            yield cell
        before = cell._tc


def parse_xlsx(data: bytes) -> Parsed:
    import openpyxl  # type: ignore[import-untyped,unused-ignore]

    check_zip(data)
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    try:
        blocks: list[Block] = []
        for sheet in book.worksheets:
            found = list(row_blocks([_cell(value) for value in row] for row in sheet.iter_rows(values_only=True)))
            if found:
                blocks += [Heading(2, sheet.title), *found]
        return Parsed((book.properties.title or "").strip(), tuple(blocks))
    finally:
        book.close()


def _cell(value: Any) -> str:
    """A cell as people read it: 45000.0 is 45000, midnight is a date."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).removesuffix(" 00:00:00")


def parse_pptx(data: bytes) -> Parsed:
    import pptx  # type: ignore[import-untyped,unused-ignore]

    check_zip(data)
    deck = pptx.Presentation(io.BytesIO(data))
    blocks: list[Block] = []
    for number, slide in enumerate(deck.slides, start=1):
        heading = slide.shapes.title
        name = heading.text_frame.text.strip() if heading is not None else ""
        blocks.append(Heading(2, f"{number}. {name}" if name else f"{number}"))
        blocks.extend(block for shape in slide.shapes if shape != heading for block in _shape(shape))
        if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame.text.strip()):
            blocks.append(Paragraph(notes))
    if not any(not isinstance(block, Heading) for block in blocks):
        blocks = [block for block in blocks if isinstance(block, Heading) and not block.text.isdigit()]
    first = deck.slides[0].shapes.title if len(deck.slides) else None
    title = (deck.core_properties.title or "").strip()
    if title == "PowerPoint Presentation":
        title = ""
    return Parsed(title or (first.text_frame.text.strip() if first is not None else ""), tuple(blocks))


def _shape(shape: Any) -> Iterator[Block]:
    if shape.has_text_frame and (text := shape.text_frame.text.strip()):
        yield Paragraph(text.replace("\v", "\n"))
    if getattr(shape, "has_table", False) and shape.has_table:
        found = table([[cell.text for cell in row.cells] for row in shape.table.rows])
        if found is not None:
            yield found
    for inner in getattr(shape, "shapes", ()):  # a group
        yield from _shape(inner)
