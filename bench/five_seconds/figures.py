"""Outcomes → figures. Seconds are those of the unscaled provider; every arrival is in the denominator (pure)."""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bench import handbook
from bench.handbook import Verdict
from bench.paths import Outcome


def summary(outcomes: Sequence[Outcome], spend: float, deadline_s: float, scale: float) -> dict[str, float]:
    """The figures of one path. Useful: complete, all gold facts and no sibling's, not labelled as a fallback."""
    verdicts = [verdict(o) for o in outcomes]
    seconds = [o.seconds / scale for o in outcomes]
    return {
        "within_5s": share(useful(o, deadline_s, scale) for o in outcomes),
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
    kinds = Counter(kind(o) for o in outcomes)
    for name, count in sorted(kinds.items()):
        mine = [o for o in outcomes if kind(o) == name]
        rows[name] = {
            "share": round(count / len(outcomes), 4),
            "right": share(verdict(o) == Verdict.RIGHT for o in mine),
            "wrong": share(verdict(o) == Verdict.WRONG for o in mine),
            "p50_s": percentile([o.seconds / scale for o in mine], 0.5),
            "p95_s": percentile([o.seconds / scale for o in mine], 0.95),
        }
    after = [o for o in outcomes if o.question.turns]
    return {
        "complete_within_5s": share(not o.error and o.seconds / scale <= deadline_s for o in outcomes),
        "useful_within_5s_with_labelled": share(
            verdict(o) == Verdict.RIGHT and o.seconds / scale <= deadline_s for o in outcomes
        ),
        "wrong_with_labelled": share(verdict(o) == Verdict.WRONG for o in outcomes),
        "labelled": share(o.labelled for o in outcomes),
        "errors": share(bool(o.error) for o in outcomes),
        "follow_ups_within_5s": share(useful(o, deadline_s, scale) for o in after),
        "follow_ups_wrong": share(verdict(o) == Verdict.WRONG and not o.labelled for o in after),
        "served_by": rows,
    }


def useful(outcome: Outcome, deadline_s: float, scale: float) -> bool:
    in_time = outcome.seconds / scale <= deadline_s
    return in_time and not outcome.labelled and verdict(outcome) == Verdict.RIGHT


def kind(outcome: Outcome) -> str:
    """Who answered, in a word or two."""
    if outcome.error:
        return "error"
    if outcome.served_by == "cache" or outcome.cache == "coalesced":
        return outcome.cache
    return f"{outcome.served_by or 'direct'}{' (labelled)' if outcome.labelled else ''}"


def verdict(outcome: Outcome) -> str:
    return "error" if outcome.error else handbook.judge(outcome.question, outcome.answer)


def share(flags: Iterable[bool]) -> float:
    found = list(flags)
    return round(sum(found) / len(found), 4) if found else 0.0


def percentile(values: Sequence[float], q: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    ranks = [(n + 1) / len(ordered) for n in range(len(ordered))]
    return round(ordered[min(len(ordered) - 1, bisect(ranks, q - 1e-9))], 3)
