"""The real command, killed again and again. ``python -m bench ingest`` does the same with 10,000 documents."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from bench.ingest import killed, made, not_whole, stored_in

DOCUMENTS, KILLS = 500, 5


def test_kill_9_at_any_moment_loses_no_finished_document_and_leaves_none_half(tmp_path: Path) -> None:
    chance = random.Random(7)
    texts = made(tmp_path / "files", DOCUMENTS, chance)
    result = killed(tmp_path / "place", tmp_path / "files", texts, KILLS, chance)
    assert [(kill.lost, kill.half) for kill in result.kills] == [(0, 0)] * KILLS
    assert 0 < result.kills[-1].after < DOCUMENTS  # the kills came in the middle of it
    assert (result.unchanged, result.added) == (result.kills[-1].after, DOCUMENTS - result.kills[-1].after)
    assert (result.stored, result.stored_passages, result.wrong) == (DOCUMENTS, result.passages, 0)
    assert result.sound

    with sqlite3.connect(tmp_path / "place" / "documents.db") as db:  # what it would look like if it were not so
        db.execute("DELETE FROM passages WHERE id = (SELECT MAX(id) FROM passages)")
        db.execute("UPDATE passages SET text = text || '.' WHERE id = (SELECT MIN(id) FROM passages)")
    db.close()
    assert len(not_whole(stored_in(tmp_path / "place"), texts)) == 2
