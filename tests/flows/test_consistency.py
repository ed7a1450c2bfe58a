"""The same question in other words, over HTTP: judged, followed, brought back, renewed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis.asyncio as redis_client

from bench.provider import Faults, Provider, ProviderConfig, running_provider
from bench.provider.truths import Truths, squeezed
from gateway.app import serving
from gateway.cache.inflight import Flight
from tests.flows.house import House, Scripted, _http, chunk, fill, model, refuses, scripted, settings, streams

LEAVE = (
    "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 16일이다.\n\n"
    "## 이월\n\n정규직의 남은 연차휴가는 다음 해로 6일까지 이월된다.\n"
)
LEAVE_ASKED = (
    "정규직 직원은 연차휴가가 1년에 며칠인가요?",
    "정규직 연차 며칠?",
    "저 정규직인데 연차휴가를 며칠이나 쓸 수 있어요?",
    "정규직한테 주는 연차휴가 일수 알려줘",
)
CARRY_ASKED = ("정규직의 남은 연차휴가는 며칠까지 이월되나요?",)
MEANINGS = {squeezed(q): g for g, asked in (("leave", LEAVE_ASKED), ("carry", CARRY_ASKED)) for q in asked}
TRUTHS = Truths(MEANINGS)


@asynccontextmanager
async def provider(**more: Any) -> AsyncIterator[Provider]:
    config = ProviderConfig(**{"profile": "instant", "truths": TRUTHS, "faults": Faults(), **more})
    async with running_provider(config) as running:
        yield running


@asynccontextmanager
async def gateway(
    folder: Path,
    upstream: Provider | Scripted,
    kept_in: dict[str, Any],
    *,
    judge: str = "small",
    embedder: str = "embedder",
    small: dict[str, Any] | None = None,
    wall_clock: Callable[[], float] = time.time,
    draft: dict[str, Any] | None = None,
    **settle: Any,
) -> AsyncIterator[House]:
    handbook = {
        "name": "handbook", "answers_with": "big", "documents": {"collections": ["hr"], "hard_s": 5}, "settle": settle,
        "draft": draft, "deadline": {"seconds": 30} if draft else None,
    }  # fmt: skip
    price = {"input": 1.0, "output": 1.0}
    cheap = {"input": 0.01, "output": 0.01}
    models = (
        model("big", upstream.base_url, price=price),
        small or model("small", upstream.base_url, price=cheap),
        model("embedder", upstream.base_url),
        handbook,
    )
    semantic = {"embedder": embedder, "judge": {"model": judge, "patience_s": 15}}
    made = settings(folder, *models, documents=[{"name": "hr"}], cache={**kept_in, "semantic": semantic})
    async with serving(made, wall_clock) as (running, port), _http() as http:
        docs = folder / "docs"
        if not docs.exists():
            docs.mkdir()
            (docs / "leave.md").write_text(LEAVE, encoding="utf-8")
            await fill(made, "hr", docs)
        yield House(running, port, http)


def calls(upstream: Provider, kind: str) -> int:
    chats = [call.body for call in upstream.calls if call.path.endswith("chat/completions")]
    return sum((body.get("max_tokens") == 1) == (kind == "judge") for body in chats)


async def test_a_judged_question_gets_the_same_bytes_and_is_an_alias_from_then_on(
    tmp_path: Path, kept_in: dict[str, Any]
) -> None:
    async with provider() as upstream, gateway(tmp_path, upstream, kept_in) as it:
        first = await it.chat(LEAVE_ASKED[0], "handbook")
        await it.kept(1)
        judged = await it.chat(LEAVE_ASKED[1], "handbook")
        assert judged.headers["x-ocho-cache"] == "semantic"
        assert judged.text == first.text
        assert calls(upstream, "answer") == 1
        await it.kept(2)
        asked = calls(upstream, "judge")
        again = await it.chat(LEAVE_ASKED[1], "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", first.text)
        assert calls(upstream, "judge") == asked
        assert it.count("ocho_judge_total", result="yes") >= 1
        assert it.count("ocho_spend_tokens_total", reason="judge", type="input") > 0


async def test_what_the_rule_recognised_is_an_alias_as_well(tmp_path: Path, kept_in: dict[str, Any]) -> None:
    async with provider() as upstream, gateway(tmp_path, upstream, kept_in, judge="off", embedder="local") as it:
        first = await it.chat(LEAVE_ASKED[0], "handbook")
        await it.kept(1)
        dressed = f"혹시 {LEAVE_ASKED[0]}"
        by_meaning = await it.chat(dressed, "handbook")
        assert (by_meaning.headers["x-ocho-cache"], by_meaning.text) == ("semantic", first.text)
        await it.kept(2)
        again = await it.chat(dressed, "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", first.text)


async def test_a_no_is_a_miss_and_without_a_judge_so_is_everything_grey(
    tmp_path: Path, kept_in: dict[str, Any]
) -> None:
    async with provider() as upstream:
        async with gateway(tmp_path, upstream, kept_in) as it:
            await it.chat(LEAVE_ASKED[0], "handbook")
            await it.kept(1)
            other = await it.chat(CARRY_ASKED[0], "handbook")
            assert other.headers["x-ocho-cache"] == "miss"
            assert "6일" in other.text
            assert it.count("ocho_judge_total", result="no") >= 1
        before = calls(upstream, "judge")
        async with gateway(tmp_path / "other", upstream, {}, judge="off") as it:
            await it.chat(LEAVE_ASKED[0], "handbook")
            await it.kept(1)
            assert (await it.chat(LEAVE_ASKED[1], "handbook")).headers["x-ocho-cache"] == "miss"
        assert calls(upstream, "judge") == before


async def test_an_alias_goes_when_its_document_changes(tmp_path: Path, kept_in: dict[str, Any]) -> None:
    async with provider() as upstream, gateway(tmp_path, upstream, kept_in) as it:
        for number, question in enumerate(LEAVE_ASKED[:2], start=1):
            assert "16일" in (await it.chat(question, "handbook")).text
            await it.kept(number)
        (tmp_path / "docs" / "leave.md").write_text(LEAVE.replace("16일", "18일"), encoding="utf-8")
        await fill(it.gateway.settings, "hr", tmp_path / "docs")
        for question in LEAVE_ASKED[:2]:
            reply = await it.chat(question, "handbook")
            assert reply.headers["x-ocho-cache"] in {"miss", "semantic"}
            assert "18일" in reply.text


async def test_a_hundred_twins_at_once_get_one_answer(tmp_path: Path) -> None:
    async with provider(profile="mini-2025", time_scale=0.05) as upstream, gateway(tmp_path, upstream, {}) as it:
        questions = [
            q for n in range(25) for q in (f"{LEAVE_ASKED[0]}", LEAVE_ASKED[1], LEAVE_ASKED[2], LEAVE_ASKED[3])
        ]
        replies = await asyncio.gather(*(it.chat(q, "handbook") for q in questions))
        assert {r.status for r in replies} == {200}
        assert len({r.text for r in replies}) == 1
        assert calls(upstream, "answer") <= 2  # of which one could have begun before any other was known
        await it.kept(1)
        assert (await it.chat(LEAVE_ASKED[3], "handbook")).text == replies[0].text


async def test_who_leaves_while_another_asks_is_forgotten(tmp_path: Path) -> None:
    """Each has seen the one before: a chain of them would keep every request that ever was."""
    async with provider(profile="gpt4o-2024") as upstream, gateway(tmp_path, upstream, {}, judge="off") as it:
        asks: list[asyncio.Task[Any]] = []
        for number in range(1, 7):
            asks.append(asyncio.create_task(it.chat(f"{number}번 {LEAVE_ASKED[0]}", "handbook")))
            await upstream.until(lambda _: calls(upstream, "answer") == len(asks))
            if asks[:-1]:
                asks[-2].cancel()
        asks[-1].cancel()
        while it.count("ocho_in_flight_requests"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert it.count("ocho_client_disconnects_total") == 6
        gc.collect()
        assert not [made for made in gc.get_objects() if isinstance(made, Flight)]


async def test_what_was_evicted_comes_back_byte_for_byte(tmp_path: Path, redis_url: str) -> None:
    kept_in = {"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}}
    async with provider() as upstream:
        async with gateway(tmp_path, upstream, kept_in) as it:
            first = await it.chat(LEAVE_ASKED[0], "handbook")
            await it.kept(1)
        client = redis_client.from_url(redis_url)
        names = [name async for name in client.scan_iter(match="ocho:*:e:*")]
        assert len(names) == 1
        await client.unlink(*names)
        await client.aclose()
        async with gateway(tmp_path, upstream, kept_in) as it:
            again = await it.chat(LEAVE_ASKED[0], "handbook")
            assert (again.headers["x-ocho-cache"], again.text) == ("exact", first.text)
        assert calls(upstream, "answer") == 1


async def test_what_the_cache_lost_altogether_comes_back_from_disk(tmp_path: Path, kept_in: dict[str, Any]) -> None:
    async with provider() as upstream:
        async with gateway(tmp_path, upstream, kept_in) as it:
            first = await it.chat(LEAVE_ASKED[0], "handbook")
            await it.kept(1)
        if kept_in:
            client = redis_client.from_url(kept_in["redis"]["url"])
            await client.flushdb()
            await client.aclose()
        async with gateway(tmp_path, upstream, kept_in) as it:
            again = await it.chat(LEAVE_ASKED[0], "handbook")
            assert (again.headers["x-ocho-cache"], again.text) == ("exact", first.text)
        assert calls(upstream, "answer") == 1


async def test_after_its_time_an_answer_is_asked_for_again_and_keeps_its_bytes(
    tmp_path: Path, kept_in: dict[str, Any]
) -> None:
    ahead = [0.0]
    async with (
        provider() as upstream,
        gateway(tmp_path, upstream, kept_in, wall_clock=lambda: time.time() + ahead[0]) as it,
    ):
        first = await it.chat(LEAVE_ASKED[0], "handbook")
        await it.kept(1)
        ahead[0] = 90_000.0
        again = await it.chat(LEAVE_ASKED[0], "handbook")
        assert again.text == first.text
        assert calls(upstream, "answer") == 2
        assert "Earlier answer: " in upstream.calls[-1].body["messages"][0]["content"]
        await it.kept(2)
        assert (await it.chat(LEAVE_ASKED[0], "handbook")).headers["x-ocho-cache"] == "exact"
        assert calls(upstream, "answer") == 2


async def test_a_provider_that_changes_its_mind_on_the_same_documents_is_overruled_and_that_is_counted(
    tmp_path: Path, redis_url: str
) -> None:
    kept_in = {"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}}
    async with provider() as upstream, gateway(tmp_path, upstream, kept_in) as it:
        first = await it.chat(LEAVE_ASKED[0], "handbook")
        await it.kept(1)
    async with (
        provider(faults=Faults(wrong_fact_rate=1.0)) as changed,
        gateway(tmp_path, changed, kept_in, wall_clock=lambda: time.time() + 90_000.0) as it,
    ):
        assert (await it.chat(LEAVE_ASKED[0], "handbook")).text == first.text
        assert it.count("ocho_flips_total", kept="earlier") == 1


async def test_a_number_that_no_passage_states_is_asked_for_again_before_anybody_sees_it(tmp_path: Path) -> None:
    lead = "정규직의 연차휴가는 1년에 {}일입니다 [doc1]."
    wrong, right = ([chunk(lead.format(days)), chunk("\n\n더 있습니다.", "stop")] for days in (19, 16))
    async with (
        scripted(streams(*wrong, b"data: [DONE]\n\n"), streams(*right, b"data: [DONE]\n\n")) as upstream,
        gateway(tmp_path, upstream, {}, embedder="off") as it,
    ):
        reply = await it.chat(LEAVE_ASKED[0], "handbook", body={"stream": True})
        assert reply.text.startswith(lead.format(16))
        assert len(upstream.asked) == 2
        first, second = (asked.json for asked in upstream.asked)
        assert first["messages"] == second["messages"]
        assert (first["seed"], first["temperature"]) != (second["seed"], second["temperature"])
        assert it.count("ocho_settled_total", result="second") == 1
        assert it.count("ocho_spend_tokens_total", reason="settle", type="input") > 0


async def test_switched_off_an_answer_streams_as_it_comes(tmp_path: Path) -> None:
    wrong = chunk("연차휴가는 1년에 19일입니다 [doc1].", "stop")
    async with (
        scripted(streams(wrong, b"data: [DONE]\n\n")) as upstream,
        gateway(tmp_path, upstream, {}, embedder="off", mode="off") as it,
    ):
        assert "19일" in (await it.chat(LEAVE_ASKED[0], "handbook")).text
        assert len(upstream.asked) == 1


async def test_a_draft_model_judges_beside_its_own_draft_and_its_yes_wins(tmp_path: Path) -> None:
    draft = {"model": "small", "mode": "cascade"}
    async with provider() as upstream, gateway(tmp_path, upstream, {}, judge="auto", draft=draft) as it:
        first = await it.chat(LEAVE_ASKED[0], "handbook", body={"stream": True})
        assert "16일" in first.text
        await it.kept(1)
        second = await it.chat(LEAVE_ASKED[1], "handbook", body={"stream": True})
        assert (second.headers["x-ocho-cache"], second.text) == ("semantic", first.text)
        other = await it.chat(CARRY_ASKED[0], "handbook")
        assert "6일" in other.text
        assert it.count("ocho_judge_total", result="yes") >= 1


async def test_a_judge_that_is_away_costs_a_miss_and_nothing_else(tmp_path: Path) -> None:
    async with provider() as upstream, scripted(refuses(500)) as away:
        named = model("small", away.base_url, retries=0)
        async with gateway(tmp_path, upstream, {}, small=named) as it:
            assert (await it.chat(LEAVE_ASKED[0], "handbook")).status == 200
            await it.kept(1)
            reply = await it.chat(LEAVE_ASKED[1], "handbook")
            assert (reply.status, reply.headers["x-ocho-cache"]) == (200, "miss")
            assert "16일" in reply.text
            assert it.count("ocho_judge_total", result="failed") >= 1
