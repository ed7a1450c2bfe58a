"""`python -m bench five-seconds`: the promise, measured. Useful answers within 5 s, asked directly and through Ocho.

The same arrivals at the same moments go both ways, each to a provider of its own with the same seed and faults. Every
arrival counts. Useful: complete, with the gold facts and no sibling's, and not labelled as a fallback.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import importlib.metadata
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import urllib.request
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import yaml
from openai import AsyncOpenAI
from rich.console import Console
from rich.table import Table

from bench import handbook, servers
from bench.handbook import Question, Verdict
from bench.paths import DirectPath, GatewayPath, Outcome
from bench.provider import PROFILES
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource

TRACE = Path(__file__).parent / "traces" / "office-hour.csv"
PATIENCE_S = 120.0
DRAFTS = {"azure-gpt4-2023": "gpt35-2023", "gpt4o-2024": "mini-2025"}
# USD per million tokens (input, output): list prices of gpt-4 and gpt-3.5-turbo-1106 in November 2023,
# of gpt-4o-2024-08-06 and of gpt-4.1-mini in 2025.
PRICES = {
    "azure-gpt4-2023": (30.0, 60.0),
    "gpt35-2023": (1.0, 2.0),
    "gpt4o-2024": (2.5, 10.0),
    "mini-2025": (0.4, 1.6),
}
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float
    question: Question


class Path_(Protocol):
    async def ask(self, question: Question) -> Outcome: ...


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    options.draft_profile = options.draft_profile or DRAFTS.get(options.profile, "mini-2025")
    try:
        with tempfile.TemporaryDirectory(prefix="five-seconds-") as folder:
            result = asyncio.run(measure(options, Path(options.work or folder)))
    except servers.ServerFailed as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        show(result)
    return 0


async def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Start everything, ask everything, count everything."""
    questions = handbook.load(options.questions)
    arrivals = arrivals_of(questions, options)
    spans = PROFILES[options.profile].name, options.draft_profile
    flags = ["--model", f"big={spans[0]}", "--model", f"small={spans[1]}", "--faults", options.faults]
    flags += ["--seed", str(options.seed), "--time-scale", str(options.time_scale)]
    with ExitStack() as stack:
        urls = [
            stack.enter_context(servers.provider(work / f"provider-{name}.log", *flags)) for name in ("direct", "ocho")
        ]
        config = configure(options, urls[1], work)
        ingest = ["ingest", str(options.documents), "--collection", "handbook", "--include", "*/*"]
        command = [sys.executable, "-m", "gateway", *ingest, "--config", str(config)]
        await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        gateway = stack.enter_context(servers.gateway(config, work / "gateway.log"))
        record = Record.open(work / "data" / "documents.db")
        stack.callback(record.close)
        source = EmbeddedSource("handbook", record)
        direct_client = AsyncOpenAI(base_url=urls[0], api_key="bench", timeout=PATIENCE_S)
        ocho_client = AsyncOpenAI(base_url=gateway, api_key="bench", timeout=PATIENCE_S)
        async with direct_client, ocho_client:
            paths: list[Path_] = [
                DirectPath(direct_client, "big", "small", "text-embedding-3-small", source),
                GatewayPath(ocho_client, "handbook"),
            ]
            direct, ocho = await asyncio.gather(*(ask_all(path, arrivals, options.time_scale) for path in paths))
        await source.close()
        await asyncio.sleep(0.5)
        spend = [spend_of(url, options) for url in urls]
        metrics = _get(f"{gateway.removesuffix('/v1')}/metrics")
    scale = options.time_scale or 1.0
    save(work, direct, ocho)
    base = spend[0]["usd"] or 1.0
    return {
        "direct": summary(direct, 1.0, options.deadline, scale),
        "ocho": summary(ocho, spend[1]["usd"] / base, options.deadline, scale),
        "ocho_details": details(ocho, options.deadline, scale) | {"metrics": told(metrics)},
        "spend": {"direct": spend[0], "ocho": spend[1]},
        "run": run_facts(options, arrivals),
    }


