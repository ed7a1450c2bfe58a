"""Who asks what, and when. The same seed asks the same at the same moments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.five_seconds.traces import moments
from bench.handbook import Question


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float
    question: Question


@dataclass(frozen=True, slots=True)
class Traffic:
    """``repeat_share``: of arrivals that repeat or rephrase an earlier one. ``rate``: mean a second, 0 the trace's."""

    trace: Path
    requests: int
    rate: float
    repeat_share: float
    seed: int


def arrivals_of(questions: Sequence[Question], traffic: Traffic) -> list[Arrival]:
    """Moments from the trace, questions by a Zipf-like process (Simon's): with ``repeat_share`` an earlier group is
    asked again, in proportion to how often it was asked before, which gives popularity a power law; in any of its
    wordings. Else a new one, while there are any."""
    rng = random.Random(traffic.seed)
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    fresh = list(groups)
    rng.shuffle(fresh)
    asked: list[str] = []
    chosen: list[Question] = []
    for _ in range(traffic.requests):
        again = bool(asked) and (rng.random() < traffic.repeat_share or not fresh)
        group = rng.choice(asked) if again else fresh.pop()
        asked.append(group)
        chosen.append(rng.choice(groups[group]))
    times = moments(traffic.trace, traffic.requests, traffic.rate, traffic.seed)
    return [Arrival(at, question) for at, question in zip(times, chosen, strict=True)]


def repeats(arrivals: Sequence[Arrival]) -> float:
    """Share of arrivals whose group was asked before."""
    return round(1 - len({a.question.group for a in arrivals}) / len(arrivals), 4) if arrivals else 0.0


def follow_ups(arrivals: Sequence[Arrival]) -> float:
    """Share of arrivals with earlier turns."""
    return round(sum(bool(a.question.turns) for a in arrivals) / len(arrivals), 4) if arrivals else 0.0
