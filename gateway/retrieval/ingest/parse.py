"""Bytes of a file → blocks, by its name's ending. Office parsers are loaded when the first such file comes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath

from gateway.retrieval.ingest.blocks import Block, Heading, Paragraph, Parsed, Table
from gateway.retrieval.ingest.html import parse_html
from gateway.retrieval.ingest.markdown import parse_markdown, parse_text
from gateway.retrieval.ingest.unreadable import MAX_BYTES, UnreadableFile, too_large

_NO_TEXT = "\ufffd" + "".join(map(chr, (*range(1, 9), *range(14, 32))))  # bytes of no meaning, and control characters
RECIPE = "parse-2"  # raise it with every change of what is read out of a file


def parse(name: str, data: bytes) -> Parsed:
    """The text of a file. Raises UnreadableFile. Takes up to seconds for large files: call it from a thread."""
    if not data.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise UnreadableFile("the file is empty")
    if len(data) > MAX_BYTES:
        raise too_large()
    ending = PurePosixPath(name).suffix.lower()
    reader = _READERS.get(ending)
    if reader is None:
        raise UnreadableFile(f"no reader for {ending or 'files without ending'}; known: {' '.join(sorted(_READERS))}")
    try:
        parsed = reader(data)
    except UnreadableFile:
        raise
    except ImportError as error:
        raise UnreadableFile(
            f"reading {ending} needs more packages ({error.name}): pip install 'ocho-gateway[documents]'"
        ) from error
    except Exception as error:  # third-party parsers raise anything on damaged files
        raise UnreadableFile(f"cannot be read as {ending}: {type(error).__name__}: {error}") from error
    if not parsed.blocks:
        raise UnreadableFile("no text found in it (a scan? run text recognition on it first)")
    return _nfc(parsed)


def _nfc(parsed: Parsed) -> Parsed:
    """Composed Hangul throughout, whatever the file had: the same word must be the same characters."""
    return Parsed(_composed(parsed.title), tuple(_nfc_block(block) for block in parsed.blocks))


def _nfc_block(block: Block) -> Block:
    match block:
        case Heading(level, text):
            return Heading(level, _composed(text))
        case Paragraph(text):
            return Paragraph(_composed(text))
        case Table(header, rows):
            return Table(tuple(map(_composed, header)), tuple(tuple(map(_composed, row)) for row in rows))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\0", "")).encode("utf-8", "ignore").decode()  # no lone surrogates


def decode(data: bytes) -> str:
    """Text in UTF-8, UTF-16 with a mark, or CP949 (what Korean Windows still writes), NFC."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            try:
                text = data.decode("cp949")
            except UnicodeDecodeError:
                text = data.decode("utf-8", errors="replace")
    if text.count("\0") > len(text) // 100 or sum(map(text.count, _NO_TEXT)) > len(text) // 10:
        raise UnreadableFile("this is not text in UTF-8, UTF-16 or CP949 (binary content?)")
    return unicodedata.normalize("NFC", text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n"))


def known(name: str) -> bool:
    """Whether a file of this name can be read."""
    return PurePosixPath(name).suffix.lower() in _READERS


def _pdf(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.pdf import parse_pdf

    return parse_pdf(data)


def _docx(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.office import parse_docx

    return parse_docx(data)


def _xlsx(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.office import parse_xlsx

    return parse_xlsx(data)


def _pptx(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.office import parse_pptx

    return parse_pptx(data)


def _hwpx(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.hwpx import parse_hwpx

    return parse_hwpx(data)


def _hwp(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.hwp import parse_hwp

    return parse_hwp(data)


def _csv(data: bytes) -> Parsed:
    from gateway.retrieval.ingest.sheets import parse_csv

    return parse_csv(decode(data))


_READERS: dict[str, Callable[[bytes], Parsed]] = {
    ".md": lambda data: parse_markdown(decode(data)),
    ".markdown": lambda data: parse_markdown(decode(data)),
    ".txt": lambda data: parse_text(decode(data)),
    ".html": lambda data: parse_html(decode(data)),
    ".htm": lambda data: parse_html(decode(data)),
    ".pdf": _pdf,
    ".docx": _docx,
    ".xlsx": _xlsx,
    ".pptx": _pptx,
    ".hwpx": _hwpx,
    ".hwp": _hwp,
    ".csv": _csv,
}
