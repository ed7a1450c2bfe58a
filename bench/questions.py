"""Labelled questions for benches: files of groups, pairs and conversations, and their vectors."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.cache.decision import plain
from gateway.embedding.cached import normalised
from gateway.embedding.english import ByLanguage, EnglishEmbedder
from gateway.embedding.local import LocalEmbedder
from gateway.ports import Embedder, Vector

_BEGINNING = re.compile(r"([^-_:/]+[-_:/][^-_:/]+)[-_:/].")  # "h3-curekart-CALL_CENTER": the set, whose bot, the answer
_FIELDS = ("tenant", "bot", "company")  # that name whose traffic a question is
_FEWEST = 100  # questions of a tenant that only its labels name


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; lines of several tenants get the field ``tenant``, identical questions one group."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return _merged(_told_apart(rows)) if kind(rows) == "groups" else rows


def kind(rows: Sequence[dict[str, Any]]) -> str:
    """``groups``, ``pairs``, ``conversations`` or ``other``."""
    first = rows[0] if rows else {}
    if "q" in first and "g" in first:
        return "groups"
    if "a" in first and "b" in first and ("same" in first or "same_answer" in first):
        return "pairs" if isinstance(first["a"], str) else "conversations"
    return "other"


def grouped(rows: Sequence[dict[str, Any]], name: str = "") -> list[dict[str, Any]]:
    """Pairs as groups: what is said to be the same is of one group. ``name`` tells the groups of a file from others."""
    if kind(rows) == "groups":
        return [{**row, "g": f"{name}{row['g']}"} for row in rows]
    labelled = [
        {"q": row[side], "g": f"{name}{number}" if row.get("same", row.get("same_answer")) else f"{name}{number}{side}"}
        for number, row in enumerate(rows)
        for side in "ab"
    ]
    return list({plain(row["q"]): row for row in _merged(labelled)}.values())


def source(path: Path) -> str:
    """Files of one source share the name: ``ko_hard_groups`` and ``ko_hard_pairs`` are ``ko_hard``."""
    return re.sub(r"_(groups|pairs|conversations)$", "", path.stem)


def texts(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [text for row in rows for text in ([row["q"]] if "q" in row else [row["a"], row["b"]])]


def _told_apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whose traffic each question is: by a field, or by what two to ten companies' labels begin with."""
    named = next((name for name in _FIELDS if all(name in row for row in rows)), "")
    if named:
        return [{**row, "tenant": str(row[named])} for row in rows]
    begin = [found[1] if (found := _BEGINNING.match(str(row["g"]))) else "" for row in rows]
    counts = Counter(begin)
    if "" in counts or not 2 <= len(counts) <= 10 or min(counts.values()) < _FEWEST:
        return rows
    return [{**row, "tenant": tenant} for row, tenant in zip(rows, begin, strict=True)]


def _merged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups that hold an identical question are one: no cache could tell them apart, nor should it."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while parent.setdefault(group, group) != group:
            group = parent[group]
        return group

    first: dict[tuple[str, str], str] = {}
    for row in rows:
        place = (str(row.get("tenant", "")), plain(row["q"]))
        parent[root(str(row["g"]))] = root(first.setdefault(place, str(row["g"])))
    return [{**row, "g": root(str(row["g"]))} for row in rows]


def local_embedder(threads: int) -> Embedder:
    """As serving compares questions by default."""
    return ByLanguage(EnglishEmbedder(max(1, threads)), LocalEmbedder(threads))


class Vectors:
    """Each text embedded once for all rules, before the clock runs."""

    def __init__(self, embedder: Embedder, file: Path | None = None) -> None:
        """``file`` keeps the vectors between runs."""
        self._embedder = embedder
        self._file = file
        self._kept: dict[str, Vector] = {}
        if file is not None and file.is_file():
            with np.load(file) as saved:
                self._kept = dict(zip(saved["texts"].tolist(), saved["rows"], strict=True))

    async def load(self, texts: Sequence[str]) -> None:
        missing = sorted({normalised(text) for text in texts} - self._kept.keys())
        for text in missing:
            self._kept[text] = (await self._embedder.embed([text], query=True))[0]
        if missing and self._file is not None:
            np.savez(self._file, texts=np.array(list(self._kept)), rows=np.stack(list(self._kept.values())))

    async def of(self, text: str) -> Vector:
        return self._kept[normalised(text)]
