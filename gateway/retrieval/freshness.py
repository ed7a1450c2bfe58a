"""What the record holds *now*, remembered between commits: asked several times a request, read once a change."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence

from gateway.retrieval.documents import may_see, version_of


class Freshness:
    """Epochs, versions and rights over a connection that never writes, so that ``data_version`` sees every commit, this
    process's own included."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._data_version = -1
        self._epochs: dict[str, tuple[int, int]] = {}  # collection -> (epoch, touched)
        self._versions: dict[str, str | None] = {}
        self._rights: dict[str, tuple[str, str] | None] = {}  # groups of the document and of its collection, as JSON

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections was added, changed, deleted or re-permissioned."""
        with self._lock:
            self._refresh()
            return ",".join(f"{name}:{self._epochs.get(name, (0, 0))[0]}" for name in sorted(set(collections)))

    def cursor(self, collection: str) -> int:
        """Grows with every change of the collection, vectors included; 0 where there is no such collection."""
        with self._lock:
            self._refresh()
            return self._epochs.get(collection, (0, 0))[1]

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""
        with self._lock:
            self._refresh()
            for name in documents:
                if name not in self._versions:
                    self._versions[name] = self._version(name)
            return {name: version for name in documents if (version := self._versions[name]) is not None}

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read each."""
        with self._lock:
            self._refresh()
            for name in documents:
                if name not in self._rights:
                    self._rights[name] = self._needed(name)
            needed = [self._rights[name] for name in documents]
        return all(rights is not None and all(may_see(one, groups) for one in rights) for rights in needed)

    def _refresh(self) -> None:
        """Forget what is remembered if any process committed since. ~4 µs when nothing did."""
        (data_version,) = self._db.execute("PRAGMA data_version").fetchone()
        if data_version != self._data_version:
            rows = self._db.execute("SELECT name, epoch, touched FROM collections")
            self._epochs = {name: (epoch, touched) for name, epoch, touched in rows}
            self._versions.clear()
            self._rights.clear()
            self._data_version = data_version

    def _needed(self, name: str) -> tuple[str, str] | None:
        collection, _, document = name.partition("/")
        row = self._db.execute(
            "SELECT d.groups, c.groups FROM documents d JOIN collections c ON c.name = d.collection"
            " WHERE d.collection = ? AND d.document = ? AND NOT d.deleted",
            (collection, document),
        ).fetchone()
        return (row[0], row[1]) if row else None

    def _version(self, name: str) -> str | None:
        collection, _, document = name.partition("/")
        row = self._db.execute(
            "SELECT revision, content_hash FROM documents WHERE collection = ? AND document = ? AND NOT deleted",
            (collection, document),
        ).fetchone()
        return version_of(*row) if row else None
