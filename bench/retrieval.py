"""`python -m bench retrieval`: does retrieval find the right document, how fast, and how alike for the same question
reworded?

Drives the classes that serve (record, index, gatherer), not a copy of them. Corpus: a folder, JSONL lines ``{"doc",
"text"}``, or lines ``{"q", "a", "doc"}`` whose answers of one ``doc`` form that document. Questions: JSONL lines
``{"q", "doc"}`` (optional ``lang``, ``kind``, ``group``); a hit is a passage of that ``doc``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import conversations, off_topic, slow_sources
from bench.as_json import add_json, give_json, tables_aside
from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.embedding.hashing import HashingEmbedder
from gateway.embedding.local import LocalEmbedder
from gateway.ports import Embedder, Search, Source, Vector
from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.ingest import ingest
from gateway.retrieval.ingest.blocks import Paragraph, Parsed
from gateway.retrieval.ingest.ingest import embed_missing
from gateway.retrieval.ingest.passages import split
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource, Legs

HANDBOOK = Path(__file__).parents[1] / "examples" / "handbook"
COLLECTION = "bench"
DEPTH = 10  # ranks that are looked at
FOREVER_S = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    document: str
    lang: str
    kind: str
    group: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one leg found for one question."""

    question: Question
    documents: tuple[str, ...]  # of the passages, best first
    seconds: float

    @property
    def rank(self) -> int | None:
        return self.documents.index(self.question.document) + 1 if self.question.document in self.documents else None


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    with tables_aside(options.json):
        result = asyncio.run(_run(options, Console()))
    give_json(result, options.json)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench retrieval", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--corpus", type=Path, default=HANDBOOK, help="folder, or JSONL (default: the sample handbook)")
    parser.add_argument(
        "--questions", type=Path, help="JSONL (default: questions.jsonl of the folder, or the corpus itself)"
    )
    parser.add_argument("--embedder", choices=["local", "hashing", "none"], default="local")
    parser.add_argument("--limit", type=int, default=0, help="questions, sampled with the seed; 0 = all")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], metavar="N", help="latency at N made-up passages")
    parser.add_argument("--follow-ups", action="store_true", help="follow-ups of the handbook, inside conversations")
    parser.add_argument("--rewriter", nargs=2, metavar=("URL", "MODEL"), help="also as this model rewrites them")
    parser.add_argument("--off-topic", nargs="+", type=Path, metavar="FILE", help="could these be told from its own?")
    parser.add_argument("--faults", action="store_true", help="five sources: 5, 20, 80, 300 ms and hung")
    parser.add_argument("--seed", type=int, default=5)
    add_json(parser)
    return parser.parse_args(argv)


def _embedder(name: str) -> Embedder | None:
    if name == "none":
        return None
    return LocalEmbedder() if name == "local" else HashingEmbedder()


