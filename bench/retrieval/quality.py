"""Whether the right document is found, and the same for the same question reworded."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.retrieval.asking import embedded, given
from bench.retrieval.corpus import COLLECTION, FOREVER_S, Question
from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Embedder, Search
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource, Legs

DEPTH = 10  # ranks that are looked at


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one leg found for one question."""

    question: Question
    documents: tuple[str, ...]  # of the passages, best first
    seconds: float

    @property
    def rank(self) -> int | None:
        return self.documents.index(self.question.document) + 1 if self.question.document in self.documents else None


async def quality(
    record: Record, embedder: Embedder | None, questions: Sequence[Question], console: Console
) -> dict[str, Any]:
    words = EmbeddedSource(COLLECTION, record)
    both = EmbeddedSource(COLLECTION, record, model=embedder.model) if embedder is not None else None
    for source in filter(None, (words, both)):
        await source.warm()
    found: dict[str, list[Ranked]] = {"lexical": [], "dense": [], "fused": []}
    for question in track(questions, "asking", console=console, transient=True):
        vector, embed_s = await embedded(embedder, question.text)
        search = Search(question.text, DEPTH, frozenset(), given(vector))
        found["lexical"].append(await _ranked(question, partial(words.search, search, Deadline.after(FOREVER_S))))
        if both is None:
            continue
        legs = await both.legs(search, Deadline.after(FOREVER_S))
        found["dense"].append(await _ranked(question, partial(_by_meaning, record, legs), embed_s))
        again = partial(both.search, search, Deadline.after(FOREVER_S))
        found["fused"].append(await _ranked(question, again, embed_s))
    for source in filter(None, (words, both)):
        await source.close()
    if both is None:
        found["fused"] = found["lexical"]
    result: dict[str, Any] = {leg: _figures(ranked) for leg, ranked in found.items() if ranked}
    languages = sorted({q.lang for q in questions})
    kinds = sorted({q.kind for q in questions if q.kind})
    result["by_lang"] = {
        lang: {leg: _figures([r for r in ranked if r.question.lang == lang]) for leg, ranked in found.items() if ranked}
        for lang in languages
    }
    result["by_kind"] = {
        f"{lang} {kind}": {
            leg: _figures(part)
            for leg, ranked in found.items()
            if (part := [r for r in ranked if (r.question.lang, r.question.kind) == (lang, kind)])
        }
        for lang in languages
        for kind in kinds
    }
    result["missed"] = [r.question.text for r in found["fused"] if r.rank is None or r.rank > 5][:50]
    return result


async def _by_meaning(record: Record, legs: Legs) -> list[Passage]:
    ids = [hit.id for hit in legs.dense or ()][:DEPTH]
    found = await asyncio.to_thread(record.passages, ids, frozenset())
    return [found[id] for id in ids]


async def _ranked(question: Question, work: Callable[[], Awaitable[list[Passage]]], before_s: float = 0.0) -> Ranked:
    began = time.perf_counter()
    passages = await work()
    return Ranked(question, tuple(p.document for p in passages), before_s + time.perf_counter() - began)


def _figures(ranked: Sequence[Ranked]) -> dict[str, float]:
    ranks = [r.rank for r in ranked]
    ms = [r.seconds * 1000 for r in ranked]

    def share(k: int) -> float:
        return round(sum(rank is not None and rank <= k for rank in ranks) / len(ranks), 4)

    return {
        **{f"recall_at_{k}": share(k) for k in (1, 3, 5, 10)},
        "mrr": round(sum(1 / rank for rank in ranks if rank) / len(ranks), 4),
        "ndcg": round(
            float(sum(1 / np.log2(rank + 1) for rank in ranks if rank)) / len(ranks), 4
        ),  # one right document
        "p50_ms": round(float(np.percentile(ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ms, 99)), 2),
    }


async def consistency(
    record: Record, embedder: Embedder | None, questions: Sequence[Question]
) -> dict[str, dict[str, float]]:
    """How much of the evidence two wordings of one question share (Jaccard of passages), per language."""
    source = EmbeddedSource(COLLECTION, record, model=embedder.model if embedder is not None else None)
    gatherer = Gatherer({COLLECTION: source}, record, hard_s=FOREVER_S)
    groups: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for question in questions:
        if question.group:
            vector, _ = await embedded(embedder, question.text)
            evidence = await gatherer.gather(
                question.text, frozenset(), [COLLECTION], given(vector), Deadline.after(FOREVER_S)
            )
            groups[question.lang, question.group].append(set(evidence.ids))
    await source.close()
    shared: dict[str, list[float]] = defaultdict(list)
    for (lang, _), evidences in groups.items():
        shared[lang].extend(len(a & b) / (len(a | b) or 1) for a, b in combinations(evidences, 2))
    return {
        lang: {"pairs": len(values), "jaccard": round(sum(values) / len(values), 4)} for lang, values in shared.items()
    }
