"""Repeated bytes take a short way: it gives what the long way gives, and never what the long way would not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.provider import Provider
from gateway.ingress.repeats import MAX_REPEATS
from tests.flows.house import FINE, LONG_KEY, UNSETTLED, House, Reply, fill, house, model, says, scripted, streams
from tests.ingress.test_front import one

KOREAN = "연차휴가는 며칠인가요?"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
NEW_EACH_TIME = re.compile(rb'chatcmpl-[0-9a-f]{32}|"created":\d+|: ocho-timing .*')


@pytest.fixture
async def it(provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    named = [model(name, provider.base_url, cache=True) for name in ("m", "n")]
    async with house(tmp_path, *named) as running:
        yield running


def remembered(it: House) -> int:
    assert it.gateway.endpoints is not None
    return len(it.gateway.endpoints.repeats)


def outcome(reply: Reply) -> str:
    return str(reply.headers["x-ocho-cache"])


async def taught(it: House, question: str = KOREAN, model: str = "m", **more: Any) -> Reply:
    """Ask until the short way is open; the reply that came the long way."""
    await it.chat(question, model, **more)
    await it.kept(1)
    reply = await it.chat(question, model, **more)
    assert outcome(reply) == "exact"
    assert remembered(it) == 1
    return reply


@pytest.mark.parametrize(
    "body",
    [
        {}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}},
        {"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": "required", "stream": True},
    ],
    ids=["whole", "stream", "usage", "tools", "tools in a stream"],
)  # fmt: skip
async def test_both_ways_give_the_same_but_for_identity_and_time(it: House, provider: Provider, body: Any) -> None:
    long = await taught(it, body=body)
    short = [await it.chat(KOREAN, "m", body=body) for _ in range(3)]
    for reply in short:
        assert NEW_EACH_TIME.sub(b"", reply.body) == NEW_EACH_TIME.sub(b"", long.body)
        same = {"content-type", "cache-control", "x-ocho-cache", "x-ocho-served-by", "x-ocho-entry"}
        assert {n: reply.headers.get(n) for n in same} == {n: long.headers.get(n) for n in same}
        assert reply.headers["server-timing"].startswith("cache_exact;dur=")
        assert reply.headers["age"].isdigit()
        assert "content-length" in reply.headers  # which a stream the long way has not
    ids = [re.findall(rb"chatcmpl-[0-9a-f]{32}", reply.body) for reply in (long, *short)]
    assert len({found[0] for found in ids}) == 4
    assert all(len(set(found)) == 1 for found in ids)
    assert len({reply.headers["x-request-id"] for reply in short}) == 3
    assert len(provider.calls) == 1


async def test_both_ways_count_the_same(it: House) -> None:
    await taught(it)
    series = {
        "ocho_cache_requests_total": {"tier": "exact", "result": "hit"}, "ocho_cache_hits_total": {"tier": "exact"},
        "ocho_request_duration_seconds_count": {"cache": "exact", "outcome": "ok"},
        "ocho_slo_requests_total": {"result": "good"}, "ocho_stage_duration_seconds_count": {"stage": "cache_exact"},
        "gen_ai_server_request_duration_seconds_count": {"gen_ai_request_model": "m"},
        "ocho_cache_entry_age_seconds_count": {},
    }  # fmt: skip
    before = {name: it.count(name, **labels) for name, labels in series.items()}
    assert outcome(await it.chat(KOREAN, "m")) == "exact"
    assert {name: it.count(name, **labels) - before[name] for name, labels in series.items()} == dict.fromkeys(
        series, 1
    )
    assert it.count("ocho_in_flight_requests") == 0


async def test_nobody_is_answered_by_the_key_of_another(provider: Provider, tmp_path: Path) -> None:
    keys = [{"key": f"key-of-{who}-{n}", "tenant": who, "groups": [f"g{n}"]} for who in ("a", "b") for n in (1, 2)]
    server = {"host": "127.0.0.1", "port": 0}
    async with house(tmp_path, model("m", provider.base_url, cache=True), auth={"keys": keys}, server=server) as it:
        await taught(it, api_key="key-of-a-1")
        assert outcome(await it.chat(KOREAN, "m", authorization="Bearer key-of-a-1")) == "exact"
        for other in ("key-of-a-2", "key-of-b-1", "key-of-b-2"):  # other groups, other tenants
            assert outcome(await it.chat(KOREAN, "m", api_key=other)) == "miss", other
        assert (await it.chat(KOREAN, "m")).status == 401
        assert (await it.chat(KOREAN, "m", api_key="key-of-nobody")).status == 401


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [("cache-control", "no-cache", "bypass"), ("cache-control", "max-age=0", "miss"), ("x-ocho-cache", "off", "bypass"),
     ("x-ocho-cache-namespace", "other", "miss")],
)  # fmt: skip
async def test_whoever_has_a_wish_goes_the_long_way(it: House, header: str, value: str, expected: str) -> None:
    await taught(it)
    await asyncio.sleep(0.01)  # max-age=0 tells an age of nothing from the rest
    wish: dict[str, Any] = {header.replace("-", "_"): value}
    assert outcome(await it.chat(KOREAN, "m", **wish)) == expected
    assert outcome(await it.chat(KOREAN, "m", body={"ocho": {"cache": "off"}})) == "bypass"


async def test_what_was_asked_for_with_a_wish_is_not_remembered(it: House) -> None:
    for _ in range(3):
        await it.chat(KOREAN, "m", x_ocho_cache_namespace="v1")
        await it.kept(1)
        await it.chat(KOREAN, "m", body={"ocho": {"cache_namespace": "v1"}})
    assert remembered(it) == 0


async def test_the_model_in_the_path_is_part_of_the_question(it: House) -> None:
    body = {"messages": [{"role": "user", "content": KOREAN}]}

    async def ask(name: str) -> Reply:
        return await it.post(f"/openai/deployments/{name}/chat/completions?api-version=2024-10-21", body)

    assert outcome(await ask("m")) == "miss"
    await it.kept(1)
    assert [outcome(await ask("m")) for _ in range(3)] == ["exact"] * 3
    assert outcome(await ask("n")) == "miss"
    assert (await it.post("/v1/chat/completions", body)).status == 400


async def test_a_purge_holds_at_once_and_leaves_nothing_in_memory(provider: Provider, tmp_path: Path) -> None:
    keys = {"admin_key": "the-admin-key-of-this-house", "keys": [{"key": LONG_KEY, "tenant": "t"}]}
    async with house(tmp_path, model("m", provider.base_url, cache=True), auth=keys) as it:
        await taught(it, api_key=LONG_KEY)
        purged = await it.post("/admin/cache/purge", {"all": True}, authorization=f"Bearer {keys['admin_key']}")
        assert purged.json == {"purged": 1}
        async with it.openai() as client:  # over a connection that only asks
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "다른 질문"}])
        assert remembered(it) == 0
        assert outcome(await it.chat(KOREAN, "m", api_key=LONG_KEY)) == "miss"


async def test_a_document_that_changed_voids_the_short_way_too(provider: Provider, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    handbook = {
        "name": "handbook",
        "answers_with": "m",
        "documents": {"collections": ["hr"], "hard_s": 5},
        "settle": UNSETTLED,
    }
    async with house(tmp_path, model("m", provider.base_url), handbook, documents=[{"name": "hr"}]) as it:
        for days in (15, 20):
            (folder / "leave.md").write_text(f"# 휴가\n\n연차휴가는 1년에 {days}일이다.\n", encoding="utf-8")
            await fill(it.gateway.settings, "hr", folder)
            replies = [await it.chat(KOREAN, "handbook")]
            await it.kept(1 if days == 15 else 2)
            replies += [await it.chat(KOREAN, "handbook") for _ in range(3)]
            assert [outcome(reply) for reply in replies] == ["miss", "exact", "exact", "exact"]
            assert all(f"{days}일" in reply.text for reply in replies)
            assert replies[3].json["choices"] == replies[0].json["choices"]  # with their citations


async def test_only_so_many_are_remembered(tmp_path: Path) -> None:
    async with (
        scripted(*[streams(*FINE)] * 2) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True)) as it,
    ):
        await it.chat("하나", "m")
        await it.kept(1)
        for number in range(MAX_REPEATS + 3):  # one answer, asked for in so many bytes
            await it.chat("하나", "m", body={"user": str(number)})
        assert remembered(it) == MAX_REPEATS
        assert len(upstream.asked) == 1


async def test_repeats_sent_ahead_are_answered_in_order_and_held_back_from_a_slow_reader(tmp_path: Path) -> None:
    long = "긴 답 " * 20_000
    answer = {"model": "m", "choices": [{"index": 0, "message": {"content": long}, "finish_reason": "stop"}]}
    bodies = [orjson.dumps({"model": "m", "messages": [{"role": "user", "content": q}]}) for q in ("하나", "둘")]
    async with (
        scripted(says(200, answer), says(200, {**answer, "model": "other"})) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True)) as it,
    ):
        for body in bodies:
            for _ in range(2):
                await it.post("/v1/chat/completions", body)
                await it.kept(1 + bodies.index(body))
        assert remembered(it) == 2
        hits = it.count("ocho_cache_hits_total")
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port, limit=65536)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        writer.write(b"".join(head % len(body) + body for body in bodies) * 100)
        await asyncio.sleep(0.2)
        assert it.count("ocho_cache_hits_total") - hits < 200  # the rest waits for the reader
        models = [orjson.loads((await one(reader))[2])["model"] for _ in range(200)]
        writer.close()
    assert models == ["m", "other"] * 100


async def test_a_reviewed_answer_wins_over_the_short_way(provider: Provider, tmp_path: Path) -> None:
    keys = {"admin_key": "the-admin-key-of-this-house", "keys": [{"key": LONG_KEY, "tenant": "t"}]}
    admin = f"Bearer {keys['admin_key']}"
    async with house(tmp_path, model("m", provider.base_url, cache=True), auth=keys) as it, it.openai() as client:
        await taught(it, api_key=LONG_KEY)
        pinned = {"model": "m", "question": KOREAN, "answer": "15일입니다. 인사팀이 확인했습니다.", "tenant": "t"}
        assert (await it.post("/admin/answers", pinned, authorization=admin)).status == 200
        for _ in range(3):
            reply = await it.chat(KOREAN, "m", api_key=LONG_KEY)
            assert (reply.headers["x-ocho-served-by"], reply.text) == ("reviewed", pinned["answer"])
        other = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": KOREAN}])
        assert other.choices[0].message.content == pinned["answer"]
