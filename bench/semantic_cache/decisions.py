"""`python -m bench decisions`: how long the semantic cache takes to decide, without search and embedding.

Questions are asked beside the eight nearest of others that were kept; the time is CPU time of the deciding thread. What
a question turns on is remembered for a while, so it is measured three times: where all nine are known, where the asked
one is new (as it mostly is), and where none is known, as after a restart.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import questions
from bench.as_json import add_json, give_json, tables_aside
from bench.questions import Vectors
from gateway.cache import facets, lexical
from gateway.cache.calibrated import AdaptiveRule, shipped
from gateway.cache.features import CANDIDATES
from gateway.chat import CachedQuestion, CacheKey, Neighbor, Scope

Case = tuple[str, list[Neighbor]]
_REMEMBERED = (facets.facets, facets.frame, lexical.surface)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    embedder = questions.local_embedder(options.threads)
    vectors = Vectors(embedder, options.vectors)
    calibration = shipped(embedder.model)
    assert calibration is not None
    report: dict[str, Any] = {"command": "decisions", "seed": options.seed, "files": []}
    for path in options.data:
        texts = list(dict.fromkeys(questions.texts(questions.read(path))))
        random.Random(options.seed).shuffle(texts)
        texts = texts[: options.kept + options.asked]
        await vectors.load(texts)
        rule = AdaptiveRule(calibration, audited=0.0)
        row = {"file": path.name} | _timed(rule, await _cases(texts, options.kept, vectors))
        report["files"].append(row)
        print(
            "  ".join(f"{name} {value:.2f}" if isinstance(value, float) else str(value) for name, value in row.items()),
            flush=True,
        )
    return report


async def _cases(texts: Sequence[str], kept: int, vectors: Vectors) -> list[Case]:
    """The questions beyond the first ``kept``, each with the nearest of these."""
    rows = np.stack([await vectors.of(text) for text in texts])
    scope = Scope("bench", "decisions")
    entries = [CachedQuestion(text, CacheKey(scope, f"{number:08x}")) for number, text in enumerate(texts[:kept])]
    cases = []
    for text, row in zip(texts[kept:], rows[kept:], strict=True):
        near = rows[:kept] @ row
        best = np.argsort(-near)[:CANDIDATES]
        cases.append((text, [Neighbor(entries[place], float(near[place])) for place in best]))
    return cases


def _timed(rule: AdaptiveRule, cases: Sequence[Case]) -> dict[str, float]:
    """Milliseconds."""
    seconds: dict[str, list[float]] = {"none known": [], "asked new": [], "all known": []}
    for asked, near in cases:
        _forget()
        seconds["none known"].append(_once(rule, asked, near))
        _forget()
        for neighbor in near:
            for read in _REMEMBERED:
                read(neighbor.question.text)
        seconds["asked new"].append(_once(rule, asked, near))
        seconds["all known"].append(_once(rule, asked, near))
    return {
        f"{name} p{share}": round(float(np.percentile(taken, share)) * 1e3, 3)
        for name, taken in seconds.items()
        for share in (50, 99)
    }


def _once(rule: AdaptiveRule, asked: str, near: Sequence[Neighbor]) -> float:
    began = time.thread_time()
    rule.decide(asked, near)
    return time.thread_time() - began


def _forget() -> None:
    for read in _REMEMBERED:
        read.cache_clear()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench decisions", description=__doc__)
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="*_groups.jsonl, *_pairs.jsonl")
    parser.add_argument("--kept", type=int, default=4_000, help="questions that were asked before")
    parser.add_argument("--asked", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of the embedder")
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz between runs")
    add_json(parser)
    options = parser.parse_args(arguments)
    with tables_aside(options.json):
        report = asyncio.run(run(options))
    give_json(report, options.json)
    return 0
