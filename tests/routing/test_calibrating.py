"""Calibrating the gate: bounds that hold, weights that point the way they must."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.routing import calibrating
from gateway.routing.gate import KINDS, MEASURES, Calibration, names_of


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert calibrating.upper_bound(0, 100) == pytest.approx(0.0295, abs=1e-4)  # 1 - 0.05 ** (1 / 100)
    assert calibrating.upper_bound(2, 100) == pytest.approx(0.0616, abs=1e-3)
    assert calibrating.upper_bound(0, 0) == 1.0


def test_a_fit_never_gives_a_weight_the_wrong_sign() -> None:
    rng = np.random.default_rng(1)
    x = np.hstack([rng.normal(size=(300, 4)), np.ones((300, 1))])
    y = (x[:, 0] - x[:, 2] + rng.normal(size=300) > 0).astype(float)  # the third one lies
    weights = calibrating.fit(x, y, np.array([1.0, 1.0, 1.0, -1.0, 0.0]))
    assert weights[0] > 0.3
    assert weights[2] == 0.0


def test_the_bar_keeps_the_bound() -> None:
    scores, right = np.linspace(0, 1, 1000), np.ones(1000)
    right[:300] = 0
    assert calibrating.bar(scores, right, 0.02) == pytest.approx(0.3, abs=0.02)
    assert calibrating.bar(scores, np.zeros(1000), 0.02) == 0.999


def test_found_citations_are_reported_at_the_bar_that_the_gate_holds_them_to() -> None:
    def scored(score: float, names: tuple[str, ...]) -> Calibration:
        return Calibration((*(0.0 for _ in names), np.log(score / (1 - score))), accept=0.97, usable=0.5, sure=0.99)

    def shares(score: float, *, found: bool) -> list[float]:
        samples = [calibrating.Sample("g", "", tuple(1.0 for _ in MEASURES), True, found)]
        report = calibrating.reported(samples, {kind: scored(score, names_of(kind)) for kind in KINDS.values()})
        assert report["citations_found"] == found
        assert report["without_logprobs"]["accept"]["share"] == (0 if found else 1)
        return [report["with_logprobs"][bar]["share"] for bar in ("usable", "accept", "sure")]

    assert shares(0.98, found=False) == [1, 1, 0]
    assert shares(0.98, found=True) == [1, 0, 0]
    assert shares(0.995, found=False) == [1, 1, 1]
    assert shares(0.995, found=True) == [1, 1, 0]
