"""How many calls a deployment is given at once: no limit until it is congested, then near what it can do."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.limit import FLOOR, SAMPLES, TOLERANCE, Limit, Sample

KIND = "first token"


def feed(limit: Limit, seconds: float, in_flight: int, times: int = SAMPLES) -> None:
    for _ in range(times):
        limit.started(in_flight)
        limit.measured(KIND, Sample(seconds, in_flight), in_flight, ())


@given(seed=st.integers(0, 10_000), usual=st.floats(0.05, 20), in_flight=st.integers(1, 500))
def test_a_deployment_that_was_never_congested_has_no_limit(seed: int, usual: float, in_flight: int) -> None:
    rng = Random(seed)
    limit = Limit()
    for _ in range(200):
        limit.started(in_flight)
        limit.measured(KIND, Sample(usual * rng.uniform(0.85, 1.2), in_flight), in_flight, ())
    assert limit.value == math.inf


def test_the_first_congestion_sets_it_below_what_was_under_way() -> None:
    limit = Limit()
    feed(limit, 1.0, 5)
    feed(limit, 3.0, 40)
    assert FLOOR <= limit.value < 40


def test_calls_that_wait_count_before_they_end() -> None:
    limit = Limit()
    feed(limit, 1.0, 5)
    for _ in range(SAMPLES // 2):
        limit.started(60)
        limit.measured(KIND, Sample(1.0, 60), 60, [Sample(4.0, 60)] * 50)
    assert limit.value < 60


def test_it_is_set_by_what_was_under_way_when_the_late_calls_began() -> None:
    limit = Limit()
    feed(limit, 1.0, 5)
    for _ in range(SAMPLES):  # among 20 a call took three times as long; by now there are 90
        limit.started(90)
        limit.measured(KIND, Sample(3.0, 20), 90, [Sample(2.5, 80)] * 40)
    assert limit.value < 20


def test_a_line_of_ones_own_does_not_become_the_usual() -> None:
    limit = Limit(learned=10.0)
    feed(limit, 1.0, 3)
    for _ in range(50):
        feed(limit, 1.4, int(limit.value))
    assert limit.levels[KIND].usual_s < 1.2


def test_room_that_is_used_grows_and_room_that_is_not_stays() -> None:
    limit = Limit(learned=10.0)
    feed(limit, 1.0, 3, 5 * SAMPLES)
    assert limit.value == 10.0
    feed(limit, 1.0, 10, 5 * SAMPLES)
    assert limit.value > 10.0


def test_it_never_falls_again_before_the_last_fall_took_effect() -> None:
    limit = Limit()
    feed(limit, 1.0, 5)
    feed(limit, 3.0, 40)
    once = limit.value
    feed(limit, 3.0, 40, 3 * SAMPLES)  # as many as before are still under way
    assert limit.value == once


@pytest.mark.parametrize("seed", range(4))
def test_bursts_are_not_starved_by_a_limit_that_was_learned_once(seed: int) -> None:
    """A healthy deployment, whose times do not depend on load: log-normal, 3 % stalls. Every fourth burst is large."""
    rng, limit, waited = Random(seed), Limit(learned=8.0), []
    for number in range(40):
        now, to_come = 0.0, 24 if number % 4 == 0 else rng.randint(1, 6)
        running: list[tuple[float, float, int]] = []  # when it will answer, when it began, among how many
        while to_come or running:
            while to_come and len(running) < limit.value:
                among, to_come = len(running) + 1, to_come - 1
                limit.started(among)
                takes_s = 0.45 * rng.lognormvariate(0, 0.5) + 5.0 * (rng.random() < 0.03)
                heapq.heappush(running, (now + takes_s, now, among))
                waited.append(now)
            now, began, among = heapq.heappop(running)
            others = sorted((Sample(now - at, beside) for _, at, beside in running), reverse=True)
            limit.measured(KIND, Sample(now - began, among), len(running), others, 0.5)
    assert sum(waited) / len(waited) < 0.25  # most of it before it is known anew how much it takes


def test_slowness_that_is_not_ours_ends_in_no_limit() -> None:
    limit = Limit()
    feed(limit, 1.0, 8, 4 * SAMPLES)
    for _ in range(20):  # eight times slower, however few are under way
        feed(limit, 8.0, max(1, int(min(limit.value, 8))))
    assert limit.value == math.inf
    feed(limit, 8.0 * TOLERANCE * 0.9, 8, 4 * SAMPLES)
    assert limit.value == math.inf  # that is the usual now


@given(st.lists(st.tuples(st.floats(0.001, 600), st.integers(0, 1000)), max_size=200))
def test_it_is_never_below_the_floor_nor_above_what_was_configured(news: list[tuple[float, int]]) -> None:
    limit = Limit(most=20)
    for seconds, in_flight in news:
        limit.started(in_flight)
        limit.measured(KIND, Sample(seconds, in_flight), in_flight, [Sample(seconds / 2, in_flight)])
        assert FLOOR <= limit.value <= 20


def test_whole_answers_and_first_tokens_are_not_mixed_up() -> None:
    limit = Limit()
    feed(limit, 0.5, 5, 3 * SAMPLES)
    for _ in range(3 * SAMPLES):
        limit.measured("chat", Sample(20.0, 5), 5, ())
    assert limit.value == math.inf
