"""A transaction ends however it goes, or nobody could write again. On real SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.transactions import transaction


@pytest.fixture
def db(tmp_path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    made.execute("PRAGMA foreign_keys = ON")
    made.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, text TEXT)")
    made.execute("CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    return made


def parents(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COUNT(*) FROM parents").fetchone()[0])


def test_a_full_disk_is_told_as_such_and_passes(db: sqlite3.Connection) -> None:
    most = db.execute("PRAGMA max_page_count").fetchone()[0]
    db.execute("PRAGMA max_page_count = 4")
    with pytest.raises(sqlite3.OperationalError, match="disk is full"), transaction(db):
        db.execute("INSERT INTO parents VALUES (1, ?)", ("x" * 100_000,))
    db.execute(f"PRAGMA max_page_count = {most}")
    with transaction(db):
        db.execute("INSERT INTO parents VALUES (1, ?)", ("x" * 100_000,))
    assert parents(db) == 1


def test_a_commit_that_fails_leaves_nothing_open(db: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError), transaction(db):
        db.execute("INSERT INTO children VALUES (2)")
    assert not db.in_transaction
    with transaction(db):
        db.execute("INSERT INTO parents VALUES (1, '')")
    assert parents(db) == 1


def test_what_is_raised_inside_undoes_all_of_it(db: sqlite3.Connection) -> None:
    def broken() -> None:
        with transaction(db):
            db.execute("INSERT INTO parents VALUES (1, '')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert parents(db) == 0
