"""The record of documents: one SQLite file that is the truth about what may be answered from.

Indexes are copies and may lag; the record may not. Every change of a document is one transaction that bumps the
document's version and the collection's epoch together with its passages, so a reader in any process sees the old
document or the new one, never half of one, and a cached answer that rests on the old one is void the moment the
change is committed.

Writers take turns (``BEGIN IMMEDIATE``); readers never wait (WAL). Methods block for microseconds (``epoch``,
``versions``) or longer (the rest: call them from a thread).
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gateway.chat import Passage
from gateway.ports import Vector
from gateway.retrieval.documents import (
    Changes,
    Document,
    DocumentInfo,
    IndexRow,
    Piece,
    may_see,
    version_of,
)
from gateway.retrieval.freshness import Freshness
from gateway.retrieval.tokens import Terms, terms
from gateway.transactions import transaction

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (1, 0);
CREATE TABLE IF NOT EXISTS collections (
  name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, touched INTEGER NOT NULL, groups TEXT NOT NULL DEFAULT '[]',
  created_at REAL NOT NULL, attributes TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS documents (
  id INTEGER PRIMARY KEY AUTOINCREMENT, collection TEXT NOT NULL, document TEXT NOT NULL, title TEXT NOT NULL,
  content_hash TEXT NOT NULL, revision INTEGER NOT NULL, touched INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,
  groups TEXT NOT NULL DEFAULT '[]', url TEXT NOT NULL DEFAULT '', bytes INTEGER NOT NULL DEFAULT 0,
  updated_at REAL NOT NULL, UNIQUE (collection, document));
CREATE INDEX IF NOT EXISTS documents_touched ON documents (collection, touched);
CREATE TABLE IF NOT EXISTS passages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, document_id INTEGER NOT NULL REFERENCES documents (id),
  position INTEGER NOT NULL, section TEXT NOT NULL, text TEXT NOT NULL, terms BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS passages_document ON passages (document_id, position);
CREATE TABLE IF NOT EXISTS vectors (
  passage_id INTEGER NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL,
  PRIMARY KEY (passage_id, model)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS passages_gone AFTER DELETE ON passages
  BEGIN DELETE FROM vectors WHERE passage_id = OLD.id; END;
"""


