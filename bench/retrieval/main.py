"""`python -m bench retrieval`: does retrieval find the right document, how fast, and how alike for the same question
reworded?

Drives the classes that serve (record, index, gatherer), not a copy of them. Corpus: a folder, JSONL lines ``{"doc",
"text"}``, or lines ``{"q", "a", "doc"}`` whose answers of one ``doc`` form that document. Questions: JSONL lines
``{"q", "doc"}`` (optional ``lang``, ``kind``, ``group``); a hit is a passage of that ``doc``.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.as_json import add_json, give_json, tables_aside
from bench.corpora import CORPORA
from bench.retrieval import conversations, off_topic
from bench.retrieval.corpus import COLLECTION, HANDBOOK, load_corpus, load_questions, questions_beside
from bench.retrieval.faults import faults
from bench.retrieval.latency import latency
from bench.retrieval.quality import consistency, quality
from bench.retrieval.tables import print_faults, print_quality, print_sizes
from gateway.embedding.hashing import HashingEmbedder
from gateway.embedding.local import LocalEmbedder
from gateway.ports import Embedder
from gateway.retrieval.ingest.ingest import embed_missing
from gateway.retrieval.record import Record


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
    parser.add_argument("--exclude", nargs="*", default=[], metavar="PATTERN", help="files of the folder to leave out")
    parser.add_argument("--embedder", choices=["local", "hashing", "none"], default="local")
    parser.add_argument("--limit", type=int, default=0, help="questions, sampled with the seed; 0 = all")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], metavar="N", help="latency at N made-up passages")
    parser.add_argument(
        "--follow-ups", action="store_true", help="those beside the corpus or of the handbook, in conversations"
    )
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
    questions = load_questions(options.questions or questions_beside(options.corpus))
    if options.limit and options.limit < len(questions):
        questions = random.Random(options.seed).sample(questions, options.limit)
    with tempfile.TemporaryDirectory() as folder:
        record = Record.open(Path(folder) / "documents.db")
        began = time.perf_counter()
        await load_corpus(record, options.corpus, options.exclude)
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
        result |= await quality(record, embedder, questions, console)
        result["consistency"] = await consistency(record, embedder, questions)
        print_quality(console, result)
        if options.follow_ups:
            live = conversations.Live(*options.rewriter) if options.rewriter else None
            corpus = next((c for c in CORPORA.values() if c.documents == options.corpus.resolve()), CORPORA["handbook"])
            result["follow_ups"] = await conversations.measure(record, COLLECTION, embedder, options.seed, corpus, live)
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
                result["sizes"][str(size)] = await latency(Path(folder), size, embedder, questions, options.seed)
            print_sizes(console, result["sizes"])
        if options.faults:
            result["faults"] = await faults(Path(folder))
            print_faults(console, result["faults"])
    return result
