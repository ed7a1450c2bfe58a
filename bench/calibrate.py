"""`python -m bench calibrate`: make the calibration of the local embedder from labelled questions.

`--without SOURCE` leaves a source out, so that `bench semantic-cache --calibration` can measure on it honestly.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from bench import questions
from gateway.cache.calibrated import Calibration
from gateway.cache.calibrating import Rows, calibrate, rows_of
from gateway.cache.features import NAMES

SHIPPED = Path("gateway/cache/calibration")


async def run(options: argparse.Namespace) -> Calibration:
    embedder = questions.local_embedder(options.threads)
    vectors = questions.Vectors(embedder, options.vectors)
    sources: defaultdict[str, list[Rows]] = defaultdict(list)
    for path in options.data:
        rows, name = questions.read(path), questions.source(path)
        if questions.kind(rows) not in {"groups", "pairs"} or name in options.without:
            continue
        await vectors.load(questions.texts(rows))
        sources[name] += await rows_of(rows, vectors.of, options.seed)
        print(f"{name:24} {sum(len(part.right) for part in sources[name]):6} lookups", flush=True)
    return calibrate(embedder.model, sources)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench calibrate", description=__doc__)
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="*_groups.jsonl, *_pairs.jsonl")
    parser.add_argument("--without", nargs="*", default=[], help="sources to leave out: file names without _groups…")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="of the embedder")
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz between runs")
    parser.add_argument("--out", type=Path, help=f"default: {SHIPPED}/<embedder>.json")
    options = parser.parse_args(arguments)
    made = asyncio.run(run(options))
    out = options.out or SHIPPED / f"{made.embedder}.json"
    out.write_bytes(made.dump() + b"\n")
    for name, mean, spread in zip(NAMES, made.mean, made.covariance.diagonal() ** 0.5, strict=True):
        print(f"  {name:20} {mean:6.2f} ± {spread:.2f}")
    print(f"written to {out}")
    return 0
