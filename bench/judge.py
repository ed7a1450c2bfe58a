"""`python -m bench judge`: how well a real model tells paraphrases from traps.

Each pair is one call and one token. What is judged is the log-probability margin: AUC, and the share of paraphrases
kept at a bar with at most 2 % wrong, chosen with hindsight and, honestly, on the other half of the pairs.
Without ``--url`` the local 1.5B model answers (see `python -m bench local-llm`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from bench.as_json import add_json, give_json, tables_aside
from bench.local_llm import BIG, FAST, running_local_llms
from gateway.chat import Answer
from gateway.routing.judge import TOP, margin, prompt

MAX_WRONG = 0.02


@dataclass(frozen=True, slots=True)
class Judged:
    same: bool
    margin: float
    seconds: float


def read_pairs(path: Path) -> list[tuple[str, str, bool]]:
    """(a, b, same) of a ``*_pairs.jsonl`` file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(row["a"], row["b"], bool(row.get("same", row.get("same_answer")))) for row in rows]


async def judge_pairs(
    client: AsyncOpenAI, model: str, pairs: Sequence[tuple[str, str, bool]]
) -> tuple[list[Judged], int]:
    """The verdicts, and how many calls gave none."""
    found, silent = [], 0
    for kept, asked, same in pairs:
        began = time.monotonic()
        messages: Any = prompt(asked, kept, "")
        reply = await client.chat.completions.create(
            model=model, messages=messages, max_tokens=1, temperature=0, seed=1, logprobs=True, top_logprobs=TOP
        )
        seconds = time.monotonic() - began
        value = margin(Answer(tuple(choice.model_dump() for choice in reply.choices), model))
        if value is None:
            silent += 1
        else:
            found.append(Judged(same, value, seconds))
    return found, silent


def auc(judged: Sequence[Judged]) -> float:
    """Probability that a paraphrase has the larger margin than a trap."""
    yes, no = [j.margin for j in judged if j.same], [j.margin for j in judged if not j.same]
    wins = sum((y > n) + 0.5 * (y == n) for y in yes for n in no)
    return wins / (len(yes) * len(no)) if yes and no else float("nan")


def bar(judged: Sequence[Judged], max_wrong: float = MAX_WRONG) -> float:
    """The lowest margin from which at most ``max_wrong`` of what passes is a trap; infinity where there is none."""
    best, passed, wrong = float("inf"), 0, 0
    for j in sorted(judged, key=lambda j: -j.margin):
        passed, wrong = passed + 1, wrong + (not j.same)
        if wrong <= max_wrong * passed:
            best = j.margin
    return best


def kept_and_wrong(judged: Sequence[Judged], at: float) -> tuple[float, int, int]:
    """(share of paraphrases kept, traps passed, all passed) at a bar."""
    passed = [j for j in judged if j.margin >= at]
    paraphrases = sum(j.same for j in judged)
    return sum(j.same for j in passed) / max(1, paraphrases), sum(not j.same for j in passed), len(passed)


def row(name: str, judged: Sequence[Judged], silent: int) -> dict[str, Any]:
    halves = [judged[::2], judged[1::2]]
    crossed = [kept_and_wrong(halves[1 - n], bar(half)) for n, half in enumerate(halves)]
    seconds = sorted(j.seconds for j in judged)
    hindsight = bar(judged)
    return {
        "file": name,
        "pairs": len(judged),
        "silent": silent,
        "paraphrases": sum(j.same for j in judged),
        "auc": round(auc(judged), 3),
        "says_yes": {
            "paraphrases": round(share(j.margin > 0 for j in judged if j.same), 3),
            "traps": round(share(j.margin > 0 for j in judged if not j.same), 3),
        },
        "bar": round(hindsight, 2),
        "kept_at_2_percent": round(kept_and_wrong(judged, hindsight)[0], 3),
        "other_half": {
            "kept": round(sum(kept for kept, _, _ in crossed) / 2, 3),
            "wrong": sum(wrong for _, wrong, _ in crossed),
            "passed": sum(passed for _, _, passed in crossed),
        },
        "p50_s": round(seconds[len(seconds) // 2], 3),
        "p95_s": round(seconds[int(len(seconds) * 0.95)], 3),
    }


def share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / max(1, len(found))


async def run(options: argparse.Namespace, url: str) -> dict[str, Any]:
    report: dict[str, Any] = {
        "command": "judge", "seed": options.seed, "model": options.model, "python": platform.python_version(),
        "files": [],
    }  # fmt: skip
    async with AsyncOpenAI(base_url=url, api_key=options.api_key, max_retries=0, timeout=60) as client:
        for path in options.data:
            pairs = read_pairs(path)
            random.Random(options.seed).shuffle(pairs)
            judged, silent = await judge_pairs(client, options.model, pairs[: options.pairs])
            report["files"].append(found := row(path.name, judged, silent))
            print(
                f"{path.stem:20} {found['pairs']:4} pairs  AUC {found['auc']:.3f}  says Yes to paraphrases "
                f"{found['says_yes']['paraphrases']:.0%}, to traps {found['says_yes']['traps']:.0%}  kept at "
                f"≤ 2 % wrong {found['kept_at_2_percent']:.0%} (bar {found['bar']:.2f}); bar of the other half: "
                f"{found['other_half']['kept']:.0%} kept, {found['other_half']['wrong']} wrong of "
                f"{found['other_half']['passed']}  p50 {found['p50_s']:.2f} s p95 {found['p95_s']:.2f} s",
                flush=True,
            )
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench judge", description=__doc__)
    add = parser.add_argument
    add("--data", nargs="+", type=Path, required=True, help="*_pairs.jsonl")
    add("--pairs", type=int, default=60, help="of each file, drawn by the seed (default 60)")
    add("--model", default="big", help="with --url: its name there; else big (1.5B) or fast (0.5B)")
    add("--url", default="", help="base URL of an OpenAI-compatible server with logprobs; default: a local model")
    add("--api-key", default="none")
    add("--seed", type=int, default=1)
    add_json(parser)
    options = parser.parse_args(arguments)
    if options.url:
        local: Any = nullcontext()
    else:
        local = running_local_llms(models=[BIG if options.model == "big" else FAST])
    with local as served, tables_aside(options.json):
        report = asyncio.run(run(options, options.url or getattr(served, options.model)))
    give_json(report, options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
