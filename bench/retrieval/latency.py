"""How long a search takes among many passages."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from bench.retrieval.asking import embedded, given
from bench.retrieval.corpus import COLLECTION, FOREVER_S, Question
from gateway.clock import Deadline
from gateway.ports import Embedder, Search, Source, Vector
from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource


async def latency(
    folder: Path, size: int, embedder: Embedder | None, questions: Sequence[Question], seed: int
) -> dict[str, Any]:
    """Milliseconds per question among ``size`` passages made of the questions' own words, with random vectors."""
    record = Record.open(folder / f"{size}.db")
    model = embedder.model if embedder is not None else "random-384"
    wide = embedder.dimensions if embedder is not None else 384
    began = time.perf_counter()
    await asyncio.to_thread(_fill, record, size, questions, model, wide, seed)
    stored_s = time.perf_counter() - began
    legs = {"lexical": EmbeddedSource(COLLECTION, record), "fused": EmbeddedSource(COLLECTION, record, model=model)}
    result: dict[str, Any] = {"store_passages_per_s": round(size / stored_s)}
    chance = np.random.default_rng(seed)
    for leg, source in legs.items():
        began = time.perf_counter()
        await source.warm()
        result[f"{leg}_load_s"] = round(time.perf_counter() - began, 2)
        times = []
        for question in islice(cycle(questions), 220):
            began = time.perf_counter()
            vector, _ = await embedded(embedder, question.text) if leg == "fused" else (None, 0.0)
            if leg == "fused" and vector is None:
                vector = _unit(chance.standard_normal(wide))
            await source.search(Search(question.text, 12, frozenset(), given(vector)), Deadline.after(FOREVER_S))
            times.append((time.perf_counter() - began) * 1000)
        times = times[20:]
        result[leg] = {f"p{p}_ms": round(float(np.percentile(times, p)), 2) for p in (50, 99)}
    result["change_to_search_ms"] = await _change(record, legs["fused"], model, wide, chance)
    for source in legs.values():
        await source.close()
    record.close()
    return result


async def _change(record: Record, source: Source, model: str, wide: int, chance: np.random.Generator) -> float:
    """From the commit of one document to the end of the first search that shows it."""
    times = []
    for n in range(5):
        text = f"새로들어온낱말{n}가 있는 문서"
        document = Document(f"new-{n}", "새 문서", str(n), [Piece("", text)], [_unit(chance.standard_normal(wide))])
        await asyncio.to_thread(record.put, COLLECTION, document, model=model)
        began = time.perf_counter()
        found = await source.search(
            Search(f"새로들어온낱말{n}가", 3, frozenset(), given(None)), Deadline.after(FOREVER_S)
        )
        times.append((time.perf_counter() - began) * 1000)
        assert found[0].document == f"new-{n}"
    return round(float(np.median(times)), 2)


def _fill(record: Record, size: int, questions: Sequence[Question], model: str, wide: int, seed: int) -> None:
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    words = sorted({word for question in questions for word in question.text.split()})
    weights = [1 / (rank + 1) ** 0.7 for rank in range(len(words))]
    chance.shuffle(words)
    each = 20
    for n in range(0, size, each):
        count = min(each, size - n)
        pieces = [
            Piece("제목 > 절", " ".join(chance.choices(words, weights, k=90)) + f" 번호 {n + i}") for i in range(count)
        ]
        vectors = [_unit(row) for row in numbers.standard_normal((count, wide))]
        record.put(COLLECTION, Document(f"{n:07}", "문서", str(n), pieces, vectors), model=model)


def _unit(row: Any) -> Vector:
    unit: Vector = (row / np.linalg.norm(row)).astype(np.float32)
    return unit
