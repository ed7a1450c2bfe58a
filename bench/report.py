"""Outcomes → figures and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.handbook import Verdict, agreement, judge
from bench.paths import Outcome

PROMISE_S = 5.0
BAR_WIDTH = 48


@dataclass(frozen=True, slots=True)
class Summary:
    """One path's figures over every question that was asked."""

    asked: int
    answered: int
    within_5s: float  # share with a complete, right answer within 5 s
    p50_s: float
    p95_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    wrong: float  # share with a wrong answer
    refused: float
    repeat_agreement: float  # pairs of the same question with the same facts
    group_agreement: float  # pairs of rephrasings with the same facts
    tokens: int
    served: Counter[str]  # answers by where they came from


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    verdicts = [judge(o.question, o.answer) if not o.error else Verdict.REFUSED for o in outcomes]
    right = [v is Verdict.RIGHT for v in verdicts]
    seconds = [o.seconds for o in outcomes]
    first = [o.first_token_s for o in outcomes]
    answers = [o for o in outcomes if not o.error]
    return Summary(
        asked=len(outcomes),
        answered=len(answers),
        within_5s=_share(good and o.seconds <= PROMISE_S for good, o in zip(right, outcomes, strict=True)),
        p50_s=_percentile(seconds, 50),
        p95_s=_percentile(seconds, 95),
        ttft_p50_s=_percentile(first, 50),
        ttft_p95_s=_percentile(first, 95),
        wrong=_share(v is Verdict.WRONG for v in verdicts),
        refused=_share(v is Verdict.REFUSED for v in verdicts),
        repeat_agreement=agreement((o.question.id, o.answer) for o in answers),
        group_agreement=agreement((o.question.group, o.answer) for o in answers),
        tokens=sum(o.tokens for o in outcomes),
        served=Counter(_served(o) for o in outcomes),
    )


def save(outcomes: Sequence[Outcome], path: Path) -> None:
    """One JSON line per ask, for looking into: question, answer, verdict, seconds."""
    with path.open("w", encoding="utf-8") as file:
        for o in outcomes:
            verdict = str(judge(o.question, o.answer)) if not o.error else "failed"
            line = {"id": o.question.id, "question": o.question.text, "verdict": verdict, "cache": o.cache,
                    "seconds": round(o.seconds, 3), "first_token_s": round(o.first_token_s, 3), "answer": o.answer,
                    "error": o.error}  # fmt: skip
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def compare(console: Console, before: Summary, after: Summary) -> None:
    table = Table(title=f"{after.asked} questions, directly and through Ocho")
    for name, justify in (("", "left"), ("direct", "right"), ("through Ocho", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    row("right and complete within 5 s", f"{before.within_5s:.1%}", f"[bold]{after.within_5s:.1%}[/]")
    row("complete answer p50", f"{before.p50_s:.1f} s", f"{after.p50_s:.1f} s")
    row("complete answer p95", f"{before.p95_s:.1f} s", f"{after.p95_s:.1f} s")
    row("first token p50", f"{before.ttft_p50_s:.1f} s", f"{after.ttft_p50_s:.1f} s")
    row("first token p95", f"{before.ttft_p95_s:.1f} s", f"{after.ttft_p95_s:.1f} s")
    row("wrong answers", f"{before.wrong:.1%}", f"{after.wrong:.1%}")
    row("refused or failed", f"{before.refused:.1%}", f"{after.refused:.1%}")
    row("same question, same facts", f"{before.repeat_agreement:.1%}", f"{after.repeat_agreement:.1%}")
    row("rephrased, same facts", f"{before.group_agreement:.1%}", f"{after.group_agreement:.1%}")
    row("provider tokens", f"{before.tokens:,}", f"{after.tokens:,}")
    served = ", ".join(f"{count} {outcome}" for outcome, count in after.served.most_common())
    row("served from", f"{before.asked} model", served)
    console.print(table)


def waterfalls(console: Console, outcomes: Sequence[Outcome], each: int = 1) -> None:
    """Where the seconds went, for some answers of every kind, in Korean and English."""
    seen: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        kind = (_served(outcome), outcome.question.lang)
        if outcome.error or seen[kind] >= each:
            continue
        seen[kind] += 1
        console.print(waterfall(outcome))


def waterfall(outcome: Outcome) -> Table:
    total = max(outcome.seconds, 1e-6)
    table = Table(
        title=f"{outcome.question.text}  ({_served(outcome)})", title_justify="left", show_header=False, box=None
    )
    stages = [(name, seconds) for name, seconds in outcome.stages.items() if name != "total"]
    for name, seconds in [*stages, ("first token", outcome.first_token_s), ("whole answer", total)]:
        filled = max(1, round(BAR_WIDTH * min(seconds / total, 1.0)))
        table.add_row(Text(name, style="dim"), "█" * filled, f"{seconds * 1000:,.1f} ms")
    return table


def failures(console: Console, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.error:
            console.print(f"[red]no answer[/] {outcome.question.id}: {outcome.error}", highlight=False)


def last_line(before: Summary, after: Summary, *, ok: bool) -> str:
    return (
        f"demo {'ok' if ok else 'failed'}: answered {after.answered}/{after.asked}, "
        f"right within 5 s {before.within_5s:.1%} -> {after.within_5s:.1%}, "
        f"p50 {before.p50_s:.1f} s -> {after.p50_s:.1f} s, p95 {before.p95_s:.1f} s -> {after.p95_s:.1f} s, "
        f"first token p95 {before.ttft_p95_s:.1f} s -> {after.ttft_p95_s:.1f} s, "
        f"wrong {before.wrong:.1%} -> {after.wrong:.1%}, "
        f"repeat agreement {before.repeat_agreement:.1%} -> {after.repeat_agreement:.1%}"
    )


def _served(outcome: Outcome) -> str:
    """How a cache hit was found, else who answered, with a mark where the answer said that it is a fallback."""
    if outcome.cache in {"exact", "semantic", "coalesced"}:
        return outcome.cache
    return f"{outcome.served_by or 'model'}{' (labelled)' if outcome.labelled else ''}"


def _share(flags: object) -> float:
    values = list(flags)  # type: ignore[call-overload]
    return sum(values) / len(values) if values else 0.0


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0
