"""What is searched and what is asked."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.retrieval.documents import Document
from gateway.retrieval.ingest import ingest
from gateway.retrieval.ingest.blocks import Paragraph, Parsed
from gateway.retrieval.ingest.passages import split
from gateway.retrieval.record import Record

HANDBOOK = Path(__file__).parents[2] / "examples" / "handbook"
COLLECTION = "bench"
FOREVER_S = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    document: str
    lang: str
    kind: str
    group: str


def load_questions(path: Path) -> list[Question]:
    found = []
    for row in _jsonl(path):
        if row.get("doc"):
            text = str(row["q"])
            lang = row.get("lang") or ("ko" if any("가" <= c <= "힣" for c in text) else "en")
            found.append(Question(text, str(row["doc"]), lang, str(row.get("kind", "")), str(row.get("group", ""))))
    return found


def questions_beside(corpus: Path) -> Path:
    return corpus / "questions.jsonl" if corpus.is_dir() else corpus


async def load_corpus(record: Record, corpus: Path, exclude: Sequence[str] = ()) -> None:
    if corpus.is_dir():  # noqa: ASYNC240 - a command line tool may wait for its disk
        await ingest(record, COLLECTION, [corpus], exclude=["README.md", "LICENSE*", *exclude])
        return
    texts: dict[str, list[str]] = defaultdict(list)
    for row in _jsonl(corpus):
        texts[str(row["doc"])].append(str(row["text"] if "text" in row else row["a"]))
    for name, parts in texts.items():
        pieces = split(Parsed(name, tuple(Paragraph(part) for part in parts)))
        await asyncio.to_thread(record.put, COLLECTION, Document(name, name, str(hash(tuple(parts))), pieces))


def _jsonl(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)
