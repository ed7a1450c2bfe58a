"""Kept answers, twins in flight, and what callers may ask of both."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.provider import Provider, ProviderConfig, running_provider
from gateway.embedding.local import LocalEmbedder
from tests.embedding.test_onnx_folder import exported
from tests.flows.house import FINE, House, asked_by, chunk, house, model, scripted, streams
from tests.redis_server import free_port, redis_server

KOREAN = "연차휴가는 며칠인가요?"


@pytest.fixture
async def it(kept_in: dict[str, Any], provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    named = [model("m", provider.base_url, cache=True), model("plain", provider.base_url)]
    async with house(tmp_path, *named, cache=kept_in) as running:
        yield running


def outcome(reply: Any) -> str:
    return str(reply.headers["x-ocho-cache"])


async def test_one_entry_serves_stream_and_whole_callers_with_a_fresh_identity(it: House, provider: Provider) -> None:
    first = await it.chat(KOREAN, "m", body={"stream": True})
    assert outcome(first) == "miss"
    await it.kept()
    whole = await it.chat(KOREAN, "m")
    streamed = await it.chat(KOREAN, "m", body={"stream": True, "stream_options": {"include_usage": True}})
    assert len(provider.calls) == 1
    assert first.text == whole.text == streamed.text
    for hit in (whole, streamed):
        assert outcome(hit) == "exact"
        assert hit.headers["x-ocho-served-by"] == "cache"
        assert hit.headers["age"].isdigit()
        assert hit.headers["x-ocho-entry"]
    assert streamed.events[-1] == b"[DONE]"
    assert streamed.chunks[-1]["usage"] == whole.json["usage"]
    assert len({first.chunks[0]["id"], whole.json["id"], streamed.chunks[0]["id"]}) == 3


async def test_composed_and_decomposed_hangul_are_one_question(it: House, provider: Provider) -> None:
    await it.chat(unicodedata.normalize("NFD", KOREAN), "m")
    await it.kept()
    assert outcome(await it.chat(unicodedata.normalize("NFC", KOREAN), "m")) == "exact"
    assert asked_by(provider) == [unicodedata.normalize("NFD", KOREAN)]


async def test_tool_calls_are_kept_and_replayed(it: House, provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"q": {"type": "string"}}}}}]
    body = {"tools": tools, "tool_choice": "required"}
    first = await it.chat("부르세요", "m", body=body)
    await it.kept()
    async with it.openai() as client:
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "부르세요"}], stream=True, extra_body=body
        )
        parts = [c.choices[0].delta.tool_calls async for c in stream if c.choices]
    call = first.json["choices"][0]["message"]["tool_calls"][0]
    assert (
        "".join(p.function.arguments or "" for ps in parts if ps for p in ps if p.function)
        == call["function"]["arguments"]
    )
    assert len(provider.calls) == 1


async def test_cache_control_of_the_caller_is_obeyed(it: House, provider: Provider) -> None:
    missing = await it.chat(KOREAN, "m", cache_control="only-if-cached")
    assert (missing.status, missing.error["code"]) == (504, "only_if_cached")
    assert outcome(await it.chat(KOREAN, "m", cache_control="no-store")) == "bypass"
    assert outcome(await it.chat(KOREAN, "m")) == "miss"  # no-store left nothing behind
    await it.kept()
    assert outcome(await it.chat(KOREAN, "m", cache_control="only-if-cached")) == "exact"
    assert outcome(await it.chat(KOREAN, "m", cache_control="max-age=3600")) == "exact"
    assert outcome(await it.chat(KOREAN, "m", cache_control="max-age=0")) == "miss"
    assert outcome(await it.chat(KOREAN, "m", cache_control="No-Cache")) == "bypass"
    assert len(provider.calls) == 4


async def test_x_ocho_cache_chooses_reading_and_writing(it: House, provider: Provider) -> None:
    assert outcome(await it.chat(KOREAN, "m", x_ocho_cache="read")) == "miss"
    assert outcome(await it.chat(KOREAN, "m", x_ocho_cache="off")) == "bypass"
    assert outcome(await it.chat(KOREAN, "m", x_ocho_cache="write")) == "bypass"
    await it.kept()
    assert outcome(await it.chat(KOREAN, "m", x_ocho_cache="read")) == "exact"
    assert outcome(await it.chat(KOREAN, "m", body={"ocho": {"cache": "off"}})) == "bypass"
    assert len(provider.calls) == 4


async def test_a_model_without_cache_has_one_for_those_who_ask(it: House, provider: Provider) -> None:
    assert outcome(await it.chat(KOREAN, "plain")) == "bypass"
    assert outcome(await it.chat(KOREAN, "plain", x_ocho_cache="on")) == "miss"
    await it.kept()
    assert outcome(await it.chat(KOREAN, "plain", body={"ocho": {"cache": "on"}})) == "exact"
    assert outcome(await it.chat(KOREAN, "plain")) == "bypass"


async def test_ttl_and_namespace_are_the_callers(it: House) -> None:
    await it.chat("짧게", "m", x_ocho_cache_ttl="0")
    await it.kept()
    assert outcome(await it.chat("짧게", "m")) == "miss"
    await it.chat("이름", "m", x_ocho_cache_namespace="v1")
    await it.kept(3)
    assert outcome(await it.chat("이름", "m", x_ocho_cache_namespace="v1")) == "exact"
    assert outcome(await it.chat("이름", "m", x_ocho_cache_namespace="v2")) == "miss"
    assert outcome(await it.chat("이름", "m")) == "miss"


async def test_anything_that_may_change_the_answer_makes_another_entry(it: House, provider: Provider) -> None:
    bodies: list[dict[str, Any]] = [
        {}, {"temperature": 0.1}, {"max_tokens": 5}, {"unknown_knob": 1}, {"response_format": {"type": "json_object"}},
        {"seed": 3}, {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": KOREAN}]},
        {"messages": [{"role": "user", "content": KOREAN, "name": "kim"}]},
    ]  # fmt: skip
    for body in bodies:
        assert outcome(await it.chat(KOREAN, "m", body=body)) == "miss", body
    for neutral in ({"user": "u1"}, {"metadata": {"a": "b"}}, {"temperature": None}):
        await it.kept(1)
        assert outcome(await it.chat(KOREAN, "m", body=neutral)) == "exact", neutral


async def test_tenants_never_see_each_others_answers(provider: Provider, tmp_path: Path) -> None:
    keys = [{"key": f"key-of-{who}-{n}", "tenant": who} for who in ("a", "b") for n in (1, 2)]
    server = {"host": "127.0.0.1", "port": 0}
    async with house(tmp_path, model("m", provider.base_url, cache=True), auth={"keys": keys}, server=server) as it:
        assert outcome(await it.chat(KOREAN, "m", api_key="key-of-a-1")) == "miss"
        await it.kept()
        assert outcome(await it.chat(KOREAN, "m", api_key="key-of-b-1")) == "miss"
        assert outcome(await it.chat(KOREAN, "m", api_key="key-of-a-2")) == "exact"
        # and twins in flight are apart too
        both = [it.chat("동시에", "m", api_key=f"key-of-{who}-1") for who in ("a", "b")]
        assert [outcome(r) for r in await asyncio.gather(*both)] == ["miss", "miss"]


async def test_a_thousand_twins_cost_one_call(tmp_path: Path) -> None:
    slow = streams(*FINE, every_s=0.4)
    async with scripted(slow) as upstream, house(tmp_path, model("m", upstream.base_url, cache=True)) as it:
        early = [asyncio.create_task(it.chat(KOREAN, "m", body={"stream": n % 2 == 0})) for n in range(800)]
        while not upstream.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.45)  # the answer has begun
        late = [asyncio.create_task(it.chat(KOREAN, "m", body={"stream": n % 2 == 0})) for n in range(200)]
        replies = await asyncio.gather(*early, *late)
        assert {r.text for r in replies} == {"안녕하세요"}
        outcomes = [outcome(r) for r in replies]
    assert len(upstream.asked) == 1
    assert outcomes.count("miss") == 1
    assert set(outcomes) <= {"miss", "coalesced", "exact"}
    assert outcomes.count("coalesced") > 500


async def test_a_leader_who_hangs_up_leaves_the_answer_to_the_others(tmp_path: Path) -> None:
    slow = streams(*FINE, every_s=0.06)
    async with scripted(slow) as upstream, house(tmp_path, model("m", upstream.base_url, cache=True)) as it:
        leader = asyncio.create_task(it.chat(KOREAN, "m", body={"stream": True}))
        while not upstream.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        follower = asyncio.create_task(it.chat(KOREAN, "m", body={"stream": True}))
        await asyncio.sleep(0.03)
        leader.cancel()
        reply = await follower
        assert (reply.text, outcome(reply)) == ("안녕하세요", "coalesced")
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("name", ["m", "plain"])
async def test_when_all_hang_up_the_provider_is_told(tmp_path: Path, name: str) -> None:
    async with running_provider(ProviderConfig(profile="gpt4o-2024", time_scale=2)) as provider:
        named = [model("m", provider.base_url, cache=True), model("plain", provider.base_url)]
        async with house(tmp_path, *named) as it:
            asks = [asyncio.create_task(it.chat(KOREAN, name, body={"stream": True})) for _ in range(3)]
            await provider.until(lambda calls: len(calls) == (1 if name == "m" else 3))
            for ask in asks:
                ask.cancel()
            await provider.until(lambda calls: all(call.cancelled for call in calls))
            while it.count("ocho_in_flight_requests"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert it.count("ocho_client_disconnects_total") == 3
            assert it.count("ocho_cache_writes_total") == 0


async def test_a_failed_answer_is_told_to_all_twins_and_kept_for_none(tmp_path: Path) -> None:
    broken = streams(chunk("반"), then="cut", every_s=0.05)
    async with (
        scripted(broken, streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True, retries=0)) as it,
    ):
        replies = await asyncio.gather(*(it.chat(KOREAN, "m") for _ in range(20)))
        assert {r.status for r in replies} == {502}
        assert len(upstream.asked) == 1
        again = await it.chat(KOREAN, "m")
        assert (again.text, outcome(again)) == ("안녕하세요", "miss")


async def test_answers_cut_short_by_their_length_are_not_kept(it: House, provider: Provider) -> None:
    for _ in range(2):
        assert outcome(await it.chat(KOREAN, "m", body={"max_tokens": 1})) == "miss"
    assert len(provider.calls) == 2


async def test_redis_hung_or_killed_costs_nothing_but_its_answers(provider: Provider, tmp_path: Path) -> None:
    with redis_server() as server:
        cache = {"store": "redis", "redis": {"url": server.url, "timeout_s": 0.2}}
        async with house(tmp_path, model("m", provider.base_url, cache=True), cache=cache) as it:
            await it.chat(KOREAN, "m")
            await it.kept()
            async with asyncio.timeout(60):  # a lookup over its budget is a miss: a busy machine
                while outcome(await it.chat(KOREAN, "m")) != "exact":
                    await it.kept()
            server.pause()
            for number in range(5):
                assert (await it.chat(f"{KOREAN}{number}", "m")).status == 200
            async with asyncio.timeout(60):  # the answers that it makes meanwhile are given again
                while outcome(await it.chat(f"{KOREAN}{number}", "m")) != "exact":
                    await it.kept()
            assert (await it.get("/readyz")).status == 200
            server.resume()
            server.stop()
            for number in range(5):
                reply = await it.chat(f"{KOREAN}, {number}", "m", body={"stream": True})
                assert (reply.status, outcome(reply)) == (200, "miss")
            assert (await it.get("/readyz")).status == 200


async def test_redis_down_at_the_start_is_no_reason_not_to_serve(provider: Provider, tmp_path: Path) -> None:
    cache = {"store": "redis", "redis": {"url": f"redis://127.0.0.1:{free_port()}/0"}}
    async with house(tmp_path, model("m", provider.base_url, cache=True), cache=cache) as it:
        assert outcome(await it.chat(KOREAN, "m")) == "miss"
        await it.kept()
        assert outcome(await it.chat(KOREAN, "m")) == "exact"  # made by this process meanwhile


async def test_two_gateways_share_one_redis(provider: Provider, tmp_path: Path, redis_url: str) -> None:
    cache = {"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}, "secret": "the same at both"}
    named = model("m", provider.base_url, cache=True)
    async with house(tmp_path / "1", named, cache=cache) as one, house(tmp_path / "2", named, cache=cache) as other:
        await one.chat(KOREAN, "m")
        await one.kept()
        assert outcome(await other.chat(KOREAN, "m")) == "exact"


@pytest.fixture(params=["local", "onnx", "embedding-model"])
async def by_meaning(request: pytest.FixtureRequest, provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    semantic: dict[str, Any] = {"embedder": request.param}
    if request.param == "onnx":
        semantic["onnx"] = {"folder": str(exported(tmp_path / "minilm"))}
    if request.param == "local":
        try:
            LocalEmbedder()
        except RuntimeError as error:
            pytest.skip(f"THE SEMANTIC CACHE IS NOT TESTED WITH ITS LOCAL EMBEDDER: {error}")
    named = [model("m", provider.base_url, cache=True), model("embedding-model", provider.base_url)]
    async with house(tmp_path, *named, cache={"semantic": semantic}) as running:
        yield running


async def test_the_same_question_in_another_dress_is_a_hit_and_a_trap_is_a_miss(by_meaning: House) -> None:
    it = by_meaning
    for year in range(2020, 2040):  # a busy machine may embed too late now and then
        await it.chat(f"정규직의 {year}년 연차휴가는 15일인가요?", "m")
        await it.kept(2 * (year - 2020) + 1)  # two questions went to the cache for every year before
        again = await it.chat(f"  정규직의  {year}년 연차휴가는 15일인가요", "m")
        if outcome(again) == "semantic":
            break
        await asyncio.sleep(0.2)
    assert outcome(again) == "semantic"
    assert 0 < float(again.headers["x-ocho-similarity"]) <= 1.0001
    assert it.count("ocho_cache_similarity_count") == 1
    assert it.count("ocho_cache_entry_age_seconds_count", tier="semantic") == 1
    for trap in (
        f"정규직의 {year}년 연차휴가는 16일인가요?",
        f"정규직의 {year}년 연차휴가는 15일이 아닌가요?",
        f"계약직의 {year}년 연차휴가는 15일인가요?",
    ):
        assert outcome(await it.chat(trap, "m")) == "miss", trap


async def test_english_in_another_dress_is_a_hit_and_a_trap_is_a_miss(by_meaning: House) -> None:
    it = by_meaning
    for year in range(2020, 2040):
        await it.chat(f"Do full-time employees get 15 days of leave in {year}?", "m")
        await it.kept(2 * (year - 2020) + 1)
        again = await it.chat(f"  do full-time  employees get 15 days of leave in {year}", "m")
        if outcome(again) == "semantic":
            break
        await asyncio.sleep(0.2)
    assert outcome(again) == "semantic"
    for trap in (
        f"Do full-time employees get 16 days of leave in {year}?",
        f"Do full-time employees not get 15 days of leave in {year}?",
        f"정규직의 {year}년 연차휴가는 15일인가요?",
    ):
        assert outcome(await it.chat(trap, "m")) == "miss", trap


async def test_an_embedder_that_fails_costs_nothing_but_its_hits(tmp_path: Path) -> None:
    async with scripted(streams(*FINE)) as upstream:  # answers embeddings with a stream: nonsense
        named = [model("m", upstream.base_url, cache=True), model("e", upstream.base_url, retries=0)]
        async with house(tmp_path, *named, cache={"semantic": {"embedder": "e"}}) as it:
            assert (await it.chat(KOREAN, "m")).text == "안녕하세요"
            await it.kept()
            assert outcome(await it.chat(KOREAN, "m")) == "exact"
