"""When the big model is started, and how long a draft is waited for."""

from __future__ import annotations

from collections import deque

import pytest

from gateway.routing import race as racing
from gateway.routing.draft import PATIENT, Form
from gateway.routing.race import timing
from gateway.routing.spend import Allowance


@pytest.mark.parametrize(
    ("mode", "acceptance", "arm_s"),
    [("cascade", 0.9, None), ("race", 0.9, 0.0), ("armed", 0.9, 1.3), ("auto", 0.2, 0.0), ("auto", 0.5, 1.3),
     ("auto", 0.9, 2.0)],
)  # fmt: skip
def test_the_dial(mode: str, acceptance: float, arm_s: float | None) -> None:
    assert timing(mode, acceptance, 1.3, 2.0, 2.6, latest_s=2.0, guess=1.0).arm_s == arm_s


def test_the_allowance_bounds_what_guesses_cost() -> None:
    allowance, wasted = Allowance(0.15), 0.0
    for n in range(1, 1001):
        allowance.earn(1.0)
        if allowance.take(0.65):
            wasted += 0.65
        assert wasted <= 0.15 * n + 1e-9
    assert wasted > 0.15 * 1000 - 1.0


def test_a_guess_that_was_used_is_no_waste() -> None:
    allowance = Allowance(0.15, _balance=1.0)
    assert allowance.take(1.0)
    assert not allowance.take(0.1)
    allowance.give_back(1.0)
    assert allowance.take(1.0)


def test_patience_has_a_floor() -> None:
    assert timing("race", 0.5, 0.01, 0.015, 0.02, 1.0, 1.0).patience_s == racing.MIN_PATIENCE_S


def test_one_draft_in_seven_is_late_whatever_was_believed_before() -> None:
    form = Form(seconds=deque([1.0] * 100, maxlen=100))  # all of them were quick once
    late = []
    for n in range(2_000):
        seconds, patience = 1.0 + (n * 37 % 100) / 10, form.quantile(PATIENT)
        late.append(seconds > patience)
        if late[-1]:
            form.gave_up(patience - 1e-4)  # the race's clock starts a little before the draft's
        else:
            form.seconds.append(seconds)
    assert 0.1 <= sum(late[1_000:]) / 1_000 <= 0.2
    form.gave_up(0.1)  # its caller left
    assert min(form.seconds) >= 1.0
