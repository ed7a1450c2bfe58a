"""The latency model against the figures it was calibrated to. Draws only, no clock."""

from random import Random

import numpy as np
import pytest

from bench.provider.profiles import PROFILES, Failure, draw_answer_tokens, draw_fate

DRAWS = 20_000

# Seconds, p50 / p95 / p99, from the calibration's own Monte-Carlo run (research of 2026-11, section 3.2).
FIGURES = {
    "azure-gpt4-2023": {"ttft": (1.96, 3.5, 10.5), "long": (27.1, 46, 100), "short": (3.6, 6.6, 14)},
    "gpt35-2023": {"ttft": (0.71, 1.5, 7.8), "long": (13.6, 24, 39), "short": (1.7, 3.2, 8.8)},
    "gpt4o-2024": {"ttft": (0.83, 1.5, 2.9), "long": (7.9, 13, 22), "short": (1.3, 2.1, 3.8)},
    "mini-2025": {"ttft": (0.77, 1.2, 1.7), "long": (6.2, 10.4, 15), "short": (1.2, 1.7, 2.5)},
}
WORKLOADS = {"ttft": (4_000, 0), "long": (4_000, 450), "short": (1_500, 40)}  # prompt tokens, answer tokens


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_profile_has_the_published_percentiles(name: str, workload: str) -> None:
    rng, profile = Random(1), PROFILES[name]
    prompt_tokens, answer_tokens = WORKLOADS[workload]
    seconds = []
    for _ in range(DRAWS):
        fate = draw_fate(profile, rng, prompt_tokens, failures=False)
        seconds.append(fate.ttft_s + fate.decode_s(rng, answer_tokens))
    got = np.percentile(seconds, [50, 95, 99])
    want = np.array(FIGURES[name][workload])
    assert np.all(np.abs(got / want - 1) < [0.06, 0.10, 0.30]), f"{got} instead of {want}"


def test_the_gaps_of_a_stream_add_up_to_the_time_of_a_whole_answer() -> None:
    rng, profile = Random(2), PROFILES["gpt4o-2024"]
    fate = draw_fate(profile, rng, 100, failures=False)
    streamed = [sum(fate.gaps_s(rng, 50)) for _ in range(2_000)]
    whole = [fate.decode_s(rng, 50) for _ in range(2_000)]
    assert np.mean(streamed) == pytest.approx(np.mean(whole), rel=0.03)
    assert np.std(streamed) == pytest.approx(np.std(whole), rel=0.10)


def test_failures_come_at_their_rates_and_early() -> None:
    rng, profile = Random(3), PROFILES["azure-gpt4-2023"]
    fates = [draw_fate(profile, rng, 4_000, failures=True) for _ in range(40_000)]
    share = {failure: sum(fate.failure is failure for fate in fates) / len(fates) for failure in Failure}
    assert share[Failure.RATE_LIMITED] == pytest.approx(0.015, abs=0.002)
    assert share[Failure.SERVER_ERROR] == pytest.approx(0.003, abs=0.001)
    assert share[Failure.HANG] == pytest.approx(0.002, abs=0.001)
    limited = [fate for fate in fates if fate.failure is Failure.RATE_LIMITED]
    assert {fate.ttft_s for fate in limited} == {0.1}
    assert all(1 <= fate.retry_after_s <= 20 for fate in limited)


def test_switching_failures_on_leaves_the_other_calls_as_they_were() -> None:
    profile = PROFILES["gpt35-2023"]
    calm, rough = Random(4), Random(4)
    for _ in range(500):
        without = draw_fate(profile, calm, 900, failures=False)
        with_failures = draw_fate(profile, rough, 900, failures=True)
        assert with_failures.failure is not Failure.NONE or with_failures == without


@pytest.mark.parametrize(("name", "median"), [("azure-gpt4-2023", 450), ("gpt35-2023", 150)])
def test_answers_nobody_limits_have_the_length_of_their_time(name: str, median: int) -> None:
    rng = Random(5)
    lengths = [draw_answer_tokens(PROFILES[name], rng) for _ in range(DRAWS)]
    assert np.median(lengths) == pytest.approx(median, rel=0.02)
    assert np.std(np.log(lengths)) == pytest.approx(0.35, rel=0.05)
