"""PDF → blocks with pypdf: text in reading order, each page a section, running heads and feet left out."""

from __future__ import annotations

import io
import re
from collections import Counter

from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed
from gateway.retrieval.ingest.markdown import looks_like_numbered_heading
from gateway.retrieval.ingest.unreadable import UnreadableFile

_EDGE_LINES = 2  # of a page, where running heads and feet stand
_REPEATS = 0.6  # of all pages, from which an edge line is one of them
_SENTENCE_ENDS = (".", "!", "?", "…", ":", "다", "요", "음", "함")


def parse_pdf(data: bytes) -> Parsed:
    reader = PdfReader(io.BytesIO(data))
    try:
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise UnreadableFile("encrypted with a password: save it without one")
        pages = [[line for raw in page.extract_text().splitlines() if (line := raw.strip())] for page in reader.pages]
    except DependencyError as error:
        raise UnreadableFile("encrypted (AES): save it without encryption") from error
    running = _running_lines(pages)
    title = (reader.metadata.title or "").strip() if reader.metadata else ""
    blocks: list[Block] = []
    for number, lines in enumerate(pages, start=1):
        kept = [line for line in lines if _shape(line) not in running]
        if kept:
            blocks.append(Heading(2, f"p. {number}"))
            blocks.extend(_page(kept))
    if not title or title.lower().endswith((".doc", ".docx", ".hwp", ".ppt", ".pptx")):
        first = next((line for lines in pages for line in lines), "")
        title = first if len(first) <= 80 else ""
    return Parsed(title, tuple(blocks))


def _page(lines: list[str]) -> list[Block]:
    """Lines of a page with those that only wrap joined again."""
    full = max(map(len, lines))
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
    """The line with page numbers blotted out; a long line is text, and its numbers count."""
    return re.sub(r"\d+", "#", line) if len(line) <= 20 else line
