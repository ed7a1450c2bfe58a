"""Who owns which uploaded file and vector store, and how far the loading of each file is.

One small SQLite file beside the record; the files' bytes lie in a folder, one each. What may be answered from is the
record's business: here stand only names, owners and states, so a crash can at worst leave a state to be mended
(``Loader`` does that), never a wrong answer.

Everybody else's files and stores do not exist: a lookup by the wrong tenant raises the same NotFound as a wrong id.
Methods block for a millisecond or so: call them from a thread where that matters.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.chat import Tenant
from gateway.errors import NotFound
from gateway.retrieval.documents import may_see
from gateway.retrieval.uploads.holdings import (
    ATTACHED_ROW,
    CANCELLED,
    COMPLETED,
    FILE_ROW,
    IN_PROGRESS,
    SHARED,
    STORE_ROW,
    Attached,
    Job,
    Page,
    Store,
    StoredFile,
    attached_of,
    clean_name,
    no_store,
    store_of,
)
from gateway.transactions import transaction

LEASE_S = 900.0  # a claim older than this is nobody's: its process hangs or is on another machine

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, groups TEXT NOT NULL,
  filename TEXT NOT NULL, bytes INTEGER NOT NULL, purpose TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS stores (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, collection TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL, metadata TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS attached (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, store TEXT NOT NULL, file TEXT NOT NULL, status TEXT NOT NULL,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', passages INTEGER NOT NULL DEFAULT 0,
  attributes TEXT NOT NULL, created_at REAL NOT NULL, batch TEXT NOT NULL DEFAULT '',
  pid INTEGER NOT NULL DEFAULT 0, claimed_at REAL NOT NULL DEFAULT 0, UNIQUE (store, file));
CREATE INDEX IF NOT EXISTS attached_status ON attached (status, seq);
CREATE INDEX IF NOT EXISTS attached_file ON attached (file);
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY, store TEXT NOT NULL, created_at REAL NOT NULL);
"""


