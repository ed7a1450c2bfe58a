"""What is measured, and what must never be a label or a log line."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import prometheus_client
import pytest

from gateway.cache.admission import admissible
from gateway.chat import Answer, CacheOutcome, CacheWishes, ChatRequest, Evidence, ServedBy
from gateway.ingress.reply import server_timing
from gateway.instruments import FEW, Histogram
from gateway.metrics import Metrics
from tests.flows.house import FINE, event, house, model, refuses, scripted, streams

SERIES = (
    "gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds",
    "gen_ai_client_operation_duration_seconds", "gen_ai_client_token_usage_total", "ocho_request_duration_seconds",
    "ocho_time_to_first_token_seconds", "ocho_stage_duration_seconds", "ocho_cache_requests_total",
    "ocho_cache_writes_total", "ocho_upstream_attempts_total", "ocho_in_flight_requests", "ocho_slo_requests_total",
)  # fmt: skip
USAGE = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
COUNTED = (*FINE[:-1], USAGE, FINE[-1])
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
TIMING = re.compile(rf'{TOKEN}(;dur=\d+(\.\d+)?)?(;desc="[^"\\]*")?(, {TOKEN}(;dur=\d+(\.\d+)?)?(;desc="[^"\\]*")?)*')


async def test_a_callers_words_never_become_labels(tmp_path: Path) -> None:
    async with (
        scripted(streams(*COUNTED), streams(*COUNTED), refuses(404)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True), model("*", upstream.base_url)) as it,
    ):
        for name in ("m", "invented-by-a-caller"):
            await it.chat("비밀질문", name, body={"stream": True}, x_ocho_cache="on", x_request_id="id-of-a-caller")
        await it.chat("비밀질문", "another-invention")
        await it.get("/v1/strange-path-of-a-caller")
        await it.kept(2)
        shown = await it.metrics()
    for series in SERIES:
        assert re.search(rf"^{series}(_count)?[{{ ]", shown, re.MULTILINE), series
    assert not re.search("invent|strange|비밀|id-of|upstream-secret", shown)
    assert 'gen_ai_request_model="other"' in shown
    assert 'ocho_upstream_attempts_total{deployment="m-1"' in shown


async def test_relayed_chats_count_towards_the_promise(tmp_path: Path) -> None:
    async with scripted(streams(*FINE)) as upstream, house(tmp_path, model("m", upstream.base_url)) as it:
        await it.chat("hi", "m", body={"stream": True})
        assert it.count("ocho_slo_requests_total", result="good") == 1
        assert it.count("ocho_time_to_first_token_seconds_count", cache="bypass", model="m") == 1


async def test_what_was_written_down_is_in_the_next_scrape() -> None:
    metrics = Metrics(("m",))

    def value(series: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(series, labels)

    told = {"model": "other", "cache": "bypass", "served_by": "model", "stream": "false", "outcome": "ok"}
    for seconds in (5.0, 5.1, 0.2):
        metrics.requests["chat", "invented", "", (CacheOutcome.BYPASS, ServedBy.MODEL, False, "ok")].append(seconds)
    assert value("ocho_request_duration_seconds_count", **told) == 3
    assert value("ocho_request_duration_seconds_bucket", le="5.0", **told) == 2
    assert value("ocho_slo_requests_total", objective="5s", result="good") == 2
    assert value("ocho_slo_requests_total", objective="5s", result="bad") == 1
    broken = (CacheOutcome.BYPASS, ServedBy.MODEL, True, "upstream_error")
    metrics.requests["chat", "m", "502", broken].append(0.1)
    metrics.requests["chat", "m", "400", None].append(0.1)  # nothing that a cache or a model was asked for
    metrics.calls["d", "azure", "retry", "chat", "m", "429"].append(0.1)
    assert value("ocho_slo_requests_total", objective="5s", result="bad") == 2
    assert value("ocho_upstream_attempts_total", deployment="d", kind="retry", result="failed") == 1
    named = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "m"}
    at = {"gen_ai_provider_name": "azure", "error_type": "429"}
    assert value("gen_ai_client_operation_duration_seconds_count", **named, **at) == 1
    assert value("gen_ai_server_request_duration_seconds_count", **named, error_type="502") == 1
    assert value("gen_ai_server_request_duration_seconds_count", **named, error_type="400") == 1


@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, 1000])
def test_many_values_at_once_fall_into_the_buckets_that_the_library_puts_them_into(count: int) -> None:
    bounds, chance = (-1.0, 0.0, 0.5, 1.0, 2.5), random.Random(count)
    values = [chance.choice([*bounds, chance.uniform(-2, 4)]) for _ in range(count)]
    ours = Histogram("h", "h", buckets=bounds, registry=None)
    theirs = prometheus_client.Histogram("h", "h", buckets=bounds, registry=None)
    for value in values * 2:
        theirs.observe(value)
    for _ in range(2):
        ours.observe_all(np.array(values))
    mine, library = ({s.name + str(s.labels): s.value for f in h.collect() for s in f.samples} for h in (ours, theirs))
    assert mine == pytest.approx(library)


async def test_server_timing_is_well_formed_and_at_the_end_of_streams_a_comment(tmp_path: Path) -> None:
    async with (
        scripted(streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url), model("c", upstream.base_url, cache=True)) as it,
    ):
        whole = await it.chat("hi", "c")
        streamed = await it.chat("hi2", "c", body={"stream": True})
        relayed = await it.chat("hi", "m", body={"stream": True})
    for reply in (whole, streamed, relayed):
        assert TIMING.fullmatch(reply.headers["server-timing"]), reply.headers["server-timing"]
    assert "total;dur=" in whole.headers["server-timing"]
    assert re.search(rb"\n\n: ocho-timing \{[^\n]*\}\n\ndata: \[DONE\]\n\n$", streamed.body)


async def test_timing_and_hit_details_can_be_switched_off(tmp_path: Path) -> None:
    telemetry = {"server_timing": False, "hit_details": False}
    async with (
        scripted(streams(*FINE)) as upstream,
        house(tmp_path, model("c", upstream.base_url, cache=True), telemetry=telemetry) as it,
    ):
        await it.chat("hi", "c")
        await it.kept()
        hit = await it.chat("hi", "c", body={"stream": True})
    assert hit.headers["x-ocho-cache"] == "exact"
    assert not {"server-timing", "age", "x-ocho-entry", "x-ocho-similarity"} & set(hit.headers)
    assert b"ocho-timing" not in hit.body


def test_server_timing_of_nothing_and_of_odd_outcomes() -> None:
    assert server_timing({}) == ""
    made = server_timing({"cache_exact": (0.0011, "ok"), "retrieve": (0.5, "late")}, 1.0)
    assert made == 'cache_exact;dur=1.1, retrieve;dur=500.0;desc="late", total;dur=1000.0'


@pytest.mark.parametrize("reason", ["length", "content_filter", None])
def test_why_an_answer_is_not_kept_is_a_bounded_word(reason: str | None) -> None:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": reason}
    request = ChatRequest("m", (), False, False, {})
    verdict = admissible(request, Answer((choice,), "m"), Evidence(), CacheWishes())
    assert not verdict.keep
    Metrics().cache_written(verdict.reason)
