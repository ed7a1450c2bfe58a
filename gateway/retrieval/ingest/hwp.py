"""HWP 5 (the binary form of Hangul documents) → blocks, after Hancom's published description of the format.

A compound file (olefile reads it) whose sections are streams of records: a header of tag, level and size, then the
payload. Of some fifty tags three carry what is searched: paragraph text, the start of a control, a table's cell.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack_from

import olefile

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, table
from gateway.retrieval.ingest.markdown import looks_like_numbered_heading
from gateway.retrieval.ingest.unreadable import MAX_BYTES, UnreadableFile, too_large

SIGNATURE = b"HWP Document File"
COMPRESSED, ENCRYPTED, DISTRIBUTED = 1, 2, 4  # bits of the flags in FileHeader

PARA_TEXT, CTRL_HEADER, LIST_HEADER = 67, 71, 72
TABLE_CONTROL = b" lbt"  # "tbl " as a little-endian number
CELL_AT = 8  # in the LIST_HEADER of a cell: column and row follow

# Control characters: most stand for something and carry seven more code units, a few are characters themselves.
SINGLE = {10: "\n", 13: "\n", 24: "-", 30: " ", 31: " "}
ALONE = {0, 25, 26, 27, 28, 29}
TAB = 9
WIDE = 8  # code units of the others

OLD_HAN = "\uf53a"  # the syllable as Hancom writes its own name, in its private letters

_SECTION = re.compile(r"^Section(\d+)$")


def parse_hwp(data: bytes) -> Parsed:
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as file:
            sections = list(_sections(file))
    except OSError as error:  # what olefile raises for a file that is none of its own
        raise UnreadableFile("not an HWP 5 file (HWP 3 and older: save it in a newer form)") from error
    blocks = [block for section in sections for block in _blocks(section)]
    first = next((block.text for block in blocks if isinstance(block, (Heading, Paragraph))), "")
    return Parsed(first if len(first) <= 60 else "", tuple(blocks))


def _sections(file: olefile.OleFileIO) -> Iterator[bytes]:
    if not file.exists("FileHeader"):
        raise UnreadableFile("not an HWP 5 file (HWP 3 and older: save it in a newer form)")
    header = file.openstream("FileHeader").read(40)
    if not header.startswith(SIGNATURE):
        raise UnreadableFile("not an HWP 5 file (HWP 3 and older: save it in a newer form)")
    flags: int = unpack_from("<I", header, 36)[0]
    if flags & ENCRYPTED:
        raise UnreadableFile("encrypted with a password: save it without one")
    if flags & DISTRIBUTED:
        raise UnreadableFile("a distribution copy (배포용 문서), which only Hangul can read: ingest the original")
    numbered = [
        (int(found.group(1)), path)
        for path in file.listdir()
        if len(path) == 2 and path[0] == "BodyText" and (found := _SECTION.match(path[1]))
    ]
    left = MAX_BYTES
    for _, path in sorted(numbered):
        raw = file.openstream(path).read()
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, left) if flags & COMPRESSED else raw
        left -= len(text)
        if left <= 0:
            raise too_large()
        yield text


@dataclass(slots=True)
class _Table:
    """A table under way; it ends with the first record that is no deeper than the one that began it."""

    level: int
    cells: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # (row, column) -> paragraphs
    at: tuple[int, int] | None = None

    def block(self) -> Block | None:
        rows: dict[int, list[str]] = {}
        for (row, _), texts in sorted(self.cells.items()):
            rows.setdefault(row, []).append("\n".join(texts))
        return table(list(rows.values()))


def _blocks(section: bytes) -> Iterator[Block]:
    """Paragraphs and outermost tables; what stands in a table inside a cell is the cell's text."""
    current: _Table | None = None
    for tag, level, payload in _records(section):
        if current is not None and level <= current.level:
            if (block := current.block()) is not None:
                yield block
            current = None
        if current is None and tag == CTRL_HEADER and payload[:4] == TABLE_CONTROL:
            current = _Table(level)
        elif current is not None and tag == LIST_HEADER and level == current.level + 1 and len(payload) >= CELL_AT + 4:
            column, row = unpack_from("<HH", payload, CELL_AT)
            current.at = row, column
            current.cells.setdefault(current.at, [])
        elif tag == PARA_TEXT and (text := _text(payload)):
            if current is None or current.at is None:
                yield Heading(2, text) if looks_like_numbered_heading(text) else Paragraph(text)
            else:
                current.cells[current.at].append(text)
    if current is not None and (block := current.block()) is not None:
        yield block


def _records(section: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(tag, level, payload) of each record. Raises UnreadableFile where the stream is cut."""
    at = 0
    while at + 4 <= len(section):
        (head,) = unpack_from("<I", section, at)
        tag, level, size = head & 0x3FF, head >> 10 & 0x3FF, head >> 20
        at += 4
        if size == 0xFFF:
            if at + 4 > len(section):
                break
            (size,) = unpack_from("<I", section, at)
            at += 4
        if at + size > len(section):
            raise UnreadableFile("damaged: a section ends inside a record")
        yield tag, level, section[at : at + size]
        at += size


def _text(payload: bytes) -> str:
    units = memoryview(payload[: len(payload) & ~1]).cast("H")
    kept: list[str] = []
    start = at = 0

    def plain(end: int) -> str:
        return payload[2 * start : 2 * end].decode("utf-16-le", "ignore")

    while at < len(units):
        unit = units[at]
        if unit >= 32:
            at += 1
            continue
        kept.append(plain(at))
        kept.append(SINGLE.get(unit, "\t" if unit == TAB else ""))
        at += 1 if unit in SINGLE or unit in ALONE else WIDE
        start = at
    kept.append(plain(len(units)))
    lines = (" ".join(line.split()) for line in "".join(kept).replace(OLD_HAN, "한").split("\n"))
    return "\n".join(line for line in lines if line)
