"""`python -m bench ingest`: how fast `ocho ingest` reads documents, and whether anything is lost when it is killed.

Runs the real command. First whole, without embeddings, for the rate; then into an empty record with ``kill -9`` at
random moments (seeded), each time looking at what is stored: a document that was there before the kill is still there,
and every document that is there is whole, word for word. The last run goes through, and must find all of the others.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.as_json import add_json, give_json, tables_aside
from gateway.retrieval.ingest.parse import parse
from gateway.retrieval.ingest.passages import split

COLLECTION = "hb"
CONFIG = f'documents: [{{name: {COLLECTION}}}]\ncache: {{semantic: {{embedder: "off"}}}}\n'
SECTIONS = 3  # of a document: one passage each
START_S = 1.5  # a command has certainly begun to store by then
JITTER_S = 0.02  # after the aimed-at document: anywhere in the next ones
LOOK_EVERY_S = 0.002
WAIT_S = 600.0

Texts = dict[str, list[tuple[str, str]]]  # document -> its passages: section, text

_REPORT = re.compile(r"(\d+) added, (\d+) changed, (\d+) unchanged, (\d+) deleted, (\d+) passages")


@dataclass(frozen=True, slots=True)
class Killed:
    """What one kill left."""

    before: int  # documents seen in the record just before it
    after: int
    lost: int  # seen before, and gone
    half: int  # there, and not word for word the file


@dataclass(slots=True)
class Result:
    documents: int
    passages: int
    seconds: float = 0.0  # of the undisturbed run, start of the program included
    cpu_s: float = 0.0
    kills: list[Killed] = field(default_factory=list)
    added: int = 0  # by the last run
    unchanged: int = 0  # found by it
    stored: int = 0  # documents in the end
    stored_passages: int = 0
    wrong: int = 0  # of them: not word for word their file

    @property
    def sound(self) -> bool:
        return (
            not any(kill.lost or kill.half for kill in self.kills)
            and self.wrong == 0
            and self.added + self.unchanged == self.stored == self.documents
            and self.unchanged == (self.kills[-1].after if self.kills else 0)
            and self.stored_passages == self.passages
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench ingest", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5)
    add_json(parser)
    options = parser.parse_args(argv)
    with tables_aside(options.json), tempfile.TemporaryDirectory() as folder:
        result = measured(Path(folder), options.documents, options.kills, options.seed)
        _print(Console(), result)
    give_json(asdict(result) | {"sound": result.sound, "seed": options.seed}, options.json)
    return 0 if result.sound else 1


def measured(folder: Path, documents: int, kills: int, seed: int) -> Result:
    """The rate, and what the kills left; ``folder`` is empty."""
    chance = random.Random(seed)
    texts = made(folder / "files", documents, chance)
    began, cpu = time.monotonic(), _cpu_s()
    _finish(folder / "whole", folder / "files")
    seconds, cpu_s = time.monotonic() - began, _cpu_s() - cpu
    result = killed(folder / "killed", folder / "files", texts, kills, chance)
    result.seconds, result.cpu_s = seconds, cpu_s
    return result


def killed(place: Path, files: Path, texts: Texts, kills: int, chance: random.Random) -> Result:
    """An ingest of ``files`` into an empty ``place``, killed so often, then finished."""
    result = Result(len(texts), sum(map(len, texts.values())))
    aims = sorted(chance.sample(range(1, len(texts)), max(0, kills - 2)))
    for aim in (-1, 0, *aims)[:kills]:
        result.kills.append(_killed(place, files, texts, aim, chance))
    result.added, result.unchanged = _finish(place, files)
    stored = stored_in(place)
    result.stored, result.stored_passages = len(stored), sum(map(len, stored.values()))
    result.wrong = len(not_whole(stored, texts))
    return result


def made(files: Path, documents: int, chance: random.Random) -> Texts:
    """Files in folders of a hundred, and the passages that each must become."""
    texts: Texts = {}
    for n in range(documents):
        parts = [f"# 문서 {n}"]
        for section in range(SECTIONS):
            numbers = [chance.randrange(10_000) for _ in range(14)]
            parts.append(f"## 절 {section}")
            parts.append(" ".join(f"{n}번 문서의 {at}번 규정은 {at % 31}일 전에 신청한다." for at in numbers))
        name, text = f"{n // 100:03}/{n:05}.md", "\n\n".join(parts)
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        texts[name] = [(piece.section, piece.text) for piece in split(parse(name, text.encode()))]
    return texts


def _started(place: Path, files: Path) -> subprocess.Popen[str]:
    place.mkdir(exist_ok=True)
    (place / "ocho.yaml").write_text(f'{CONFIG}data_dir: "{place}"\n', encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "ingest", str(files), "--collection", COLLECTION, "-c", place / "ocho.yaml"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, COLUMNS="200"),
    )  # fmt: skip


def _finish(place: Path, files: Path) -> tuple[int, int]:
    """Documents added and found unchanged by an undisturbed run."""
    with _started(place, files) as process:
        told, _ = process.communicate(timeout=WAIT_S)
    found = _REPORT.search(told)
    assert process.returncode == 0, told
    assert found is not None, told
    return int(found.group(1)), int(found.group(3))


def _killed(place: Path, files: Path, texts: Texts, aim: int, chance: random.Random) -> Killed:
    """Kill a run shortly after ``aim`` documents are stored; -1: at any moment of its start."""
    with _started(place, files) as process:
        if aim < 0:
            time.sleep(chance.random() * START_S)
        else:
            while process.poll() is None and len(_names(place)) <= aim:
                time.sleep(LOOK_EVERY_S)
            time.sleep(chance.random() * JITTER_S)
        before = _names(place)
        process.kill()
    after = stored_in(place)
    return Killed(len(before), len(after), len(before - after.keys()), len(not_whole(after, texts)))


def stored_in(place: Path) -> Texts:
    """What stands in the record, read past the classes that wrote it."""
    rows = _rows(
        place,
        "SELECT d.document, p.section, p.text FROM documents d LEFT JOIN passages p ON p.document_id = d.id"
        " WHERE NOT d.deleted ORDER BY d.document, p.position",
    )
    found = {name: [(row[1], row[2]) for row in part] for name, part in groupby(rows, key=lambda row: str(row[0]))}
    stray = _rows(place, "SELECT id FROM passages WHERE document_id NOT IN (SELECT id FROM documents)")
    assert not stray, f"{len(stray)} passages without a document"
    return found


def not_whole(stored: Texts, texts: Texts) -> list[str]:
    """Documents that are not word for word their file."""
    return [name for name, passages in stored.items() if texts.get(name) != passages]


def _names(place: Path) -> set[str]:
    return {name for (name,) in _rows(place, "SELECT document FROM documents WHERE NOT deleted")}


def _rows(place: Path, query: str) -> list[tuple[Any, ...]]:
    """[] where there is no record yet."""
    if not (place / "documents.db").exists():
        return []
    db = sqlite3.connect(place / "documents.db", timeout=30)
    try:
        return db.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        db.close()


def _cpu_s() -> float:
    """Of commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(console: Console, result: Result) -> None:
    rate, cpu = result.passages / result.seconds, result.passages / result.cpu_s
    console.print(
        f"{result.documents} documents, {result.passages} passages, without embeddings: {result.seconds:.1f} s, "
        f"{rate:.0f} passages/s; {result.cpu_s:.1f} s of CPU, {cpu:.0f} passages per CPU second"
    )
    table = Table("kill", "stored before", "after", "lost", "half", title="kill -9")
    for number, kill in enumerate(result.kills, start=1):
        table.add_row(*map(str, (number, kill.before, kill.after, kill.lost, kill.half)))
    console.print(table)
    console.print(
        f"resumed: {result.unchanged} found, {result.added} added; {result.stored} documents, {result.stored_passages} "
        f"passages stored, {result.wrong} not as their file: {'sound' if result.sound else 'NOT SOUND'}"
    )
