"""PDF → blocks: text in reading order, each page a section, running heads and feet left out, tables as rows.

pypdf reads every page; those that may hold a table are read again by pdfplumber, which takes some ten times as long.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Sequence

import structlog
from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table
from gateway.retrieval.ingest.markdown import looks_like_numbered_heading
from gateway.retrieval.ingest.pdf_tables import Grid, Part, Signs, pages_with_tables
from gateway.retrieval.ingest.unreadable import UnreadableFile

log = structlog.get_logger()
for library in ("pypdf", "pdfminer"):  # they tell of oddities without the file's name; what they cannot read they raise
    logging.getLogger(library).setLevel(logging.CRITICAL)

_EDGE_LINES = 2  # of a page, where running heads and feet stand
_REPEATS = 0.6  # of all pages, from which an edge line is one of them
_SENTENCE_ENDS = (".", "!", "?", "…", ":", "다", "요", "음", "함")


def parse_pdf(data: bytes) -> Parsed:
    reader = PdfReader(io.BytesIO(data))
    try:
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise UnreadableFile("encrypted with a password: save it without one")
        pages = _pages(reader, data)
    except DependencyError as error:
        raise UnreadableFile("encrypted (AES): save it without encryption") from error
    running = _running_lines([[part for part in parts if isinstance(part, str)] for parts in pages])
    title = (reader.metadata.title or "").strip() if reader.metadata else ""
    blocks: list[Block] = []
    last: Part | None = None  # of the page before
    header: list[str] = []  # of the table there
    for number, parts in enumerate(pages, start=1):
        kept = [part for part in parts if isinstance(part, Grid) or _shape(part) not in running]
        if not kept:
            continue
        blocks.append(Heading(2, f"p. {number}"))
        if isinstance(kept[0], Grid) and isinstance(last, Grid) and last.goes_on(kept[0]):
            rows = kept[0].rows
            kept[0] = Grid([header, *(rows[1:] if rows[0] == header else rows)], kept[0].columns)
        blocks.extend(_page(kept))
        if isinstance(last := kept[-1], Grid):
            header = last.rows[0]
    if not title or title.lower().endswith((".doc", ".docx", ".hwp", ".ppt", ".pptx")):
        first = next((part for parts in pages for part in parts if isinstance(part, str)), "")
        title = first if len(first) <= 80 else ""
    return Parsed(title, tuple(blocks))


def _pages(reader: PdfReader, data: bytes) -> list[list[Part]]:
    """Lines and tables of every page."""
    pages: list[list[Part]] = []
    worth_it: list[int] = []
    for number, page in enumerate(reader.pages, start=1):
        signs = Signs()
        text = page.extract_text(visitor_operand_before=signs)
        pages.append([line for raw in text.splitlines() if (line := raw.strip())])
        if signs.found:
            worth_it.append(number)
    try:
        for number, parts in pages_with_tables(io.BytesIO(data), worth_it):
            pages[number - 1] = parts
    except Exception as error:  # it raises anything; the text is there without it
        log.warning("tables of a PDF left as text", error=repr(error))
    return pages


def _page(parts: Sequence[Part]) -> list[Block]:
    blocks: list[Block] = []
    lines: list[str] = []
    full = max((len(part) for part in parts if isinstance(part, str)), default=0)
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        blocks += _text(lines, full)
        lines = []
        if (found := table(part.rows)) is not None:
            blocks.append(found)
    return blocks + _text(lines, full)


def _text(lines: Sequence[str], full: int) -> list[Block]:
    """Lines with those that only wrap joined again; ``full`` characters are the longest of the page."""
    blocks: list[Block] = []
    text: list[str] = []
    wraps = False  # the line before filled its width without ending a sentence
    for line in lines:
        if looks_like_numbered_heading(line):
            if text:
                blocks.append(Paragraph("\n".join(text)))
                text = []
            blocks.append(Heading(3, line))
        elif text and wraps:
            text[-1] = f"{text[-1]} {line}"
        else:
            text.append(line)
        wraps = len(line) >= 0.7 * full and not line.endswith(_SENTENCE_ENDS)
    if text:
        blocks.append(Paragraph("\n".join(text)))
    return blocks


def _running_lines(pages: list[list[str]]) -> set[str]:
    """Lines at the edge of most pages, page numbers aside."""
    if len(pages) < 4:
        return set()
    edges: Counter[str] = Counter()
    for lines in pages:
        edges.update({_shape(line) for line in lines[:_EDGE_LINES] + lines[-_EDGE_LINES:]})
    return {shape for shape, count in edges.items() if count >= _REPEATS * len(pages)}


def _shape(line: str) -> str:
    """The line with page numbers blotted out; a long line is text, and its numbers count. Spaces differ by reader."""
    return re.sub(r"\s+", "", re.sub(r"\d+", "#", line) if len(line) <= 20 else line)
