"""Answers remembered on disk: given again, byte for byte, when the cache lost them or its process ended. SQLite.

A copy of what the store keeps, sealed like every other, bounded by bytes: the longest unwritten goes first. Read only
where the store itself knows nothing any more. On a disk in trouble it remembers nothing, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.cache import entry_codec
from gateway.cache.purging import Cut, Selection
from gateway.chat import CacheEntry, CacheKey
from gateway.clock import WallClock

log = structlog.get_logger()
T = TypeVar("T")
EARLIER_S = 7 * 86_400.0  # seconds that an answer is remembered after its time
TRIM_EVERY = 200  # writes
BUSY_S = 1.0  # another worker is writing
BLIND_S = 60.0  # seconds without a look at the purges after which a ledger that was lost may have held some
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  scope TEXT NOT NULL, digest TEXT NOT NULL, tenant TEXT NOT NULL, data BLOB NOT NULL, ends_at REAL NOT NULL,
  number INTEGER PRIMARY KEY AUTOINCREMENT, UNIQUE (scope, digest));
CREATE TABLE IF NOT EXISTS followed (one INTEGER PRIMARY KEY CHECK (one = 1), ledger BLOB NOT NULL, at REAL NOT NULL);
"""


class Disk:
    """One file, one thread; the workers of a machine share it."""

    def __init__(self, path: Path, secret: bytes, max_bytes: int, wall_clock: WallClock = time.time) -> None:
        """Raises sqlite3.Error or OSError where the file cannot be opened for writing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "secure_delete = ON"):  # a lost write is only a miss
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._secret = secret
        self._max_bytes = max_bytes
        self._now = wall_clock
        self._thread = ThreadPoolExecutor(1, "answers-on-disk")
        self._writes = 0
        self._away = False

    async def get(self, key: CacheKey) -> CacheEntry | None:
        row = await self._run(
            lambda db: db.execute(
                "SELECT data FROM answers WHERE scope = ? AND digest = ? AND ends_at > ?",
                (key.scope.digest, key.digest, self._now()),
            ).fetchone(),
            None,
        )
        return entry_codec.decode(self._secret, key, row[0]) if row is not None else None

    async def put(self, entry: CacheEntry) -> None:
        """``entry`` instead of what was there under its key."""
        row = (
            entry.key.scope.digest, entry.key.digest, entry.key.scope.tenant_id,
            entry_codec.encode(self._secret, entry), entry.created_at + entry.ttl_s + EARLIER_S,
        )  # fmt: skip

        def write(db: sqlite3.Connection) -> None:
            if self._writes % TRIM_EVERY == 0:
                self._trim(db)
            self._writes += 1
            db.execute("INSERT OR REPLACE INTO answers (scope, digest, tenant, data, ends_at) VALUES (?,?,?,?,?)", row)

        await self._run(write, None)

    async def delete(self, key: CacheKey) -> None:
        where = (key.scope.digest, key.digest)
        await self._run(lambda db: db.execute("DELETE FROM answers WHERE scope = ? AND digest = ?", where), None)

    async def purge(self, selection: Selection) -> None:
        await self._run(lambda db: self._purge(db, selection), None)

    def forget(self, cuts: Sequence[Cut]) -> None:
        """Drop what purges made elsewhere took, before anything that is asked of the disk from now on."""
        self._thread.submit(self._attempt, lambda db: self._drop(db, lambda e: any(cut.voids(e) for cut in cuts)), None)

    def follow(self, ledger: bytes) -> None:
        """The purges in ``ledger`` are known here now. Where another one was followed before, and not seen for
        ``BLIND_S``, nobody can tell what was purged in it at last: drop everything."""
        now = self._now()

        def note(db: sqlite3.Connection) -> None:
            last = db.execute("SELECT ledger, at FROM followed").fetchone()
            if last is not None and last[0] != ledger and now - last[1] > BLIND_S:
                db.execute("DELETE FROM answers")
            db.execute("INSERT OR REPLACE INTO followed VALUES (1, ?, ?)", (ledger, now))

        self._thread.submit(self._attempt, note, None)

    async def close(self) -> None:
        await self._run(lambda db: db.close(), None)
        self._thread.shutdown()

    def _purge(self, db: sqlite3.Connection, selection: Selection) -> None:
        if set(selection.given) <= {"tenant"}:
            db.execute("DELETE FROM answers WHERE ? IN ('', tenant)", (selection.tenant,))
            return
        self._drop(db, selection.selects)

    def _drop(self, db: sqlite3.Connection, doom: Callable[[CacheEntry], bool]) -> None:
        doomed = []
        for number, scope, digest, data in db.execute("SELECT number, scope, digest, data FROM answers"):
            entry = entry_codec.decode_any(self._secret, scope, digest, data)
            if entry is None or doom(entry):  # under another secret it is of no use to anybody
                doomed.append((number,))
        db.executemany("DELETE FROM answers WHERE number = ?", doomed)

    def _trim(self, db: sqlite3.Connection) -> None:
        """Drop what is over, then the oldest quarter until the rest has room."""
        db.execute("DELETE FROM answers WHERE ends_at <= ?", (self._now(),))
        while True:
            count, size = db.execute("SELECT COUNT(*), COALESCE(SUM(LENGTH(data)), 0) FROM answers").fetchone()
            if size <= self._max_bytes:
                return
            last = db.execute("SELECT number FROM answers ORDER BY number LIMIT 1 OFFSET ?", (count // 4,)).fetchone()
            db.execute("DELETE FROM answers WHERE number <= ?", last)

    async def _run(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, work, default)

    def _attempt(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        try:
            return work(self._db)
        except sqlite3.Error as error:
            if not self._away:
                log.warning("answers are not remembered on disk", error=str(error))
            self._away = True
            return default
