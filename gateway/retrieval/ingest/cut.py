"""Bytes of a file → a title and passages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from gateway.retrieval.documents import Piece
from gateway.retrieval.ingest import parse, passages
from gateway.retrieval.ingest.unreadable import UnreadableFile

RECIPE = f"{parse.RECIPE}/{passages.RECIPE}"
MOST_TITLE, MOST_SECTION = 300, 600  # characters: they are stored, searched and shown with every passage


@dataclass(frozen=True, slots=True)
class Cut:
    title: str
    pieces: list[Piece]


def cut(name: str, data: bytes, title: str) -> Cut:
    """``title`` "" takes the file's own, else its name. Raises UnreadableFile. Takes up to minutes for large files."""
    parsed = parse.parse(name, data)
    pieces = passages.split(parsed)
    if not pieces:
        raise UnreadableFile("no text found in it (a scan? run text recognition on it first)")
    bounded = [Piece(piece.section[:MOST_SECTION], piece.text) for piece in pieces]
    return Cut((title or parsed.title or PurePosixPath(name).stem)[:MOST_TITLE], bounded)
