"""`python -m bench five-seconds`: the promise, measured. Useful answers within 5 s, asked directly and through Ocho.

The same arrivals at the same moments go both ways, each to a provider of its own with the same seed and faults. Every
arrival counts. Useful: complete, with the gold facts and no sibling's, and not labelled as a fallback.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import facts, handbook, servers
from bench.as_json import add_json, give_json, tables_aside
from bench.corpora import CORPORA
from bench.five_seconds import tables
from bench.five_seconds.arrivals import Arrival, Traffic, arrivals_of, follow_ups, repeats
from bench.five_seconds.figures import details, kind, summary, useful, verdict
from bench.five_seconds.run import PATIENCE_S, Measured, measure
from bench.five_seconds.traces import SHIPPED, BadTrace
from bench.handbook import BadQuestions, Question
from bench.provider import PROFILES

DRAFTS = {"azure-gpt4-2023": "gpt35-2023", "gpt4o-2024": "mini-2025"}
SWEEP = "0,0.2,0.4,0.6"
RATES = "1,2,4,8,16"
RISING_SLOTS = 64  # calls at once that the provider takes of each model while the load rises
RISING_PATIENCE_S = 60.0
BROKEN = 0.5  # share of useful answers in time below which a path counts as broken
console = Console(stderr=True)


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    options.argv = list(argv)
    options.draft_profile = options.draft_profile or DRAFTS.get(options.profile, "mini-2025")
    corpus = CORPORA[options.corpus]
    options.documents = options.documents or corpus.documents
    options.questions = options.questions or [corpus.questions, corpus.follow_ups]
    try:
        questions = [question for path in options.questions for question in handbook.load(path)]
        if not questions:
            raise BadQuestions("the files of questions are empty")
        with tempfile.TemporaryDirectory(prefix="five-seconds-") as folder:
            result, measured = asyncio.run(_all(options, questions, Path(options.work or folder)))
    except (servers.ServerFailed, BadTrace, BadQuestions) as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    if options.report:
        from bench.five_seconds.page import write

        write(options.report, result, measured)
    with tables_aside(options.json):
        tables.show(result)
    give_json(result, options.json)
    return 0


async def _all(
    options: argparse.Namespace, questions: Sequence[Question], work: Path
) -> tuple[dict[str, Any], Measured]:
    arrivals = arrivals_of(questions, _traffic(options))
    measured = await measure(options, arrivals, work)
    _save(work, measured)
    result = _result(measured, options)
    groups = len({question.group for question in questions})
    if options.sweep:
        result["sweep"] = [await _swept(options, questions, float(s), groups, work) for s in options.sweep.split(",")]
    if options.rising_load:
        result["rising_load"] = await _rising(options, questions, work)
    return result, measured


def _traffic(options: argparse.Namespace) -> Traffic:
    return Traffic(options.trace, options.requests, options.rate, options.repeat_share, options.seed)


def _result(measured: Measured, options: argparse.Namespace) -> dict[str, Any]:
    return {
        **_figures(measured, options),
        "ocho_details": details(measured.ocho, options.deadline, options.time_scale or 1.0)
        | {"metrics": measured.told},
        "spend": {"direct": measured.direct_spend, "ocho": measured.ocho_spend},
        "run": _run_facts(options, measured.arrivals),
    }


def _figures(measured: Measured, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    scale = options.time_scale or 1.0
    return {
        "direct": summary(measured.direct, 1.0, options.deadline, scale),
        "ocho": summary(measured.ocho, measured.spend_ratio, options.deadline, scale),
    }


async def _swept(
    options: argparse.Namespace, questions: Sequence[Question], share: float, groups: int, work: Path
) -> dict[str, Any]:
    """One repeat share; asks no more than there are new groups for, so that the share is what it says."""
    own = copy.copy(options)
    own.repeat_share, own.requests = share, min(options.requests, int(groups / max(1 - share, 0.01)))
    console.print(f"repeat share {share:g}: {own.requests} arrivals", style="dim")
    measured = await measure(own, arrivals_of(questions, _traffic(own)), work / f"sweep-{share:g}")
    told = {"repeat_share": share, "repeats": repeats(measured.arrivals), "requests": own.requests}
    return {**told, **_figures(measured, own)}


async def _rising(options: argparse.Namespace, questions: Sequence[Question], work: Path) -> list[dict[str, Any]]:
    """Rate after rate against a provider that takes so many calls at once, until both paths are broken."""
    rows: list[dict[str, Any]] = []
    scale = options.time_scale or 1.0
    for rate in map(float, options.rising_load.split(",")):
        own = copy.copy(options)
        own.rate, own.requests = rate, max(1, round(rate * options.rising_seconds))
        own.slots = options.slots or RISING_SLOTS
        own.patience = min(options.patience, RISING_PATIENCE_S)
        console.print(f"{rate:g} arrivals a second: {own.requests} of them", style="dim")
        measured = await measure(own, arrivals_of(questions, _traffic(own)), work / f"rate-{rate:g}")
        figures: dict[str, Any] = _figures(measured, own)
        for path, outcomes in (("direct", measured.direct), ("ocho", measured.ocho)):
            good = sum(useful(o, options.deadline, scale) for o in outcomes)
            figures[path]["goodput_per_s"] = round(good / own.requests * rate, 3)
        rows.append({"rate": rate, "requests": own.requests, "slots": own.slots, **figures})
        if all(figures[path]["within_5s"] < BROKEN for path in ("direct", "ocho")):
            break
    return rows


def _run_facts(options: argparse.Namespace, arrivals: Sequence[Arrival]) -> dict[str, Any]:
    return {
        "command": facts.command("five-seconds", options.argv),
        "profile": options.profile,
        "draft_profile": options.draft_profile,
        "mode": options.mode,
        "max_extra_spend": options.extra_spend,
        "sized": options.sized,
        "faults": options.faults,
        "requests": len(arrivals),
        "repeats": repeats(arrivals),
        "follow_ups": follow_ups(arrivals),
        "rate_per_s": options.rate or "as in the trace",
        "time_scale": options.time_scale,
        "deadline_s": options.deadline,
        "seed": options.seed,
        "trace": options.trace.name,
        "documents": options.documents.name,
        "questions": ", ".join(path.name for path in options.questions),
        "reader": options.reader,
        "openai": importlib.metadata.version("openai"),
        **facts.machine(),
    }


def _save(work: Path, measured: Measured) -> None:
    """One JSON line per ask, for looking into."""
    with (work / "outcomes.jsonl").open("w", encoding="utf-8") as file:
        for path, outcomes in (("direct", measured.direct), ("ocho", measured.ocho)):
            for arrival, o in zip(measured.arrivals, outcomes, strict=True):
                row = {"path": path, "at_s": round(arrival.at_s, 3), "id": o.question.id, "verdict": verdict(o),
                       "seconds": round(o.seconds, 3), "ttft": round(o.first_token_s, 3), "kind": kind(o),
                       "error": o.error, "answer": o.answer, "question": o.question.text}  # fmt: skip
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench five-seconds", description=__doc__)
    add = parser.add_argument
    add("--profile", choices=[*PROFILES], default="azure-gpt4-2023", help="the model that answers")
    add("--draft-profile", choices=[*PROFILES], help="the fast model (default: its contemporary)")
    add("--mode", choices=["off", "cascade", "armed", "race", "auto"], default="race", help="when the big model starts")
    add("--extra-spend", type=float, default=1.0, help="max_extra_spend of the draft (default 1.0: race always)")
    add("--sized", choices=["on", "off"], default="on")
    add("--corpus", choices=[*CORPORA], default="handbook", help="documents and questions (default handbook)")
    add("--questions", type=Path, nargs="+", help="JSONL files: q, facts, … (default: the corpus's, with follow-ups)")
    add("--reader", choices=["told", "words"], default="told",
        help="how the stand-in reads: misreading at set rates, or by common words")  # fmt: skip
    add("--documents", type=Path, help="file or folder that answers them (default: the corpus's)")
    add("--trace", type=Path, default=SHIPPED, help="CSV or CSV.gz of arrival times, or of rates per window")
    add("--requests", type=int, default=200)
    add("--rate", type=float, default=1.0, help="mean arrivals a second, the trace is stretched to it; 0: its own pace")
    add("--repeat-share", type=float, default=0.4, help="arrivals that repeat or rephrase an earlier one (default 0.4)")
    add("--sweep", nargs="?", const=SWEEP, metavar="SHARES", help=f"also at these repeat shares (default {SWEEP})")
    add("--rising-load", nargs="?", const=RATES, metavar="RATES", help=f"also at these rates (default {RATES})")
    add("--rising-seconds", type=float, default=30.0, help="of arrivals at each of them (default 30)")
    add("--slots", type=int, help=f"calls at once the provider takes of a model ({RISING_SLOTS} for --rising-load)")
    add("--patience", type=float, default=PATIENCE_S, help="seconds until a person gives up (default 120)")
    add("--deadline", type=float, default=5.0)
    add("--faults", choices=["on", "off"], default="on", help="429, 5xx and hanging calls of the provider (default on)")
    add("--time-scale", type=float, default=1.0, help="0.5 = the provider twice as fast, and the promise with it")
    add("--seed", type=int, default=5)
    add("--work", help="keep configuration, logs and outcomes here")
    add("--report", type=Path, metavar="DIR", help="write an HTML page and a PNG there")
    add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
