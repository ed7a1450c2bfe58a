"""What the record keeps: a document, its pieces, who may see it. Values only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.ports import Vector
from gateway.retrieval.tokens import Terms


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it belongs to a stored document."""

    section: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is put into the record."""

    document: str  # stable id inside its collection: POSIX path relative to the ingested folder, NFC
    title: str
    content_hash: str  # of the source bytes and of the way they were cut
    pieces: Sequence[Piece]
    vectors: Sequence[Vector | None] | None = None  # one per piece, unit length; None: not embedded yet
    groups: Sequence[str] = ()  # who may see it; () = everyone who may see the collection
    url: str = ""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A stored document without its text."""

    collection: str
    document: str
    title: str
    version: str
    content_hash: str
    groups: tuple[str, ...]
    url: str
    bytes: int
    passages: int
    updated_at: float


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A passage as an index needs it."""

    id: int  # never reused: a replaced passage's id is gone for good
    document_id: int
    groups: str  # JSON of the document's groups
    terms: Terms
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to a collection since an index last looked."""

    touched: int  # cursor for the next call
    documents: tuple[int, ...]  # internal ids of documents that changed or were deleted
    rows: list[IndexRow] = field(default_factory=list)  # passages those documents have now


def may_see(needed: str, groups: frozenset[str]) -> bool:
    """Whether a caller in ``groups`` passes the JSON list ``needed``; an empty list lets everyone pass."""
    return needed == "[]" or not groups.isdisjoint(json.loads(needed))


def content_hash(data: bytes, recipe: str) -> str:
    """Hash of source bytes and of the way they are read and cut; another recipe makes the document new."""
    return hashlib.sha256(recipe.encode() + b"\0" + data).hexdigest()


def version_of(revision: int, content: str) -> str:
    return f"{revision}-{content[:12]}"
