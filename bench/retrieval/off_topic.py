"""Could a question that the documents say nothing on be told from the search alone? For rules on the two measures that
every search has: the cosine of the nearest passage, and the share of the question's terms in one passage.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bench.retrieval.asking import embedded, given
from bench.retrieval.corpus import FOREVER_S
from gateway.clock import Deadline
from gateway.ports import Embedder, Search
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.retrieval.tokens import coverage, tokenize

CASUAL = Path(__file__).parents[1] / "data" / "handbook_casual.jsonl"
RULES = ((0.82, 0.1), (0.83, 0.05), (0.83, 0.1), (0.84, 0.1), (0.84, 0.15))  # refused below both: cosine, share
SAMPLE = 400  # questions of each file
PASSAGES = 6


@dataclass(frozen=True, slots=True)
class Measured:
    cosine: float
    covered: float


async def measure(
    record: Record, collection: str, embedder: Embedder, sets: Mapping[str, Sequence[str]], seed: int
) -> dict[str, Any]:
    """What each rule would refuse of each set of questions, as shares; and the measures' percentiles."""
    source = EmbeddedSource(collection, record, model=embedder.model)
    result: dict[str, Any] = {}
    for name, questions in sets.items():
        chosen = random.Random(seed).sample(questions, min(SAMPLE, len(questions)))
        found = [await _measured(source, embedder, question) for question in chosen]
        cosines = [m.cosine for m in found]
        result[name] = {
            "asked": len(found),
            "no_shared_term": _share([m.covered == 0 for m in found]),
            "refused": {
                f"cosine < {c:g}, words < {w:g}": _share([m.cosine < c and m.covered < w for m in found])
                for c, w in RULES
            },
            "cosine": {f"p{p}": round(float(np.percentile(cosines, p)), 3) for p in (1, 5, 50, 95, 99)},
        }
    await source.close()
    return result


async def _measured(source: EmbeddedSource, embedder: Embedder, question: str) -> Measured:
    vector, _ = await embedded(embedder, question)
    search = Search(question, PASSAGES, frozenset(), given(vector))
    legs = await source.legs(search, Deadline.after(FOREVER_S))
    passages = await source.search(search, Deadline.after(FOREVER_S))
    asked = tokenize(question)
    covered = (coverage(asked, tokenize(f"{p.title} {p.section} {p.text}")) for p in passages)
    return Measured(legs.dense[0].score if legs.dense else 0.0, max(covered, default=0.0))


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 4)


def read(path: Path) -> list[str]:
    """The distinct questions of a file: ``q``, else ``a``."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return sorted({str(row["q"] if "q" in row else row["a"]) for row in rows})


def table(result: dict[str, Any]) -> Table:
    made = Table(title="what a rule would refuse")
    columns = ("", "asked", *(f"< {c:g}, < {w:g}" for c, w in RULES), "no term shared", "cosine p1", "p50", "p99")
    for column in columns:
        made.add_column(column, justify="left" if not column else "right")
    for name, found in result.items():
        refused = (f"{value:.3f}" for value in found["refused"].values())
        cosine = (f"{found['cosine'][p]:.3f}" for p in ("p1", "p50", "p99"))
        made.add_row(name, str(found["asked"]), *refused, f"{found['no_shared_term']:.3f}", *cosine)
    return made