def arrivals_of(questions: Sequence[Question], options: argparse.Namespace) -> list[Arrival]:
    """Moments from the trace, questions by a Zipf-like process: with ``repeat_share`` an earlier group is asked again,
    in proportion to how often it was asked before (which gives a power law), in any of its wordings; else a new one."""
    rng = random.Random(options.seed)
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    fresh = list(groups)
    rng.shuffle(fresh)
    asked: list[str] = []
    chosen: list[Question] = []
    for _ in range(options.requests):
        again = bool(asked) and (rng.random() < options.repeat_share or not fresh)
        group = rng.choice(asked) if again else fresh.pop()
        asked.append(group)
        chosen.append(rng.choice(groups[group]))
    return [Arrival(at, question) for at, question in zip(moments(options), chosen, strict=True)]


def moments(options: argparse.Namespace) -> list[float]:
    """Seconds from the start: the trace's gaps, stretched to the wanted mean rate; a short trace begins again."""
    opener = gzip.open if options.trace.suffix == ".gz" else open
    with opener(options.trace, "rt", encoding="utf-8") as file:
        times = [float(row[0]) for row in list(csv.reader(file))[1 : options.requests + 2]]
    gaps = [later - earlier for earlier, later in pairwise(times)] or [1.0]
    gaps = (gaps * (options.requests // len(gaps) + 1))[: options.requests]
    stretch = options.requests / options.rate / (sum(gaps) or 1.0)
    return [moment - gaps[0] * stretch for moment in accumulate(gap * stretch for gap in gaps)]


async def ask_all(path: Path_, arrivals: Sequence[Arrival], time_scale: float) -> list[Outcome]:
    """Open loop: each question at its moment, whether or not the earlier ones are answered."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def one(arrival: Arrival) -> Outcome:
        await asyncio.sleep(max(0.0, began + arrival.at_s * (time_scale or 1.0) - loop.time()))
        return await path.ask(arrival.question)

    return list(await asyncio.gather(*(one(arrival) for arrival in arrivals)))


def configure(options: argparse.Namespace, url: str, work: Path) -> Path:
    def deployments(model: str) -> list[dict[str, str]]:
        return [{"name": f"{model}-{n}", "base_url": url, "api_key": "bench"} for n in (1, 2)]

    def price(profile: str) -> dict[str, float]:
        cost = PRICES.get(profile, (0.0, 0.0))
        return {"input": cost[0], "output": cost[1]}

    big, small = options.profile, options.draft_profile
    chatbot: dict[str, Any] = {
        "name": "handbook",
        "answers_with": "big",
        "documents": {"collections": ["handbook"]},
        "deadline": {"seconds": options.deadline * (options.time_scale or 1.0)},
        "sized": options.sized == "on",
    }
    if options.mode != "off":
        chatbot["draft"] = {"model": "small", "mode": options.mode, "max_extra_spend": options.extra_spend}
    config = {
        "models": [
            {"name": "big", "deployments": deployments("big"), "price": price(big)},
            {"name": "small", "deployments": deployments("small"), "price": price(small)},
            chatbot,
        ],
        "documents": [{"name": "handbook"}],
        "data_dir": str(work / "data"),
    }
    path = work / "ocho.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def summary(outcomes: Sequence[Outcome], spend: float, deadline_s: float, scale: float) -> dict[str, float]:
    """The figures of one path; every arrival is in the denominator. Seconds are those of the unscaled provider."""
    verdicts = [verdict(o) for o in outcomes]
    seconds = [o.seconds / scale for o in outcomes]
    useful = [
        v == Verdict.RIGHT and not o.labelled and s <= deadline_s
        for o, v, s in zip(outcomes, verdicts, seconds, strict=True)
    ]
    return {
        "within_5s": share(useful),
        "p50_s": percentile(seconds, 0.50),
        "p95_s": percentile(seconds, 0.95),
        "p99_s": percentile(seconds, 0.99),
        "ttft_p95_s": percentile([o.first_token_s / scale for o in outcomes], 0.95),
        "wrong": share(v == Verdict.WRONG and not o.labelled for o, v in zip(outcomes, verdicts, strict=True)),
        "refused": share(v == Verdict.REFUSED for v in verdicts),
        "spend": round(spend, 4),
    }


def details(outcomes: Sequence[Outcome], deadline_s: float, scale: float) -> dict[str, Any]:
    """Who answered, how right, and the labelled fallbacks that ``within_5s`` leaves out."""
    rows: dict[str, dict[str, float]] = {}
    kinds = Counter(_kind(o) for o in outcomes)
    for kind, count in sorted(kinds.items()):
        mine = [o for o in outcomes if _kind(o) == kind]
        rows[kind] = {
            "share": round(count / len(outcomes), 4),
            "right": share(verdict(o) == Verdict.RIGHT for o in mine),
            "wrong": share(verdict(o) == Verdict.WRONG for o in mine),
            "p50_s": percentile([o.seconds / scale for o in mine], 0.5),
            "p95_s": percentile([o.seconds / scale for o in mine], 0.95),
        }
    return {
        "complete_within_5s": share(not o.error and o.seconds / scale <= deadline_s for o in outcomes),
        "useful_within_5s_with_labelled": share(
            verdict(o) == Verdict.RIGHT and o.seconds / scale <= deadline_s for o in outcomes
        ),
        "wrong_with_labelled": share(verdict(o) == Verdict.WRONG for o in outcomes),
        "errors": share(bool(o.error) for o in outcomes),
        "served_by": rows,
    }


def _kind(outcome: Outcome) -> str:
    if outcome.error:
        return "error"
    if outcome.served_by == "cache" or outcome.cache == "coalesced":
        return outcome.cache
    return f"{outcome.served_by}{' (labelled)' if outcome.labelled else ''}"


def verdict(outcome: Outcome) -> str:
    return "error" if outcome.error else handbook.judge(outcome.question, outcome.answer)


def spend_of(url: str, options: argparse.Namespace) -> dict[str, float]:
    """What the provider bills. Of a call that was hung up on: its prompt and what had been sent. Refused: nothing."""
    calls = json.loads(_get(f"{url.removesuffix('/v1')}/bench/calls"))["calls"]
    prices = {"big": PRICES.get(options.profile, (0, 0)), "small": PRICES.get(options.draft_profile, (0, 0))}
    billed = [c for c in calls if c["status"] == 200 or c["cancelled"]]
    usd = sum(
        (prices[c["model"]][0] * c["prompt_tokens"] + prices[c["model"]][1] * c["output_tokens"]) / 1e6
        for c in billed
        if c["model"] in prices
    )
    return {
        "usd": round(usd, 4),
        "calls_big": sum(c["model"] == "big" for c in calls),
        "calls_small": sum(c["model"] == "small" for c in calls),
        "cancelled_big": sum(c["model"] == "big" and c["cancelled"] for c in calls),
    }


def told(metrics: str) -> dict[str, float]:
    """The gateway's own count of drafts and promises."""
    wanted = ("ocho_drafts_total", "ocho_deadline_total", "ocho_spend_total")
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith(wanted)]
    return {name: round(float(value), 4) for name, value in lines}


def run_facts(options: argparse.Namespace, arrivals: Sequence[Arrival]) -> dict[str, Any]:
    seen: set[str] = set()
    repeats = sum(a.question.group in seen or bool(seen.add(a.question.group)) for a in arrivals)  # type: ignore[func-returns-value]
    return {
        "profile": options.profile,
        "draft_profile": options.draft_profile,
        "mode": options.mode,
        "max_extra_spend": options.extra_spend,
        "sized": options.sized,
        "faults": options.faults,
        "requests": len(arrivals),
        "repeats": round(repeats / len(arrivals), 4),
        "rate_per_s": options.rate,
        "time_scale": options.time_scale,
        "deadline_s": options.deadline,
        "seed": options.seed,
        "trace": options.trace.name,
        "questions": options.questions.name,
        "python": platform.python_version(),
        "openai": importlib.metadata.version("openai"),
        "cpus": os.cpu_count(),
    }


def show(result: dict[str, Any]) -> None:
    out = Console()
    table = Table(title="Useful answers within 5 s")
    for column in ("", "direct", "through Ocho"):
        table.add_column(column, justify="left" if not column else "right")
    formats: dict[str, Callable[[float], str]] = {"spend": "{:.2f}x".format}
    shares = {"within_5s", "wrong", "refused"}
    for key, before in result["direct"].items():
        form = formats.get(key, "{:.1%}".format if key in shares else "{:.2f} s".format)
        table.add_row(key, form(before), form(result["ocho"][key]))
    out.print(table)
    who = Table(title="Who answered")
    for column in ("", "share", "right", "wrong", "p50", "p95"):
        who.add_column(column, justify="left" if not column else "right")
    for kind, row in result["ocho_details"]["served_by"].items():
        shares_of = [f"{row[key]:.1%}" for key in ("share", "right", "wrong")]
        who.add_row(kind, *shares_of, f"{row['p50_s']:.2f} s", f"{row['p95_s']:.2f} s")
    out.print(who)
    apart = {k: v for k, v in result["ocho_details"].items() if isinstance(v, float)}
    out.print(" · ".join(f"{key} {value:.1%}" for key, value in apart.items()))
    out.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")


def save(work: Path, direct: Sequence[Outcome], ocho: Sequence[Outcome]) -> None:
    with (work / "outcomes.jsonl").open("w", encoding="utf-8") as file:
        for path, outcomes in (("direct", direct), ("ocho", ocho)):
            for o in outcomes:
                row = {"path": path, "id": o.question.id, "verdict": verdict(o), "seconds": round(o.seconds, 3),
                       "ttft": round(o.first_token_s, 3), "kind": _kind(o), "error": o.error, "answer": o.answer,
                       "question": o.question.text}  # fmt: skip
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def share(flags: Any) -> float:
    found = list(flags)
    return round(sum(found) / len(found), 4) if found else 0.0


def percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    ranks = [(n + 1) / len(ordered) for n in range(len(ordered))]
    return round(ordered[min(len(ordered) - 1, bisect(ranks, q - 1e-9))], 3)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench five-seconds", description=__doc__)
    add = parser.add_argument
    add("--profile", choices=[*PROFILES], default="azure-gpt4-2023", help="the model that answers")
    add("--draft-profile", choices=[*PROFILES], help="the fast model (default: its contemporary)")
    add("--mode", choices=["off", "cascade", "armed", "race", "auto"], default="race", help="when the big model starts")
    add("--extra-spend", type=float, default=1.0, help="max_extra_spend of the draft (default 1.0: race always)")
    add("--sized", choices=["on", "off"], default="on")
    add("--questions", type=Path, default=handbook.FOLDER / "questions.jsonl")
    add("--documents", type=Path, default=handbook.FOLDER)
    add("--trace", type=Path, default=TRACE, help="CSV (or .gz) whose first column holds arrival seconds")
    add("--requests", type=int, default=200)
    add("--rate", type=float, default=1.0, help="mean arrivals per second; the trace is stretched to it (default 1)")
    add("--repeat-share", type=float, default=0.4, help="arrivals that repeat or rephrase an earlier one (default 0.4)")
    add("--deadline", type=float, default=5.0)
    add("--faults", choices=["on", "off"], default="on", help="429, 5xx and hanging calls of the provider (default on)")
    add("--time-scale", type=float, default=1.0, help="0.5 = the provider twice as fast, and the promise with it")
    add("--seed", type=int, default=5)
    add("--work", help="keep configuration, logs and outcomes here")
    add("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
