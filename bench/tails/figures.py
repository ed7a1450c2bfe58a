"""Asks and provider records → figures (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.five_seconds.figures import percentile
from bench.tails.client import Ask

ILL = ("slow", "refuses", "hangs")
GOALS = {
    "p99_ttft_cut": ("at least", 0.80),
    "extra_tokens": ("at most", 0.05),
    "goodput_at_200": ("at least", 0.9),
    "refusal_p95_s": ("at most", 0.05),
    "cancel_max_s": ("at most", 0.1),
}


def by_phase(asks: Sequence[Ask], deadline_s: float) -> dict[str, dict[str, float]]:
    """Per phase, and over all in which a deployment was ill. Who never had a first token counts with his patience."""
    phases = {phase: [a for a in asks if a.phase == phase] for phase in dict.fromkeys(a.phase for a in asks)}
    phases["all ill"] = [a for a in asks if a.phase in ILL]
    return {
        phase: {
            "asks": len(mine),
            "ttft_p50_s": percentile([a.first_s for a in mine], 0.50),
            "ttft_p95_s": percentile([a.first_s for a in mine], 0.95),
            "ttft_p99_s": percentile([a.first_s for a in mine], 0.99),
            "in_time": _share([a.complete and a.seconds <= deadline_s for a in mine]),
            "failed": _share([not a.complete for a in mine]),
        }
        for phase, mine in phases.items()
        if mine
    }


def extra_tokens(calls: Sequence[Mapping[str, Any]], answers: int) -> float:
    """Tokens billed beyond one whole call per answer, as a share of all: cancelled calls and second answers."""
    billed = [c for c in calls if c["status"] == 200 or c["cancelled"]]
    whole = [c["prompt_tokens"] + c["output_tokens"] for c in billed if c["status"] == 200 and not c["cancelled"]]
    total = sum(c["prompt_tokens"] + c["output_tokens"] for c in billed if c["served"] is not None)
    needed = sum(whole) / len(whole) * min(answers, len(whole)) if whole else 0.0
    return round(max(0.0, total / needed - 1), 4) if needed else 0.0


def load(asks: Sequence[Ask], deadline_s: float, for_s: float, capacity: float) -> dict[str, float]:
    """Goodput: whole answers within the deadline, a second, as a share of the measured capacity."""
    good = sum(a.complete and a.seconds <= deadline_s for a in asks)
    refused = [a.seconds for a in asks if a.status in (429, 503)]
    return {
        "asks": len(asks),
        "offered": round(len(asks) / for_s / capacity, 4),
        "goodput": round(good / for_s / capacity, 4),
        "refused": _share([a.status in (429, 503) for a in asks]),
        "refusal_p50_s": percentile(refused, 0.50),
        "refusal_p95_s": percentile(refused, 0.95),
        "refusal_max_s": percentile(refused, 1.0),
        "failed": _share([not a.complete and a.status not in (429, 503) for a in asks]),
    }


def summary(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures that have goals; parts that were not run are left out."""
    found: dict[str, float] = {}
    if faults := result.get("faults"):
        before, after = (faults[path]["phases"]["all ill"]["ttft_p99_s"] for path in ("round_robin", "ocho"))
        found["p99_ttft_cut"] = round(1 - after / before, 4)
        found["extra_tokens"] = faults["ocho"]["extra_tokens"]
    if loads := result.get("load"):
        found["goodput_at_200"] = loads["2"]["ocho"]["goodput"]
        found["refusal_p95_s"] = loads["2"]["ocho"]["refusal_p95_s"]
    if cancel := result.get("cancel"):
        found["cancel_max_s"] = cancel["max_s"]
    return found


def met(name: str, value: float) -> bool:
    way, goal = GOALS[name]
    return value >= goal if way == "at least" else value <= goal


def _share(flags: Sequence[bool]) -> float:
    return round(sum(flags) / len(flags), 4) if flags else 0.0
