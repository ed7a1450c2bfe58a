"""What the tail and soak benches compute, and that they see what they are to see."""

from __future__ import annotations

import asyncio
import random
import time

import aiohttp
import pytest

from bench.provider import ProviderConfig, running_provider
from bench.soak.watch import Sample, slope, verdicts
from bench.tails import figures
from bench.tails.client import Ask, RoundRobin, timed
from bench.tails.scene import DEPLOYMENTS, question
from bench.tails.tables import tables

QUICK = Ask(0.0, "slow", 200, 0.5, 1.0, True)
LATE = Ask(0.0, "slow", 200, 0.5, 9.0, True)
NEVER = Ask(0.0, "hangs", 0, 20.0, 20.0, False)
REFUSED = Ask(0.0, "load", 429, 20.0, 0.01, False)


def test_who_never_had_a_first_token_counts_with_his_patience() -> None:
    found = figures.by_phase([QUICK, LATE, NEVER], 5.0)
    assert found["all ill"]["ttft_p99_s"] == 20.0
    assert found["slow"]["in_time"] == 0.5
    assert found["hangs"]["failed"] == 1.0


def test_goodput_counts_whole_answers_in_time_only() -> None:
    found = figures.load([QUICK] * 8 + [LATE, REFUSED], 5.0, for_s=2.0, capacity=5.0)
    assert (found["offered"], found["goodput"], found["refused"]) == (1.0, 0.8, 0.1)
    assert found["refusal_max_s"] == 0.01


def test_extra_tokens_are_those_beyond_one_whole_call_an_answer() -> None:
    def call(cancelled: bool, tokens: int, served: float | None = 1.0) -> dict[str, object]:
        return {"status": 200, "cancelled": cancelled, "prompt_tokens": tokens, "output_tokens": 0, "served": served}

    whole = [call(False, 100) for _ in range(10)]
    assert figures.extra_tokens(whole, 10) == 0.0
    assert figures.extra_tokens([*whole, call(True, 50)], 10) == 0.05
    assert figures.extra_tokens(whole, 5) == 1.0  # every answer was made twice
    assert figures.extra_tokens([*whole, call(True, 50, served=None)], 10) == 0.0  # left while in line: not billed


def test_goals_are_named_met_or_missed() -> None:
    phases = {"all ill": {"ttft_p99_s": 10.0}}
    better = {"all ill": {"ttft_p99_s": 1.0}}
    result = {"faults": {"round_robin": {"phases": phases}, "ocho": {"phases": better, "extra_tokens": 0.2}},
              "cancel": {"left": 3, "max_s": 0.02, "p50_s": 0.01}}  # fmt: skip
    found = figures.summary(result)
    assert found == {"p99_ttft_cut": 0.9, "extra_tokens": 0.2, "cancel_max_s": 0.02}
    marks = {row[0]: row[3] for row in tables({**result, "summary": found})[0][2]}
    assert marks == {"p99_ttft_cut": "met", "extra_tokens": "missed", "cancel_max_s": "met"}


async def test_the_baseline_takes_turns_and_asks_the_next_one_on_an_error() -> None:
    config = ProviderConfig(models=dict.fromkeys(DEPLOYMENTS, "instant"))
    async with running_provider(config) as provider, aiohttp.ClientSession() as http:
        client = RoundRobin(http, provider.base_url, DEPLOYMENTS)
        for _ in range(4):
            ask = await timed(client, question(random.Random(1)), time.monotonic(), 0.0, "well", 10.0)
            assert ask.complete
        assert [call.model for call in provider.calls] == DEPLOYMENTS
        async with http.post(f"{provider.root_url}/bench/ailments", json={"d1": {"refuses": True}}):
            pass
        ask = await timed(client, question(random.Random(2)), time.monotonic(), 0.0, "refuses", 10.0)
        assert ask.complete
        assert [call.model for call in provider.calls[-2:]] == ["d1", "d2"]


async def test_an_answer_that_stops_half_way_is_not_complete() -> None:
    config = ProviderConfig(models=dict.fromkeys(DEPLOYMENTS, "instant"))
    async with running_provider(config) as provider, aiohttp.ClientSession() as http:
        async with http.post(f"{provider.root_url}/bench/ailments", json={"d1": {"hangs": True}}):
            pass
        client = RoundRobin(http, provider.base_url, DEPLOYMENTS)
        ask = await timed(client, question(random.Random(1)), time.monotonic(), 0.0, "hangs", 0.5)
    assert not ask.complete
    assert ask.first_s < 0.5 == ask.seconds


def held(growing: float) -> list[Sample]:
    rng = random.Random(1)
    return [Sample(2.0 * n, 120 + growing * n + rng.uniform(-3, 3), 80.0, 40, 20, 5 + n % 4) for n in range(300)]


def test_what_stays_is_flat_and_what_grows_is_not() -> None:
    assert all(each["flat"] for each in verdicts(held(0.0)).values())
    grown = verdicts(held(0.1))  # 20 MB in the last 200 samples
    assert grown["rss_mb"]["grown"] == pytest.approx(20, abs=1)
    assert (grown["rss_mb"]["flat"], grown["tasks"]["flat"]) == (False, True)


def test_a_burst_does_not_bend_the_slope() -> None:
    times = [float(n) for n in range(100)]
    values = [5.0] * 100
    values[90:95] = [500.0] * 5
    assert slope(times, values) == 0.0
    assert slope(times, times) == 1.0


async def test_tasks_are_counted_in_the_metrics() -> None:
    from gateway.metrics import Metrics

    metrics = Metrics()
    before = metrics.registry.get_sample_value("ocho_asyncio_tasks") or 0.0
    waiting = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    assert metrics.registry.get_sample_value("ocho_asyncio_tasks") == before + 3
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
