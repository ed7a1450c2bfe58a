"""What the five-seconds and gate benches compute from what they saw."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import five_seconds, gate, handbook
from bench.five_seconds import arrivals_of, details, percentile, summary
from bench.paths import Outcome

QUESTIONS = handbook.load()
ASKED = next(q for q in QUESTIONS if q.id == "leave-annual-1")
RIGHT = Outcome(ASKED, "정규직 직원의 연차휴가는 1년에 16일입니다.", "", 2.0, 1.0, served_by="draft")
WRONG = replace(RIGHT, answer="13일입니다.", served_by="model")
FAILED = replace(RIGHT, answer="", error="broke", served_by="")
QUOTED = replace(RIGHT, labelled=True, served_by="quote")


def options(*argv: str) -> object:
    return five_seconds._parser().parse_args(argv)


def test_every_arrival_counts_and_fallbacks_are_apart() -> None:
    found = summary([RIGHT, replace(RIGHT, seconds=6.0), WRONG, FAILED, QUOTED], 0.5, 5.0, 1.0)
    assert set(found) == {"within_5s", "p50_s", "p95_s", "p99_s", "ttft_p95_s", "wrong", "refused", "spend"}
    assert (found["within_5s"], found["wrong"], found["spend"]) == (0.2, 0.2, 0.5)
    apart = details([RIGHT, QUOTED, FAILED], 5.0, 1.0)
    assert apart["useful_within_5s_with_labelled"] == pytest.approx(2 / 3, abs=1e-4)
    assert set(apart["served_by"]) == {"draft", "quote (labelled)", "error"}


def test_a_scaled_run_reports_unscaled_seconds() -> None:
    assert summary([RIGHT], 1.0, 5.0, 0.1)["p50_s"] == 20.0


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, q) for q in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([3.0], 0.99) == 3.0


def test_the_same_seed_asks_the_same_at_the_same_moments() -> None:
    one, other = (arrivals_of(QUESTIONS, options("--requests", "80")) for _ in range(2))  # type: ignore[arg-type]
    assert one == other
    seen: set[str] = set()
    repeats = 0
    for arrival in one:
        repeats += arrival.question.group in seen
        seen.add(arrival.question.group)
    assert 0.25 <= repeats / len(one) <= 0.55
    assert one[0].at_s == 0.0
    assert one[-1].at_s == pytest.approx(80, rel=0.1)  # 1 a second


def test_traces_of_others_are_read_too(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv.gz"
    with gzip.open(trace, "wt") as file:
        file.write("t_s,prompt_tokens\n0.0,1\n1.0,1\n5.0,2\n")
    asked = arrivals_of(QUESTIONS, options("--requests", "5", "--rate", "2", "--trace", str(trace)))  # type: ignore[arg-type]
    moments = [round(a.at_s, 3) for a in asked]
    assert moments == sorted(moments)
    assert len(moments) == 5


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert gate.upper_bound(0, 100) == pytest.approx(0.0295, abs=1e-4)  # 1 - 0.05 ** (1 / 100)
    assert gate.upper_bound(2, 100) == pytest.approx(0.0616, abs=1e-3)
    assert gate.upper_bound(0, 0) == 1.0


def test_a_fit_never_gives_a_weight_the_wrong_sign() -> None:
    rng = np.random.default_rng(1)
    x = np.hstack([rng.normal(size=(300, len(gate.SIGNS))), np.ones((300, 1))])
    y = (x[:, 0] - x[:, 2] + rng.normal(size=300) > 0).astype(float)  # the third one lies
    weights = gate.fit(x, y)
    assert weights[0] > 0.3
    assert weights[2] == 0.0


def test_the_bar_keeps_the_bound() -> None:
    scores, right = np.linspace(0, 1, 1000), np.ones(1000)
    right[:300] = 0
    assert gate.bar(scores, right, 0.02) == pytest.approx(0.3, abs=0.02)
    assert gate.bar(scores, np.zeros(1000), 0.02) == 0.999
