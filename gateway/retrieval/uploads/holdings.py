"""What callers uploaded and where they put it: files, vector stores, and files in stores. Values only."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.chat import Passage
from gateway.errors import NotFound

SHARED = ""  # tenant of stores that the configuration made: whoever meets their groups may search them
IN_PROGRESS, COMPLETED, FAILED, CANCELLED = "in_progress", "completed", "failed", "cancelled"
UPLOADED = re.compile(r"(file-[0-9a-f]{24})/")  # begins ids of documents that came over /v1/files, not from a folder


def file_of(passage: Passage) -> tuple[str, str]:
    """Id and name of the file that a passage is of. What was read from a folder has an id of the same form."""
    if match := UPLOADED.match(passage.document):
        return match[1], passage.document[match.end() :]
    digest = hashlib.sha256(f"{passage.collection}/{passage.document}".encode()).hexdigest()
    return f"file-{digest[:24]}", passage.document


@dataclass(frozen=True, slots=True)
class StoredFile:
    seq: int
    id: str
    tenant: str
    groups: str  # JSON: of the key that uploaded it; only keys of the tenant that share one see it
    filename: str
    bytes: int
    purpose: str
    created_at: float

    @property
    def document(self) -> str:
        """Its id in the record, whatever the collection."""
        return f"{self.id}/{self.filename}"


@dataclass(frozen=True, slots=True)
class Store:
    """A vector store: a collection of the record, and whose it is."""

    seq: int
    id: str
    tenant: str
    collection: str
    name: str
    metadata: Mapping[str, str]
    created_at: float


@dataclass(frozen=True, slots=True)
class Attached:
    """One file in one store."""

    seq: int
    store: str
    file: str
    status: str
    code: str  # of the error, where it failed
    message: str
    passages: int
    attributes: Mapping[str, Any]
    created_at: float
    batch: str


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: at most ``limit`` items after (or before) an item, newest first unless ``ascending``."""

    limit: int = 20
    ascending: bool = False
    after: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A file to be loaded, claimed by this process."""

    attached: Attached
    file: StoredFile
    collection: str


# Columns in the order of the fields above; f, s and a name the tables.
FILE_ROW = "f.seq, f.id, f.tenant, f.groups, f.filename, f.bytes, f.purpose, f.created_at"
STORE_ROW = "s.seq, s.id, s.tenant, s.collection, s.name, s.metadata, s.created_at"
ATTACHED_ROW = "a.seq, a.store, a.file, a.status, a.code, a.message, a.passages, a.attributes, a.created_at, a.batch"


def store_of(row: tuple[Any, ...]) -> Store:
    seq, id, tenant, collection, name, metadata, created_at = row
    return Store(seq, id, tenant, collection, name, json.loads(metadata), created_at)


def attached_of(row: tuple[Any, ...]) -> Attached:
    seq, store, file, status, code, message, passages, attributes, created_at, batch = row
    said = json.loads(attributes)
    return Attached(seq, store, file, status, code, message, passages, said, created_at, batch)


def no_store(store_id: str) -> NotFound:
    return NotFound(f"no vector store {store_id[:80]!r}; see GET /v1/vector_stores", param="vector_store_id")


def clean_name(filename: str) -> str:
    """A file's own name: no folders, no control characters, composed, of a bounded length with its ending kept."""
    name = unicodedata.normalize("NFC", filename).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if c.isprintable()).strip().encode("utf-8", "ignore").decode()
    stem, dot, ending = name.rpartition(".")
    return (f"{stem[:150]}{dot}{ending[:16]}" if dot else name[:150]) or "file"
