from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.cache.belief import Bar, Belief
from gateway.cache.bounds import clopper_pearson_upper, wilson_lower
from gateway.cache.features import NAMES

SIZE = len(NAMES)


def belief(spread: float = 0.3) -> Belief:
    return Belief(np.zeros(SIZE), spread * np.eye(SIZE))


def filled(bar: Bar, wrong_every: int, score: float = 6.0, labels: int = 400) -> Bar:
    """A bar that saw lookups at ``score``, and as many labels, one in ``wrong_every`` of them wrong."""
    for number in range(labels):
        bar.see(score)
        bar.learn(score, number % wrong_every != 0, hit=False)
    return bar


def test_a_belief_comes_to_what_its_labels_say_and_its_doubt_shrinks() -> None:
    chance = np.random.default_rng(7)
    truth = chance.normal(size=SIZE)
    learned = belief()
    before = float(np.trace(learned.covariance))
    rows = chance.normal(size=(800, SIZE))
    right = chance.random(800) < 1 / (1 + np.exp(-rows @ truth))
    learned.fit(rows, right.astype(float))
    assert float(np.corrcoef(learned.mean, truth)[0, 1]) > 0.95
    assert float(np.trace(learned.covariance)) < before / 5
    assert np.linalg.eigvalsh(learned.covariance).min() > 0


def test_doubt_lowers_a_score_and_a_label_never_moves_it_the_wrong_way() -> None:
    chance = np.random.default_rng(3)
    for _ in range(200):
        learned, row = belief(), chance.normal(size=SIZE)
        before = float(learned.mean @ row)
        assert learned.cautious(row) < before
        right = bool(chance.random() < 0.5)
        learned.fit(row[None], np.array([float(right)]))
        assert (float(learned.mean @ row) > before) == right


def test_no_labels_however_odd_break_a_belief() -> None:
    for rows in (np.zeros((3, SIZE)), np.full((3, SIZE), 60_000.0), np.repeat(np.eye(SIZE)[:1], 800, axis=0)):
        learned = belief()
        learned.fit(rows, np.array([1.0, 0.0] * 400)[: len(rows)])
        assert np.isfinite(learned.mean).all()
        assert np.isfinite(learned.covariance).all()


def test_a_new_bar_lets_only_the_surest_pass_and_agreement_lowers_it() -> None:
    fresh = Bar(0.01)
    assert fresh.height() > 4
    assert filled(Bar(0.01), wrong_every=10_000, score=4.0).height() < fresh.height()


@pytest.mark.parametrize(("wrong_every", "noise", "passes"), [(25, 0.0, False), (25, 0.04, True), (500, 0.0, True)])
def test_contradictions_among_the_surest_close_a_scope_unless_answers_are_known_to_vary(
    wrong_every: int, noise: float, passes: bool
) -> None:
    assert math.isfinite(filled(Bar(0.01, noise), wrong_every).height()) == passes


def test_more_error_among_labels_never_lowers_the_bar() -> None:
    heights = [filled(Bar(0.02), wrong_every, score=3.5).height() for wrong_every in (1000, 100, 50, 20, 10, 5)]
    assert heights == sorted(heights)


def test_wrong_audited_hits_break_a_bar_and_right_ones_heal_it() -> None:
    bar = Bar(0.01)
    for _ in range(4):
        bar.learn(6.0, False, hit=True)
    assert bar.broken
    for _ in range(1_500):
        bar.learn(6.0, True, hit=True)
    assert not bar.broken


@pytest.mark.parametrize(
    ("wrong", "trials", "upper"), [(0, 0, 1.0), (0, 59, 0.0495), (1, 100, 0.0466), (5, 500, 0.0209)]
)
def test_the_upper_bound_is_that_of_the_tables(wrong: int, trials: int, upper: float) -> None:
    assert clopper_pearson_upper(wrong, trials) == pytest.approx(upper, abs=2e-4)


def test_the_bounds_enclose_the_share() -> None:
    for wrong in range(0, 40, 3):
        assert wilson_lower(wrong, 200) <= wrong / 200 <= clopper_pearson_upper(wrong, 200)
    assert wilson_lower(0, 0) == 0