class Record:
    """Documents and passages at ``path``. Safe to share between threads; several processes may have it open."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._wall = wall
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._open_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._writer = self._connect()
        self._writer.executescript(_SCHEMA)
        self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._watch = Freshness(self._connect())

    @classmethod
    def open(cls, path: Path | str) -> Record:
        """The record at ``path``, created where there is none. Raises ``sqlite3.Error`` where it cannot be."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(path)

    def close(self) -> None:
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    # --- freshness: called per request, microseconds -------------------------------------------------------------

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections was added, changed, deleted or re-permissioned."""
        return self._watch.epoch(collections)

    def cursor(self, collection: str) -> int:
        """Grows with every change of the collection, vectors included; 0 where there is no such collection."""
        return self._watch.cursor(collection)

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""
        return self._watch.versions(documents)

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read each."""
        return self._watch.readable(documents, groups)

    # --- writing: one transaction each ---------------------------------------------------------------------------

    def put(self, collection: str, document: Document, *, model: str = "") -> str:
        """Store or replace one document whole; returns its new version. ``model`` names the embedder of its vectors."""
        name = unicodedata.normalize("NFC", document.document)
        title = document.title
        indexed = [terms(title, piece.section, piece.text).to_bytes() for piece in document.pieces]
        with self._transaction() as db:
            revision = self._bump(db, collection)
            document_id = self._replace(db, collection, name, revision, document)
            cursor = db.cursor()
            for position, (piece, blob) in enumerate(zip(document.pieces, indexed, strict=True)):
                cursor.execute(
                    "INSERT INTO passages (document_id, position, section, text, terms) VALUES (?, ?, ?, ?, ?)",
                    (document_id, position, piece.section, piece.text, blob),
                )
                vector = document.vectors[position] if document.vectors is not None else None
                if vector is not None:
                    stored = (cursor.lastrowid, model, np.asarray(vector, "<f4").tobytes())
                    cursor.execute("INSERT INTO vectors VALUES (?, ?, ?)", stored)
        return version_of(revision, document.content_hash)

    def delete(self, collection: str, documents: Iterable[str]) -> int:
        """Remove documents; returns how many were there. What rests on them is void when this returns."""
        count = 0
        with self._transaction() as db:
            for name in documents:
                row = db.execute(
                    "SELECT id FROM documents WHERE collection = ? AND document = ? AND NOT deleted",
                    (collection, unicodedata.normalize("NFC", name)),
                ).fetchone()
                if row is None:
                    continue
                revision = self._bump(db, collection)
                db.execute(  # a tombstone: the revision must never run backwards if the document comes back
                    "UPDATE documents SET deleted = 1, revision = ?, touched = ?, updated_at = ? WHERE id = ?",
                    (revision, revision, self._wall(), row[0]),
                )
                db.execute("DELETE FROM passages WHERE document_id = ?", row)
                count += 1
        return count

    def set_groups(self, collection: str, groups: Sequence[str], document: str | None = None) -> None:
        """Who may see a document, or (``document`` None) the whole collection; () = everyone.

        A caller must meet both. Counts as a change: answers given under the old rights are void.
        """
        encoded = json.dumps(sorted(set(groups)), ensure_ascii=False)
        with self._transaction() as db:
            revision = self._bump(db, collection)
            if document is None:
                db.execute("UPDATE collections SET groups = ? WHERE name = ?", (encoded, collection))
                db.execute(
                    "UPDATE documents SET revision = ?, touched = ? WHERE collection = ? AND NOT deleted",
                    (revision, revision, collection),
                )
            else:
                db.execute(
                    "UPDATE documents SET groups = ?, revision = ?, touched = ?"
                    " WHERE collection = ? AND document = ? AND NOT deleted",
                    (encoded, revision, revision, collection, unicodedata.normalize("NFC", document)),
                )

    def create(
        self, collection: str, groups: Sequence[str] | None = None, attributes: Mapping[str, object] = {}
    ) -> None:
        """Make sure the collection exists; ``groups`` None leaves its rights as they are."""
        with self._transaction() as db:
            self._bump(db, collection, only_new=True)
            if attributes:
                db.execute(
                    "UPDATE collections SET attributes = ? WHERE name = ?",
                    (json.dumps(attributes, ensure_ascii=False), collection),
                )
        if groups is not None and tuple(sorted(set(groups))) != self.collection_groups(collection):
            self.set_groups(collection, groups)

    def drop(self, collection: str) -> None:
        """Delete a collection with its documents. Tombstones stay, so that versions go on if it is made again."""
        self.delete(collection, [info.document for info in self.documents(collection)])
        with self._transaction() as db:
            db.execute("DELETE FROM collections WHERE name = ?", (collection,))

    def add_vectors(self, collection: str, model: str, vectors: Mapping[int, Vector]) -> None:
        """Give vectors to passages stored without. Not a new version: what the documents say is the same."""
        with self._transaction() as db:
            touched = self._next(db)
            db.execute("UPDATE collections SET touched = ? WHERE name = ?", (touched, collection))
            for passage_id, vector in vectors.items():
                row = db.execute("SELECT document_id FROM passages WHERE id = ?", (passage_id,)).fetchone()
                if row is not None:  # else replaced meanwhile
                    blob = np.asarray(vector, "<f4").tobytes()
                    db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", (passage_id, model, blob))
                    db.execute("UPDATE documents SET touched = ? WHERE id = ?", (touched, row[0]))

    def _replace(self, db: sqlite3.Connection, collection: str, name: str, revision: int, document: Document) -> int:
        groups = json.dumps(sorted(set(document.groups)), ensure_ascii=False)
        (document_id,) = db.execute(
            "INSERT INTO documents (collection, document, title, content_hash, revision, touched, groups, url, bytes,"
            " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (collection, document) DO UPDATE SET title = excluded.title, deleted = 0,"
            " content_hash = excluded.content_hash, revision = excluded.revision, touched = excluded.touched,"
            " groups = excluded.groups, url = excluded.url, bytes = excluded.bytes, updated_at = excluded.updated_at"
            " RETURNING id",
            (collection, name, document.title, document.content_hash, revision, revision, groups, document.url,
             document.bytes, self._wall()),
        ).fetchone()  # fmt: skip
        db.execute("DELETE FROM passages WHERE document_id = ?", (document_id,))
        return int(document_id)

    def _bump(self, db: sqlite3.Connection, collection: str, *, only_new: bool = False) -> int:
        """A fresh revision, already the collection's epoch. One counter for all: no number is ever used twice."""
        revision = self._next(db)
        conflict = "NOTHING" if only_new else "UPDATE SET epoch = excluded.epoch, touched = excluded.touched"
        db.execute(
            "INSERT INTO collections (name, epoch, touched, created_at) VALUES (?, ?, ?, ?)"
            f" ON CONFLICT (name) DO {conflict}",
            (collection, revision, revision, self._wall()),
        )
        return revision

    @staticmethod
    def _next(db: sqlite3.Connection) -> int:
        return int(db.execute("UPDATE counter SET value = value + 1 RETURNING value").fetchone()[0])

    # --- reading -------------------------------------------------------------------------------------------------

    def passages(self, ids: Sequence[int], groups: frozenset[str]) -> dict[int, Passage]:
        """Those of ``ids`` that exist now and that a caller in ``groups`` may see."""
        marks = ",".join("?" * len(ids))
        rows = self._reader().execute(
            "SELECT p.id, d.collection, d.document, d.revision, d.content_hash, p.position, d.title, p.section, p.text,"
            " d.groups, c.groups FROM passages p JOIN documents d ON d.id = p.document_id"
            f" JOIN collections c ON c.name = d.collection WHERE p.id IN ({marks}) AND NOT d.deleted",
            list(ids),
        )
        return {
            row[0]: Passage(row[1], row[2], version_of(row[3], row[4]), row[5], row[6], row[7], row[8])
            for row in rows
            if may_see(row[9], groups) and may_see(row[10], groups)
        }

    def changes(self, collection: str, since: int, model: str | None) -> Changes:
        """Documents touched after ``since`` (0: all), with their passages and ``model``'s vectors, of one instant."""
        db = self._reader()
        with _snapshot(db):
            head = db.execute("SELECT touched FROM collections WHERE name = ?", (collection,)).fetchone()
            if head is None:
                return Changes(0, ())
            touched = "d.collection = ? AND d.touched > ?"
            ids = db.execute(f"SELECT id FROM documents d WHERE {touched}", (collection, since)).fetchall()
            found = db.execute(
                "SELECT p.id, d.id, d.groups, p.terms, v.vector"
                " FROM documents d JOIN passages p ON p.document_id = d.id"
                f" LEFT JOIN vectors v ON v.passage_id = p.id AND v.model = ? WHERE {touched} AND NOT d.deleted"
                " ORDER BY p.id",
                (model or "", collection, since),
            )
            rows = [IndexRow(row[0], row[1], row[2], Terms.from_bytes(row[3]), row[4]) for row in found]
            return Changes(int(head[0]), tuple(row[0] for row in ids), rows)

    def collections(self) -> dict[str, int]:
        """Every collection with its number of documents."""
        return dict(
            self._reader().execute(
                "SELECT c.name, COUNT(d.id) FROM collections c LEFT JOIN documents d"
                " ON d.collection = c.name AND NOT d.deleted GROUP BY c.name ORDER BY c.name"
            )
        )

    def collection_groups(self, collection: str) -> tuple[str, ...]:
        row = self._reader().execute("SELECT groups FROM collections WHERE name = ?", (collection,)).fetchone()
        return tuple(json.loads(row[0])) if row else ()

    def documents(self, collection: str) -> list[DocumentInfo]:
        """All documents of the collection, by name."""
        rows = self._reader().execute(
            "SELECT d.document, d.title, d.revision, d.content_hash, d.groups, d.url, d.bytes, d.updated_at,"
            " (SELECT COUNT(*) FROM passages p WHERE p.document_id = d.id)"
            " FROM documents d WHERE d.collection = ? AND NOT d.deleted ORDER BY d.document",
            (collection,),
        )
        return [
            DocumentInfo(
                collection, row[0], row[1], version_of(row[2], row[3]), row[3], tuple(json.loads(row[4])), row[5],
                row[6], row[8], row[7],
            )
            for row in rows
        ]  # fmt: skip

    def text(self, collection: str, document: str) -> list[Piece]:
        """The passages of one document in order; [] where there is no such document."""
        rows = self._reader().execute(
            "SELECT p.section, p.text FROM passages p JOIN documents d ON d.id = p.document_id"
            " WHERE d.collection = ? AND d.document = ? AND NOT d.deleted ORDER BY p.position",
            (collection, unicodedata.normalize("NFC", document)),
        )
        return [Piece(*row) for row in rows]

    def without_vectors(self, collection: str, model: str, limit: int) -> list[tuple[int, str, Piece]]:
        """Passages that ``model`` has not embedded yet: (id, document title, piece)."""
        rows = self._reader().execute(
            "SELECT p.id, d.title, p.section, p.text FROM passages p JOIN documents d ON d.id = p.document_id"
            " LEFT JOIN vectors v ON v.passage_id = p.id AND v.model = ?"
            " WHERE d.collection = ? AND NOT d.deleted AND v.passage_id IS NULL ORDER BY p.id LIMIT ?",
            (model, collection, limit),
        )
        return [(row[0], row[1], Piece(row[2], row[3])) for row in rows]

    def count_without_vectors(self, collection: str, model: str) -> int:
        """How many passages ``model`` has not embedded yet."""
        row = (
            self._reader()
            .execute(
                "SELECT COUNT(*) FROM passages p JOIN documents d ON d.id = p.document_id"
                " LEFT JOIN vectors v ON v.passage_id = p.id AND v.model = ?"
                " WHERE d.collection = ? AND NOT d.deleted AND v.passage_id IS NULL",
                (model, collection),
            )
            .fetchone()
        )
        return int(row[0])

    def known_vectors(self, collection: str, document: str, title: str, model: str) -> dict[Piece, Vector]:
        """Vectors of a stored document's passages, so that what did not change need not be embedded again.

        The title is embedded with every passage: under another title nothing is known.
        """
        rows = self._reader().execute(
            "SELECT p.section, p.text, v.vector FROM documents d JOIN passages p ON p.document_id = d.id"
            " JOIN vectors v ON v.passage_id = p.id AND v.model = ?"
            " WHERE d.collection = ? AND d.document = ? AND d.title = ? AND NOT d.deleted",
            (model, collection, unicodedata.normalize("NFC", document), title),
        )
        return {Piece(row[0], row[1]): np.frombuffer(row[2], "<f4") for row in rows}

    # --- connections ---------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        with self._open_lock:
            self._open.append(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never tear one
        db.execute("PRAGMA foreign_keys = ON")
        return db

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
        return db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, transaction(self._writer):
            yield self._writer


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one instant."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")
