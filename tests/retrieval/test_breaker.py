from __future__ import annotations

from gateway.retrieval.breaker import FAILURES, FIRST_PAUSE_S, Breaker


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def opened(now: Now) -> Breaker:
    breaker = Breaker(now)
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed(0.6)
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_resets_the_count() -> None:
    now = Now()
    breaker = Breaker(now)
    for _ in range(10):
        breaker.failed(0.6)
        breaker.answered(0.1)
    assert breaker.allows()
    assert not opened(now).allows()


def test_after_the_pause_one_request_tries() -> None:
    now = Now()
    breaker = opened(now)
    now.s += FIRST_PAUSE_S
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.answered(0.1)
    assert breaker.allows()
    assert breaker.allows()


def test_each_failed_try_doubles_the_pause() -> None:
    now = Now()
    breaker = opened(now)
    now.s += FIRST_PAUSE_S
    assert breaker.allows()
    breaker.failed(0.6)
    now.s += FIRST_PAUSE_S
    assert breaker.allows()
    breaker.failed(0.6)
    now.s += FIRST_PAUSE_S
    assert not breaker.allows()
    now.s += FIRST_PAUSE_S
    assert breaker.allows()


def test_an_abandoned_try_lets_the_next_request_try() -> None:
    now = Now()
    breaker = opened(now)
    now.s += FIRST_PAUSE_S
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.allows()


def test_it_knows_roughly_how_long_the_source_takes() -> None:
    breaker = Breaker(Now())
    for _ in range(30):
        breaker.answered(0.3)
    assert breaker.expected_s is not None
    assert abs(breaker.expected_s - 0.3) < 0.01
