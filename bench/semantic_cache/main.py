"""`python -m bench semantic-cache`: labelled questions as a stream through the serving classes.

Groups: questions in random order; a hit is right where the answer belongs to the same group. A miss is answered with
text that states the facts of its group, kept, and compared with near kept answers as serving does. Pairs: each in a
scope of its own, ``a`` kept, ``b`` asked. Conversations: the same, through the real keys. Identical questions are the
exact tier's and counted apart; groups that hold an identical question count as one.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import questions
from bench.as_json import add_json, give_json, tables_aside
from bench.questions import Vectors
from bench.semantic_cache.judges import TruthJudge, real_judge
from bench.semantic_cache.latency import latency, opened
from bench.semantic_cache.stream import BenchJudge, Threshold, replay
from gateway.cache.calibrated import ANSWER_NOISE, AdaptiveRule, Calibration, rule_for, shipped
from gateway.cache.decision import Rule, StrictRule
from gateway.routing.judge import MIN_MARGIN

PEERS = {  # fixed similarities that other caches come with, as their documentation or code has them
    0.8: "GPTCache, vLLM semantic router",
    0.9: "RedisVL, Kong examples",
    0.95: "APISIX",
}


def served_rule(options: Any, embedder: str) -> Rule:
    """The rule that serving takes, with its chance seeded."""
    if options.rule == "strict":
        return StrictRule()
    data = options.calibration.read_bytes() if options.calibration else None
    calibration = Calibration.load(data) if data is not None else shipped(embedder)
    if calibration is None:
        return rule_for(embedder, options.max_wrong)
    chance = random.Random(options.seed).random
    return AdaptiveRule(
        calibration, options.max_wrong, answer_noise=options.answer_noise, chance=chance, max_scopes=20_000
    )


@asynccontextmanager
async def judges(options: argparse.Namespace) -> AsyncIterator[Callable[[], BenchJudge | None]]:
    """Of each stream."""
    if options.judge_url:
        margin = options.judge_margin
        async with real_judge(options.judge_url, options.judge_model, margin, options.judge_kept) as judge:
            yield lambda: judge
    elif options.judge is not None:
        yield lambda: TruthJudge(options.judge, random.Random(options.seed))
    else:
        yield lambda: None


async def run(options: argparse.Namespace) -> dict[str, Any]:
    async with judges(options) as judge:
        return await _run(options, judge)


async def _run(options: argparse.Namespace, judge: Callable[[], BenchJudge | None]) -> dict[str, Any]:
    embedder = questions.local_embedder(options.threads)
    vectors = Vectors(embedder, options.vectors)
    rules: dict[str, Callable[[], Rule]] = {"ocho": lambda: served_rule(options, embedder.model)}
    for level in options.thresholds:
        name = f"cosine {level:g}" + (f" ({PEERS[level]})" if level in PEERS else "")
        rules[name] = partial(Threshold, level)
    stores = ("memory", "redis") if options.store == "both" else (options.store,)
    report: dict[str, Any] = {
        "command": "semantic-cache", "seed": options.seed, "rule": options.rule, "noise": options.noise,
        "judge": options.judge_model if options.judge_url else options.judge,
        "judge_margin": options.judge_margin if options.judge_url else None,
        "calibration": options.calibration.name if options.calibration else "shipped",
        "embedder": embedder.model, "max_wrong": options.max_wrong, "python": platform.python_version(),
        "store": options.store, "after": options.after.name if options.after else None,
        "files": [], "thresholds": {}, "latency": [],
    }  # fmt: skip
    before = questions.read(options.after) if options.after else []
    if options.groups and before:
        before = _some_groups(before, options)
    await vectors.load(questions.texts(before))
    for path in options.data:
        rows = questions.read(path)
        form = questions.kind(rows)
        if options.groups and form == "groups" and not before:
            rows = _some_groups(rows, options)
        if options.questions and form != "other" and options.questions < len(rows):
            rows = random.Random(options.seed).sample(rows, options.questions)
        if form == "other":
            print(f"{path.stem:28} has neither groups nor pairs: left out", flush=True)
            continue
        told = (
            [turn[-1]["content"] for row in rows for turn in (row["a"], row["b"])] if form == "conversations" else None
        )
        await vectors.load(told or questions.texts(rows))
        tenants = {row.get("tenant") for row in rows}
        if len(tenants) > 1:
            print(f"{path.stem:28} {len(tenants)} tenants, by its labels: each in a scope of its own", flush=True)
        for store in stores:
            for name, make in rules.items():
                if name != "ocho" and store != stores[0]:
                    continue
                async with opened(store) as opened_stores:
                    tally = await replay(rows, before, vectors, make(), opened_stores, judge(), options)
                row = tally.row(path.name) | ({"store": store} if len(stores) > 1 else {})
                (report["files"] if name == "ocho" else report["thresholds"].setdefault(name, [])).append(row)
                print(_line(path.stem, f"{name} {store}" if len(stores) > 1 else name, row), flush=True)
    for store in stores:
        for entries in options.entries:
            found = await latency(entries, store, StrictRule(), options.seed)
            report["latency"].append(found)
            print(
                f"{entries:8} entries, {store:6}: p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms",
                flush=True,
            )
    return report


def _some_groups(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    groups = sorted({row["g"] for row in rows})
    chosen = set(random.Random(options.seed).sample(groups, min(options.groups, len(groups))))
    return [row for row in rows if row["g"] in chosen]


def _line(file: str, name: str, row: Mapping[str, Any]) -> str:
    return (
        f"{file:24} {name:40} lookups {row['lookups']:6} exact {row['exact_hit_rate']:.3f} hit {row['hit_rate']:.3f} "
        f"(second half {row['second_half_hit_rate']:.3f}) wrong {row['wrong_hit_rate']:.4f} (≤ {row['upper95']:.4f}) "
        f"unsafe {row['unsafe_rate']:.4f} p50 {row['p50_ms']:.2f} p99 {row['p99_ms']:.2f} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench semantic-cache", description=__doc__)
    parser.add_argument("--data", nargs="*", type=Path, default=[], help="*_groups, *_pairs, *_conversations .jsonl")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rule", choices=("strict", "calibrated"), default="calibrated", help="calibrated is served")
    parser.add_argument("--calibration", type=Path, help="instead of the shipped one")
    parser.add_argument("--max-wrong", type=float, default=0.01)
    parser.add_argument("--answer-noise", type=float, default=ANSWER_NOISE, help="what the rule takes --noise to be")
    parser.add_argument("--noise", type=float, default=0.0, help="share of answers that state other facts")
    parser.add_argument(
        "--judge", type=float, help="ask a judge that knows the groups, with this share of wrong verdicts"
    )
    parser.add_argument(
        "--judge-url", help="ask a real model instead: an OpenAI-compatible server with log-probabilities"
    )
    parser.add_argument("--judge-model", default="big", help="its name there (default big)")
    parser.add_argument(
        "--judge-margin", type=float, default=MIN_MARGIN, help="cache.semantic.judge.min_margin (default 2)"
    )
    parser.add_argument("--judge-kept", type=Path, help="keep what it says in this file between runs")
    parser.add_argument("--store", choices=("memory", "redis", "both"), default="memory")
    parser.add_argument("--after", type=Path, help="the scope has answered these groups before, and learned from them")
    parser.add_argument(
        "--groups", type=int, default=0, help="only so many groups of a file (of --after's, if any), chosen by the seed"
    )
    parser.add_argument("--questions", type=int, default=0, help="… and so many questions of these, or pairs")
    parser.add_argument("--entries", nargs="*", type=int, default=[], help="also time lookups in scopes of these sizes")
    parser.add_argument("--threads", type=int, default=0, help="of the embedder")
    parser.add_argument("--thresholds", nargs="*", type=float, default=[0.8, 0.9, 0.95])
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz between runs")
    add_json(parser)
    options = parser.parse_args(arguments)
    with tables_aside(options.json):
        report = asyncio.run(run(options))
    give_json(report, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
