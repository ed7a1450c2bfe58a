"""HWPX (the open form of Hangul documents, KS X 6101) → blocks. The older binary form: hwp.py."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table
from gateway.retrieval.ingest.markdown import looks_like_numbered_heading
from gateway.retrieval.ingest.office import check_zip
from gateway.retrieval.ingest.unreadable import UnreadableFile

_SECTION = re.compile(r"^Contents/section(\d+)\.xml$")


def parse_hwpx(data: bytes) -> Parsed:
    check_zip(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(name.endswith("encryption.xml") for name in archive.namelist()):
            raise UnreadableFile("encrypted with a password: save it without one")
        parts = sorted((int(m.group(1)), name) for name in archive.namelist() if (m := _SECTION.match(name)))
        blocks = [block for _, name in parts for block in _section(_xml(archive.read(name)))]
    first = next((block.text for block in blocks if isinstance(block, (Heading, Paragraph))), "")
    return Parsed(first if len(first) <= 60 else "", tuple(blocks))


def _xml(data: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise UnreadableFile("holds a document type definition, which a real HWPX file never does")
    return ElementTree.fromstring(data)


def _section(root: ElementTree.Element) -> Iterator[Block]:
    for paragraph in root:
        if _name(paragraph) == "p":
            yield from _paragraph(paragraph)


def _paragraph(paragraph: ElementTree.Element) -> Iterator[Block]:
    text = " ".join("".join(_texts(paragraph)).split())
    if text:
        yield Heading(2, text) if looks_like_numbered_heading(text) else Paragraph(text)
    for found in _tables(paragraph):
        rows = [
            [
                "\n".join("".join(_texts(p)) for p in cell.iter() if _name(p) == "p")
                for cell in row
                if _name(cell) == "tc"
            ]
            for row in found
            if _name(row) == "tr"
        ]
        if (block := table(rows)) is not None:
            yield block


def _texts(element: ElementTree.Element) -> Iterator[str]:
    """Text of a paragraph without the tables inside it."""
    for child in element:
        if _name(child) == "tbl":
            continue
        if _name(child) == "t":
            yield "".join(child.itertext())
        else:
            yield from _texts(child)


def _tables(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in element:
        if _name(child) == "tbl":
            yield child
        else:
            yield from _tables(child)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