class Library:
    """Files and vector stores kept in ``folder``. Safe to share between threads and between gateways of one machine."""

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self.folder = folder / "files"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._wall = wall
        self._lock = threading.Lock()
        self._db = sqlite3.connect(folder / "files.db", timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # --- files ---------------------------------------------------------------------------------------------------

    def part(self) -> Path:
        """Where an upload may be written until it is whole."""
        return self.folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"

    def add(self, part: Path, tenant: Tenant, filename: str, purpose: str) -> StoredFile:
        """Keep a whole upload. From its return on the file exists; before, only a part that is swept up."""
        file_id = f"file-{secrets.token_hex(12)}"
        size = part.stat().st_size
        part.rename(self.path(file_id))
        row = (file_id, tenant.id, _groups(tenant.groups), clean_name(filename), size, purpose, self._wall())
        with self._transaction() as db:
            db.execute(
                "INSERT INTO files (id, tenant, groups, filename, bytes, purpose, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        return self.file(file_id, tenant)

    def path(self, file_id: str) -> Path:
        return self.folder / file_id

    def file(self, file_id: str, tenant: Tenant) -> StoredFile:
        """Raises NotFound, also where it is somebody else's."""
        for found in self._rows(f"SELECT {FILE_ROW} FROM files f WHERE id = ? AND tenant = ?", file_id, tenant.id):
            file = StoredFile(*found)
            if may_see(file.groups, tenant.groups):
                return file
        raise NotFound(f"no file {file_id[:80]!r}; see GET /v1/files", param="file_id")

    def files(self, tenant: Tenant, page: Page, purpose: str = "") -> list[StoredFile]:
        where, given = "f.tenant = ? AND (? = '' OR f.purpose = ?)", [tenant.id, purpose, purpose]
        found = self._paged(f"SELECT {FILE_ROW} FROM files f WHERE {where}", given, "f", "id", page)
        return [file for row in found if may_see((file := StoredFile(*row)).groups, tenant.groups)]

    def files_of(self, store: Store, tenant: Tenant) -> dict[str, StoredFile]:
        """The tenant's files in a store, by id."""
        query = f"SELECT {FILE_ROW} FROM files f JOIN attached a ON a.file = f.id WHERE a.store = ? AND f.tenant = ?"
        found = [StoredFile(*row) for row in self._rows(query, store.id, tenant.id)]
        return {file.id: file for file in found if may_see(file.groups, tenant.groups)}

    def used_bytes(self, tenant: Tenant) -> int:
        """What the tenant's files take."""
        return int(self._rows("SELECT COALESCE(SUM(bytes), 0) FROM files WHERE tenant = ?", tenant.id)[0][0])

    def remove_file(self, file: StoredFile) -> list[str]:
        """Forget a file; returns the collections it was in, where its document must go next."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT s.collection FROM attached a JOIN stores s ON s.id = a.store WHERE a.file = ?", (file.id,)
            ).fetchall()
            db.execute("DELETE FROM attached WHERE file = ?", (file.id,))
            db.execute("DELETE FROM files WHERE id = ?", (file.id,))
        self.path(file.id).unlink(missing_ok=True)
        return [row[0] for row in found]

    # --- vector stores -------------------------------------------------------------------------------------------

    def create_store(self, tenant: str, name: str, metadata: Mapping[str, str], collection: str = "") -> Store:
        """A new store; ``collection`` "" makes one of its own. A configured collection gets its store but once."""
        store_id = f"vs_{secrets.token_hex(12)}"
        row = (store_id, tenant, collection or store_id, name, json.dumps(metadata, ensure_ascii=False), self._wall())
        with self._transaction() as db:
            db.execute(
                "INSERT INTO stores (id, tenant, collection, name, metadata, created_at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (collection) DO NOTHING",
                row,
            )
        [found] = self._rows(f"SELECT {STORE_ROW} FROM stores s WHERE collection = ?", collection or store_id)
        return store_of(found)

    def store(self, store_id: str, tenant: Tenant) -> Store:
        """By id. Raises NotFound, also where it is somebody else's."""
        query = f"SELECT {STORE_ROW} FROM stores s WHERE id = ? AND tenant IN (?, ?)"
        for found in self._rows(query, store_id, tenant.id, SHARED):
            store = store_of(found)
            if not self._hidden(store, tenant):
                return store
        raise no_store(store_id)

    def stores(self, tenant: Tenant, page: Page) -> list[Store]:
        query = f"SELECT {STORE_ROW} FROM stores s WHERE s.tenant IN (?, ?)"
        found = [store_of(row) for row in self._paged(query, [tenant.id, SHARED], "s", "id", page)]
        return [store for store in found if not self._hidden(store, tenant)]

    def sees_all(self, store: Store, tenant: Tenant) -> bool:
        """Whether the store holds no file that is hidden from this key of its tenant."""
        return False not in self._seen(store, tenant)

    def _hidden(self, store: Store, tenant: Tenant) -> bool:
        """A store of a tenant is, as its files are, nothing to a key that may see none of them."""
        return store.tenant != SHARED and self._seen(store, tenant) == {False}

    def _seen(self, store: Store, tenant: Tenant) -> set[bool]:
        """For the files of a store, as far as they differ in that: whether the key may see them."""
        query = "SELECT DISTINCT f.groups FROM attached a JOIN files f ON f.id = a.file WHERE a.store = ?"
        return {may_see(groups, tenant.groups) for (groups,) in self._rows(query, store.id)}

    def all_stores(self) -> list[Store]:
        return [store_of(row) for row in self._rows(f"SELECT {STORE_ROW} FROM stores s")]

    def change_store(self, store: Store, name: str, metadata: Mapping[str, str]) -> Store:
        with self._transaction() as db:
            given = (name, json.dumps(metadata, ensure_ascii=False), store.id)
            db.execute("UPDATE stores SET name = ?, metadata = ? WHERE id = ?", given)
        return store_of(self._rows(f"SELECT {STORE_ROW} FROM stores s WHERE id = ?", store.id)[0])

    def remove_store(self, store: Store) -> None:
        """Forget a store; its collection must go next."""
        with self._transaction() as db:
            db.execute("DELETE FROM attached WHERE store = ?", (store.id,))
            db.execute("DELETE FROM batches WHERE store = ?", (store.id,))
            db.execute("DELETE FROM stores WHERE id = ?", (store.id,))

    # --- files in stores -----------------------------------------------------------------------------------------

    def attach(self, store: Store, files: Sequence[StoredFile], attributes: Mapping[str, Any], batch: str = "") -> None:
        """Have the files loaded into the store, once more where they are in it already."""
        said = json.dumps(attributes, ensure_ascii=False)
        with self._transaction() as db:
            if batch:
                db.execute("INSERT INTO batches VALUES (?, ?, ?)", (batch, store.id, self._wall()))
            for file in files:
                db.execute(
                    "INSERT INTO attached (store, file, status, attributes, created_at, batch)"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (store, file) DO UPDATE SET status = excluded.status,"
                    " code = '', message = '', attributes = excluded.attributes, batch = excluded.batch, pid = 0,"
                    " claimed_at = 0",
                    (store.id, file.id, IN_PROGRESS, said, self._wall(), batch),
                )

    def attached(self, store: Store, file_id: str) -> Attached:
        """Raises NotFound."""
        for row in self._rows(f"SELECT {ATTACHED_ROW} FROM attached a WHERE store = ? AND file = ?", store.id, file_id):
            return attached_of(row)
        raise NotFound(f"no file {file_id[:80]!r} in this vector store", param="file_id")

    def in_store(self, store: Store, page: Page, status: str = "", batch: str = "") -> list[Attached]:
        where = "a.store = ? AND (? = '' OR a.status = ?) AND (? = '' OR a.batch = ?)"
        given = [store.id, status, status, batch, batch]
        return [
            attached_of(row)
            for row in self._paged(f"SELECT {ATTACHED_ROW} FROM attached a WHERE {where}", given, "a", "file", page)
        ]

    def counts(self, store: Store, batch: str = "") -> dict[str, int]:
        """Files of a store, or of one of its batches, by status."""
        query = "SELECT status, COUNT(*) FROM attached WHERE store = ? AND (? = '' OR batch = ?) GROUP BY status"
        return {status: count for status, count in self._rows(query, store.id, batch, batch)}

    def stored_bytes(self, store: Store) -> int:
        query = (
            "SELECT COALESCE(SUM(f.bytes), 0) FROM attached a JOIN files f ON f.id = a.file"
            " WHERE a.store = ? AND a.status = ?"
        )
        return int(self._rows(query, store.id, COMPLETED)[0][0])

    def attributes(self, store: Store) -> dict[str, Mapping[str, Any]]:
        """Attributes of every file in the store, by file id."""
        rows = self._rows("SELECT file, attributes FROM attached WHERE store = ?", store.id)
        return {file: json.loads(said) for file, said in rows}

    def set_attributes(self, attached: Attached, attributes: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            said = json.dumps(attributes, ensure_ascii=False)
            db.execute("UPDATE attached SET attributes = ? WHERE seq = ?", (said, attached.seq))

    def detach(self, attached: Attached) -> None:
        """Take a file out of a store; its document must go next."""
        with self._transaction() as db:
            db.execute("DELETE FROM attached WHERE seq = ?", (attached.seq,))

    def batch(self, store: Store, batch_id: str) -> float:
        """When it was made. Raises NotFound."""
        for (created_at,) in self._rows(
            "SELECT created_at FROM batches WHERE id = ? AND store = ?", batch_id, store.id
        ):
            return float(created_at)
        raise NotFound(f"no file batch {batch_id[:80]!r} in this vector store", param="batch_id")

    def cancel(self, store: Store, batch_id: str) -> None:
        """Files of the batch that nobody has begun with stay unloaded."""
        with self._transaction() as db:
            db.execute(
                "UPDATE attached SET status = ? WHERE store = ? AND batch = ? AND status = ? AND pid = 0",
                (CANCELLED, store.id, batch_id, IN_PROGRESS),
            )

    # --- loading -------------------------------------------------------------------------------------------------

    def claim(self) -> Job | None:
        """The next file to load, for this process alone; None when nothing waits."""
        with self._transaction() as db:
            now = self._wall()
            row = db.execute(
                f"SELECT {ATTACHED_ROW} FROM attached a WHERE status = ? AND (pid = 0 OR claimed_at < ?)"
                " ORDER BY seq LIMIT 1",
                (IN_PROGRESS, now - LEASE_S),
            ).fetchone()
            if row is None:
                return None
            attached = attached_of(row)
            db.execute("UPDATE attached SET pid = ?, claimed_at = ? WHERE seq = ?", (os.getpid(), now, attached.seq))
            file = db.execute(f"SELECT {FILE_ROW} FROM files f WHERE id = ?", (attached.file,)).fetchone()
            (collection,) = db.execute("SELECT collection FROM stores WHERE id = ?", (attached.store,)).fetchone()
            return Job(attached, StoredFile(*file), collection)

    def finish(self, job: Job, status: str, *, code: str = "", message: str = "", passages: int = 0) -> bool:
        """Note how a job ended; False where the file was taken out meanwhile, so that its document must go again."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE attached SET status = ?, code = ?, message = ?, passages = ?, pid = 0"
                " WHERE seq = ? AND status = ? AND pid = ?",
                (status, code, message, passages, job.attached.seq, IN_PROGRESS, os.getpid()),
            )
            if done.rowcount:
                return True
            there = db.execute("SELECT 1 FROM attached WHERE store = ? AND file = ?",
                               (job.attached.store, job.attached.file)).fetchone()  # fmt: skip
            return there is not None  # attached anew: whoever loads it then decides

    def release(self, alive: Callable[[int], bool]) -> None:
        """Give back what processes that are gone had claimed."""
        for (pid,) in self._rows("SELECT DISTINCT pid FROM attached WHERE pid != 0"):
            if not alive(pid):
                with self._transaction() as db:
                    db.execute("UPDATE attached SET pid = 0 WHERE pid = ?", (pid,))

    # --- the database --------------------------------------------------------------------------------------------

    def _rows(self, query: str, *given: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, given).fetchall()

    def _paged(self, query: str, given: list[Any], table: str, key: str, page: Page) -> list[tuple[Any, ...]]:
        """Rows of the page, in its order. An unknown ``after`` or ``before`` gives nothing."""
        source = {"f": "files", "s": "stores", "a": "attached"}[table]
        for cursor, later in ((page.after, page.ascending), (page.before, not page.ascending)):
            if cursor:
                mine = " AND store = ?" if table == "a" else ""
                query += f" AND {table}.seq {'>' if later else '<'} (SELECT seq FROM {source} WHERE {key} = ?{mine})"
                given = [*given, cursor, *([given[0]] if mine else [])]
        order = "ASC" if page.ascending else "DESC"
        return self._rows(f"{query} ORDER BY {table}.seq {order} LIMIT ?", *given, page.limit)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._db):
            yield self._db


def _groups(groups: frozenset[str]) -> str:
    return json.dumps(sorted(groups), ensure_ascii=False)
