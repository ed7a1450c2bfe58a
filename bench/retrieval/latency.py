"""How long a search takes among many passages.

Medians of rounds, and CPU time beside the clock: on a busy machine the clock tells mostly who else is there.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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

WARM_UP, ROUNDS, ASKED = 20, 5, 200  # questions, rounds, questions a round


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

        async def vector(text: str) -> Vector | None:
            found, _ = await embedded(embedder, text)
            return found if found is not None else _unit(chance.standard_normal(wide))

        await _round(source, questions, WARM_UP, vector)
        rounds = [await _round(source, questions, ASKED, vector) for _ in range(ROUNDS)]
        result[leg] = {name: round(float(np.median([one[name] for one in rounds])), 2) for name in rounds[0]}
    result["change_to_search_ms"] = await _change(record, legs["fused"], model, wide, chance)
    for source in legs.values():
        await source.close()
    record.close()
    return result


async def _round(
    source: Source, questions: Sequence[Question], count: int, vector: Callable[[str], Awaitable[Vector | None]]
) -> dict[str, float]:
    """One question after the other; the embedding runs beside the words, as it does when a gateway serves."""
    clock, processor = [], []
    for question in islice(cycle(questions), count):
        began, cpu = time.perf_counter(), time.process_time()
        search = Search(question.text, 12, frozenset(), partial(vector, question.text))
        await source.search(search, Deadline.after(FOREVER_S))
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - cpu) * 1000)
    return {
        "p50_ms": float(np.percentile(clock, 50)),
        "p99_ms": float(np.percentile(clock, 99)),
        "cpu_p50_ms": float(np.percentile(processor, 50)),
        "cpu_p99_ms": float(np.percentile(processor, 99)),
    }


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
