"""The book in one SQLite file beside the document record; shared by the workers of one machine."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from gateway.answers import reviewed
from gateway.answers.book import CHANGED, MAX_CHANGES, Conflict
from gateway.answers.reviewed import Change, Reviewed
from gateway.errors import StoreUnavailable
from gateway.transactions import transaction

T = TypeVar("T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO head VALUES (1, 0);
CREATE TABLE IF NOT EXISTS answers (
  tenant TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE IF NOT EXISTS changes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, answer TEXT NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS changes_of ON changes (answer, number);
"""


class SqliteBook:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error or OSError where the file cannot be opened for writing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # few writes, each somebody's work
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    async def head(self) -> int:
        return await self._run(lambda db: int(db.execute("SELECT value FROM head").fetchone()[0]))

    async def all(self) -> list[Reviewed]:
        rows = await self._run(lambda db: db.execute("SELECT data FROM answers ORDER BY tenant, id").fetchall())
        return [answer for (data,) in rows if (answer := _loaded(data)) is not None]

    async def get(self, tenant: str, id: str) -> Reviewed | None:
        row = await self._run(
            lambda db: db.execute("SELECT data FROM answers WHERE tenant = ? AND id = ?", (tenant, id)).fetchone()
        )
        return _loaded(row[0]) if row is not None else None

    async def save(self, answer: Reviewed, change: Change) -> Reviewed:
        kept = reviewed.next_of(answer)

        def write(db: sqlite3.Connection) -> None:
            with _changing(db, answer, change):
                row = (kept.tenant, kept.id, kept.revision, reviewed.dump(kept))
                db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)

        await self._run(write)
        return kept

    async def delete(self, answer: Reviewed, change: Change) -> None:
        def write(db: sqlite3.Connection) -> None:
            with _changing(db, answer, change):
                db.execute("DELETE FROM answers WHERE tenant = ? AND id = ?", (answer.tenant, answer.id))

        await self._run(write)

    async def history(self, limit: int, tenant: str = "", id: str = "") -> list[Change]:
        rows = await self._run(
            lambda db: db.execute(
                "SELECT data FROM changes WHERE ? IN ('', tenant) AND ? IN ('', answer) ORDER BY number DESC LIMIT ?",
                (tenant, id, limit),
            ).fetchall()
        )
        return [reviewed.load_change(data) for (data,) in rows]

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def locked() -> T:
            with self._lock:
                return work(self._db)

        try:
            return await asyncio.to_thread(locked)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the book of reviewed answers: {error}") from error


@contextmanager
def _changing(db: sqlite3.Connection, answer: Reviewed, change: Change) -> Iterator[None]:
    """A transaction that holds if ``answer`` still is the stored revision. Raises Conflict."""
    with transaction(db):
        row = db.execute(
            "SELECT revision FROM answers WHERE tenant = ? AND id = ?", (answer.tenant, answer.id)
        ).fetchone()
        if (row[0] if row is not None else 0) != answer.revision:
            raise Conflict(CHANGED, param="revision")
        yield
        db.execute("INSERT INTO changes (tenant, answer, data) VALUES (?, ?, ?)",
                   (change.tenant, change.answer, reviewed.dump(change)))  # fmt: skip
        db.execute("DELETE FROM changes WHERE number <= (SELECT MAX(number) FROM changes) - ?", (MAX_CHANGES,))
        db.execute("UPDATE head SET value = value + 1")


def _loaded(data: bytes) -> Reviewed | None:
    with suppress(ValueError, TypeError, KeyError):
        return reviewed.load(data)
    return None