async def _run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    embedder = _embedder(options.embedder)
    questions = load_questions(options.questions or _questions_beside(options.corpus))
    if options.limit and options.limit < len(questions):
        questions = random.Random(options.seed).sample(questions, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        record = Record.open(Path(folder) / "documents.db")
        began = time.perf_counter()
        await load_corpus(record, options.corpus)
        read_s = time.perf_counter() - began
        embedded = await embed_missing(record, COLLECTION, embedder) if embedder is not None else 0
        passages = sum(info.passages for info in record.documents(COLLECTION))
        result: dict[str, Any] = {
            "corpus": {
                "documents": record.collections()[COLLECTION], "passages": passages, "questions": len(questions),
                "ingest_passages_per_s": round(passages / read_s),
                "embed_passages_per_s": round(embedded / max(time.perf_counter() - began - read_s, 1e-9)),
            },
            "embedder": embedder.model if embedder is not None else None,
            "seed": options.seed,
            "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        }  # fmt: skip
        result |= await _quality(record, embedder, questions, console)
        result["consistency"] = await _consistency(record, embedder, questions)
        _print_quality(console, result)
        if options.follow_ups:
            live = conversations.Live(*options.rewriter) if options.rewriter else None
            result["follow_ups"] = await conversations.measure(record, COLLECTION, embedder, options.seed, live)
            console.print(conversations.table(result["follow_ups"]))
        if options.off_topic and embedder is not None:
            sets = {"own": [q.text for q in questions], "casual": off_topic.read(off_topic.CASUAL)}
            sets |= {path.stem: off_topic.read(path) for path in options.off_topic}
            result["off_topic"] = await off_topic.measure(record, COLLECTION, embedder, sets, options.seed)
            console.print(off_topic.table(result["off_topic"]))
        record.close()
        if options.sizes:
            result["sizes"] = {}
            for size in options.sizes:
                result["sizes"][str(size)] = await _latency(Path(folder), size, embedder, questions, options.seed)
            _print_sizes(console, result["sizes"])
        if options.faults:
            result["faults"] = await slow_sources.measure(Path(folder))
            slow_sources.tell(console, result["faults"])
    return result


# --- what is read ------------------------------------------------------------------------------------------------


def load_questions(path: Path) -> list[Question]:
    found = []
    for row in _jsonl(path):
        if row.get("doc"):
            text = str(row["q"])
            lang = row.get("lang") or ("ko" if any("가" <= c <= "힣" for c in text) else "en")
            found.append(Question(text, str(row["doc"]), lang, str(row.get("kind", "")), str(row.get("group", ""))))
    return found


def _questions_beside(corpus: Path) -> Path:
    return corpus / "questions.jsonl" if corpus.is_dir() else corpus


async def load_corpus(record: Record, corpus: Path) -> None:
    if corpus.is_dir():  # noqa: ASYNC240 - a command line tool may wait for its disk
        await ingest(record, COLLECTION, [corpus], exclude=["README.md", "LICENSE*"])
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


# --- quality -----------------------------------------------------------------------------------------------------


async def _quality(
    record: Record, embedder: Embedder | None, questions: Sequence[Question], console: Console
) -> dict[str, Any]:
    words = EmbeddedSource(COLLECTION, record)
    both = EmbeddedSource(COLLECTION, record, model=embedder.model) if embedder is not None else None
    for source in filter(None, (words, both)):
        await source.warm()
    found: dict[str, list[Ranked]] = {"lexical": [], "dense": [], "fused": []}
    for question in track(questions, "asking", console=console, transient=True):
        vector, embed_s = await _vector(embedder, question.text)
        search = Search(question.text, DEPTH, frozenset(), _given(vector))
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


async def _vector(embedder: Embedder | None, text: str) -> tuple[Vector | None, float]:
    began = time.perf_counter()
    rows = await embedder.embed([text], query=True) if embedder is not None else None
    return (rows[0] if rows is not None else None), time.perf_counter() - began


def _given(vector: Vector | None) -> Callable[[], Awaitable[Vector | None]]:
    async def give() -> Vector | None:
        return vector

    return give


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


async def _consistency(
    record: Record, embedder: Embedder | None, questions: Sequence[Question]
) -> dict[str, dict[str, float]]:
    """How much of the evidence two wordings of one question share (Jaccard of passages), per language."""
    source = EmbeddedSource(COLLECTION, record, model=embedder.model if embedder is not None else None)
    gatherer = Gatherer({COLLECTION: source}, record, hard_s=FOREVER_S)
    groups: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for question in questions:
        if question.group:
            vector, _ = await _vector(embedder, question.text)
            evidence = await gatherer.gather(
                question.text, frozenset(), [COLLECTION], _given(vector), Deadline.after(FOREVER_S)
            )
            groups[question.lang, question.group].append(set(evidence.ids))
    await source.close()
    shared: dict[str, list[float]] = defaultdict(list)
    for (lang, _), evidences in groups.items():
        shared[lang].extend(len(a & b) / (len(a | b) or 1) for a, b in combinations(evidences, 2))
    return {
        lang: {"pairs": len(values), "jaccard": round(sum(values) / len(values), 4)} for lang, values in shared.items()
    }


# --- latency -----------------------------------------------------------------------------------------------------


async def _latency(
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
            vector, _ = await _vector(embedder, question.text) if leg == "fused" else (None, 0.0)
            if leg == "fused" and vector is None:
                vector = _unit(chance.standard_normal(wide))
            await source.search(Search(question.text, 12, frozenset(), _given(vector)), Deadline.after(FOREVER_S))
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
            Search(f"새로들어온낱말{n}가", 3, frozenset(), _given(None)), Deadline.after(FOREVER_S)
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


# --- tables ------------------------------------------------------------------------------------------------------


def _print_quality(console: Console, result: dict[str, Any]) -> None:
    corpus = result["corpus"]
    table = Table(
        title=f"{corpus['questions']} questions, {corpus['documents']} documents, {corpus['passages']} passages"
    )
    for column in ("", "leg", "R@1", "R@3", "R@5", "R@10", "MRR", "nDCG", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column in {"", "leg"} else "right", no_wrap=True)
    parts = {"all": result, **result["by_lang"], **result["by_kind"]}
    for name, part in parts.items():
        for leg in ("lexical", "dense", "fused"):
            if figures := part.get(leg):
                table.add_row(name, leg, *(f"{value:.4g}" for value in figures.values()))
                name = ""
    console.print(table)
    for lang, found in result["consistency"].items():
        console.print(f"{lang}: rewordings share {found['jaccard']:.1%} of their evidence ({found['pairs']} pairs)")


def _print_sizes(console: Console, sizes: dict[str, Any]) -> None:
    table = Table(title="latency by passages")
    columns = ("passages", "lexical p50", "p99", "with embedding p50", "p99", "load s", "change seen ms", "stored/s")
    for column in columns:
        table.add_column(column, justify="right")
    for size, found in sizes.items():
        lexical, fused = found["lexical"], found["fused"]
        cells = (lexical["p50_ms"], lexical["p99_ms"], fused["p50_ms"], fused["p99_ms"], found["fused_load_s"])
        table.add_row(size, *map(str, cells), str(found["change_to_search_ms"]), str(found["store_passages_per_s"]))
    console.print(table)
