from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.record import Record

NOBODY: frozenset[str] = frozenset()


def document(
    name: str = "leave.md", text: str = "연차는 16일", *, groups: tuple[str, ...] = (), vectors: bool = False
) -> Document:
    rows = [np.array([1, 0], np.float32)] if vectors else None
    return Document(name, "연차", f"hash of {text}", [Piece("연차", text)], rows, groups)


def rows(record: Record, collection: str = "hr", since: int = 0, model: str = "m") -> list[int]:
    return [row.id for row in record.changes(collection, since, model).rows]


def test_every_change_moves_the_epoch_and_the_version(record: Record) -> None:
    seen = [(record.epoch(["hr"]), dict(record.versions(["hr/leave.md"])))]

    def note() -> None:
        seen.append((record.epoch(["hr"]), dict(record.versions(["hr/leave.md"]))))

    record.put("hr", document())
    note()
    record.put("hr", document())  # the same content again is a new version as well
    note()
    record.set_groups("hr", ["staff"], "leave.md")
    note()
    record.set_groups("hr", ["staff"])
    note()
    record.delete("hr", ["leave.md"])
    note()
    record.put("hr", document())
    note()
    assert len({epoch for epoch, _ in seen}) == len(seen)
    versions = [found["hr/leave.md"] for _, found in seen if found]
    assert len(set(versions)) == len(versions) == 5
    assert seen[0][1] == seen[5][1] == {}


def test_other_collections_do_not_move(record: Record) -> None:
    record.put("hr", document())
    before = record.epoch(["hr"])
    record.put("it", document("vpn.md"))
    assert record.epoch(["hr"]) == before
    assert record.epoch(["hr", "it"]) == record.epoch(["it", "hr"])


def test_another_process_is_seen_at_once(record: Record) -> None:
    record.put("hr", document())
    epoch, version = record.epoch(["hr"]), record.versions(["hr/leave.md"])
    script = (
        "import sys; from gateway.retrieval.documents import Document, Piece; "
        "from gateway.retrieval.record import Record; "
        "r = Record.open(sys.argv[1]); r.put('hr', Document('leave.md', 't', 'other', [Piece('', 'new')])); r.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(record.path)], check=True)
    assert record.epoch(["hr"]) != epoch
    assert record.versions(["hr/leave.md"]) != version


def test_an_idle_look_at_the_epoch_reads_no_table(record: Record) -> None:
    record.put("hr", document())
    record.epoch(["hr"])
    statements: list[str] = []
    record._watch._db.set_trace_callback(statements.append)
    record.epoch(["hr"])
    assert statements == ["PRAGMA data_version"]


def test_a_replaced_passage_is_gone_for_good(record: Record) -> None:
    record.put("hr", document())
    (old,) = rows(record)
    record.put("hr", document(text="연차는 17일"))
    assert record.passages([old], NOBODY) == {}
    assert old not in rows(record)


def test_a_failed_change_changes_nothing(record: Record) -> None:
    record.put("hr", document())
    epoch = record.epoch(["hr"])
    two_pieces = Document("leave.md", "t", "h", [Piece("", "one"), Piece("", "two")], [np.zeros(2, np.float32)])
    with pytest.raises(IndexError):
        record.put("hr", two_pieces, model="m")
    assert record.epoch(["hr"]) == epoch
    assert [piece.text for piece in record.text("hr", "leave.md")] == ["연차는 16일"]


def test_only_the_right_groups_see_a_document(record: Record) -> None:
    record.put("hr", document(groups=("managers",)))
    record.set_groups("hr", ["staff"])
    ids = rows(record)
    assert record.passages(ids, NOBODY) == {}
    assert record.passages(ids, frozenset({"managers"})) == {}
    assert record.passages(ids, frozenset({"staff"})) == {}
    assert len(record.passages(ids, frozenset({"staff", "managers"}))) == 1


def test_changes_name_what_is_gone_and_give_what_is_there(record: Record) -> None:
    record.put("hr", document("a.md", vectors=True), model="m")
    record.put("hr", document("b.md"))
    first = record.changes("hr", 0, "m")
    assert [row.vector is not None for row in first.rows] == [True, False]
    record.delete("hr", ["a.md"])
    second = record.changes("hr", first.touched, "m")
    assert second.documents == (first.rows[0].document_id,)
    assert second.rows == []
    assert record.changes("hr", second.touched, "m").documents == ()


def test_vectors_added_later_are_a_change_for_indexes_but_no_new_version(record: Record) -> None:
    record.put("hr", document())
    epoch, cursor, version = record.epoch(["hr"]), record.cursor("hr"), record.versions(["hr/leave.md"])
    ((id, _, _),) = record.without_vectors("hr", "m", 10)
    record.add_vectors("hr", "m", {id: np.array([0, 1], np.float32)})
    assert record.cursor("hr") > cursor
    assert (record.epoch(["hr"]), record.versions(["hr/leave.md"])) == (epoch, version)
    assert record.changes("hr", cursor, "m").rows[0].vector == np.array([0, 1], "<f4").tobytes()


def test_a_deleted_passage_takes_its_vectors_along(record: Record) -> None:
    record.put("hr", document(vectors=True), model="m")
    record.delete("hr", ["leave.md"])
    with sqlite3.connect(record.path) as db:
        assert db.execute("SELECT COUNT(*) FROM vectors").fetchone() == (0,)
    db.close()


def test_a_name_is_the_same_decomposed(record: Record) -> None:
    record.put("hr", document(unicodedata.normalize("NFD", "휴가.md")))
    assert record.versions(["hr/휴가.md"])
    assert record.delete("hr", [unicodedata.normalize("NFD", "휴가.md")]) == 1


def test_a_dropped_collection_is_empty_and_may_come_back(record: Record) -> None:
    record.put("hr", document())
    before = record.versions(["hr/leave.md"])
    record.drop("hr")
    assert record.collections() == {}
    assert record.cursor("hr") == 0
    record.put("hr", document())
    assert record.versions(["hr/leave.md"]) != before


def test_the_record_is_the_same_after_reopening(record: Record, tmp_path: Path) -> None:
    record.put("hr", document(groups=("staff",)))
    again = Record.open(record.path)
    assert again.versions(["hr/leave.md"]) == record.versions(["hr/leave.md"])
    assert again.documents("hr") == record.documents("hr")
    assert json.dumps(again.documents("hr")[0].groups) == '["staff"]'
    again.close()
