"""Which deployment is asked first."""

from __future__ import annotations

from gateway.chat import Deployment
from gateway.routing.deployments import FAILURES_TO_SET_ASIDE, SET_ASIDE_S, Health
from gateway.routing.policy import rank


def health(name: str, first_token_s: float = 0.0, in_flight: int = 0, failures: int = 0, aside_until: float = 0.0
           ) -> Health:  # fmt: skip
    return Health(
        Deployment(name, "openai", "http://h", ""), first_token_s=first_token_s, in_flight=in_flight,
        failures=failures, aside_until=aside_until,
    )  # fmt: skip


def names(ranked: list[Health]) -> list[str]:
    return [h.deployment.name for h in ranked]


def draws(*numbers: int):  # type: ignore[no-untyped-def]
    left = list(numbers)
    return lambda n: left.pop(0) % n


def test_the_better_of_two_drawn_goes_first_and_the_rest_in_order() -> None:
    candidates = [health("slow", 3.0), health("quick", 0.5), health("busy", 0.5, in_flight=9)]
    assert names(rank(candidates, 0.0, draws(0, 2))) == ["slow", "quick", "busy"]
    assert names(rank(candidates, 0.0, draws(1, 2))) == ["quick", "slow", "busy"]


def test_those_set_aside_go_last_soonest_back_first() -> None:
    candidates = [health("late", aside_until=90.0), health("soon", aside_until=20.0), health("fit", 9.0)]
    assert names(rank(candidates, 10.0, draws(0, 0))) == ["fit", "soon", "late"]
    assert names(rank(candidates[:2], 10.0, draws())) == ["soon", "late"]


def test_a_deployment_that_failed_last_time_goes_behind_one_that_did_not() -> None:
    candidates = [health("failed", 0.1, failures=1), health("fine", 5.0)]
    assert names(rank(candidates, 0.0, draws(0, 1))) == ["fine", "failed"]


def test_failures_in_a_row_set_aside_and_one_success_forgives() -> None:
    one = health("d")
    for _ in range(FAILURES_TO_SET_ASIDE):
        assert one.state(0.0) == 0
        one.failed(0.0, None)
    assert one.state(SET_ASIDE_S - 1) == 2
    assert one.state(SET_ASIDE_S + 1) == 1  # worth one probe
    one.succeeded(0.5, SET_ASIDE_S + 1)
    assert one.state(SET_ASIDE_S + 1) == 0


def test_retry_after_sets_aside_at_once_and_is_never_shortened() -> None:
    one = health("d")
    one.failed(0.0, 30.0)
    one.failed(1.0, 2.0)
    assert (one.state(29.0), one.state(31.0)) == (2, 0)


def test_a_slow_first_token_counts_at_once_and_fades() -> None:
    one = health("d")
    one.succeeded(1.0, 0.0)
    one.succeeded(5.0, 1.0)
    assert one.first_token_s == 5.0
    one.succeeded(1.0, 2.0)
    soon = one.first_token_s
    one.succeeded(1.0, 60.0)
    assert 1.0 <= one.first_token_s < soon < 5.0
