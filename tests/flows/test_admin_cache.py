"""What an operator sees and does with the cache, over HTTP, on both stores."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.provider import Provider
from tests.flows.house import DONE, FINE, ROLE, House, Reply, chunk, fill, house, model, scripted, settings, streams
from tests.redis_server import free_port

ADMIN = {"authorization": "Bearer admin-key-1"}
AUTH = {
    "keys": [{"key": "key-of-acme", "tenant": "acme"}, {"key": "key-of-globex", "tenant": "globex"}],
    "admin_key": "admin-key-1",
}
SERVER = {"host": "127.0.0.1"}


@pytest.fixture
async def it(kept_in: dict[str, Any], provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    named = [model("m", provider.base_url, cache=True), model("n", provider.base_url, cache=True)]
    async with house(tmp_path, *named, cache=kept_in, auth=AUTH, server=SERVER) as running:
        yield running


async def ask(it: House, question: str, model: str = "m", tenant: str = "acme", **headers: str) -> str:
    sent: dict[str, str] = {"authorization": f"Bearer key-of-{tenant}", **headers}
    reply = await it.chat(question, model, body=None, **sent)
    assert reply.status == 200, reply.body
    return reply.headers["x-ocho-cache"]


async def keep(it: House, question: str, model: str = "m", tenant: str = "acme", **headers: str) -> None:
    kept = it.count("ocho_cache_writes_total")
    await ask(it, question, model, tenant, **headers)
    await it.kept(int(kept) + 1)


async def purge(it: House, **body: Any) -> Reply:
    return await it.post("/admin/cache/purge", body, **ADMIN)


async def test_stats_entries_and_one_entry(it: House) -> None:
    await keep(it, "연차는 며칠?", x_ocho_tags="hr,faq")
    await keep(it, "Where is the canteen?", "n", "globex")
    for _ in range(3):
        assert await ask(it, "연차는 며칠?") == "exact"
    stats = (await it.get("/admin/cache/stats", **ADMIN)).json
    assert stats["entries"] == 2
    assert stats["bytes"] > 0
    assert [(row["tenant"], row["model"]) for row in stats["kept"]] == [("acme", "m"), ("globex", "n")]
    (row,) = stats["hits"]
    assert (row["tenant"], row["model"], row["tier"], row["hits"]) == ("acme", "m", "exact", 3)
    assert row["saved_s"] > 0
    found = (await it.get("/admin/cache/entries?tag=faq&text=연차", **ADMIN)).json
    assert found["found"] == 1
    one = (await it.get(f"/admin/cache/entries/{found['entries'][0]['entry']}", **ADMIN)).json
    assert (one["question"], one["tenant"], one["tags"]) == ("연차는 며칠?", "acme", ["hr", "faq"])
    assert one["answer"]
    assert (await it.get("/admin/cache/entries/no.such", **ADMIN)).status == 404


@pytest.mark.parametrize("by", ["entry", "model", "namespace", "tag", "tenant", "all"])
async def test_what_is_purged_is_served_no_more_and_the_rest_is(it: House, by: str) -> None:
    await keep(it, "하나", x_ocho_tags="old", x_ocho_cache_namespace="v1")
    await keep(it, "둘", "n", "globex")
    handle = (await it.get("/admin/cache/entries?tag=old", **ADMIN)).json["entries"][0]["entry"]
    body = {"entry": handle, "model": "m", "namespace": "v1", "tag": "old", "tenant": "acme", "all": True}[by]
    assert (await purge(it, **{by: body})).json == {"purged": 2 if by == "all" else 1}
    assert await ask(it, "하나", x_ocho_cache_namespace="v1") == "miss"
    assert await ask(it, "둘", "n", "globex") == ("miss" if by == "all" else "exact")


@pytest.mark.parametrize(
    ("body", "told"),
    [({}, "all: true"), ({"all": False}, "all: true"), ({"all": "yes"}, "all: true"),
     ({"all": True, "tag": "x"}, "all"),
     ({"tagg": "x"}, "tagg"), ({"tag": ""}, "tag must"), ({"tag": 7}, "tag must"), ({"tag": ["a"]}, "tag must")],
)  # fmt: skip
async def test_a_purge_that_says_nothing_clear_deletes_nothing(it: House, body: Any, told: str) -> None:
    await keep(it, "하나")
    refused = await purge(it, **body)
    assert refused.status == 400
    assert told in refused.error["message"]
    assert await ask(it, "하나") == "exact"
    assert (await it.get("/admin/cache/entries?colour=red", **ADMIN)).status == 400
    assert (await it.get("/admin/cache/entries?limit=0", **ADMIN)).status == 400


async def test_an_answer_in_flight_during_a_purge_is_not_kept_and_not_joined_after_it(tmp_path: Path) -> None:
    slow = streams(ROLE, chunk("오래된"), chunk(" 답"), chunk(finish="stop"), DONE, every_s=0.2)
    async with (
        scripted(slow, streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True), auth=AUTH, server=SERVER) as it,
    ):
        first = asyncio.create_task(ask(it, "지연"))
        while not upstream.asked:  # noqa: ASYNC110  the upstream tells nobody
            await asyncio.sleep(0.01)
        await purge(it, tenant="acme")
        assert await ask(it, "지연") == "miss"  # not "coalesced" with what began before
        assert await first == "miss"
        await it.kept(2)
        reply = await it.chat("지연", "m", authorization="Bearer key-of-acme")
        assert (reply.headers["x-ocho-cache"], reply.text) == ("exact", "안녕하세요")


async def test_nothing_purged_is_served_under_traffic(it: House, provider: Provider) -> None:
    """Askers go on while purges come; whoever asks after a purge returned gets an answer that was made after it."""
    questions = [f"질문 {number}" for number in range(8)]
    purged_at = 0  # calls that the provider had seen when the last purge returned
    wrong: list[str] = []

    async def asker(question: str) -> None:
        for _ in range(12):
            floor = purged_at
            outcome = await ask(it, question)
            seen = [i for i, call in enumerate(provider.calls) if call.body["messages"][-1]["content"] == question]
            if outcome == "exact" and seen[-1] < floor:
                wrong.append(question)

    askers = [asyncio.create_task(asker(question)) for question in questions]
    for _ in range(6):
        await asyncio.sleep(0.02)
        before = len(provider.calls)
        assert (await purge(it, model="m")).status == 200
        purged_at = before
    await asyncio.gather(*askers)
    assert wrong == []


async def test_a_dead_redis_says_that_the_purge_did_not_happen(tmp_path: Path) -> None:
    redis = {"store": "redis", "redis": {"url": f"redis://127.0.0.1:{free_port()}"}}
    async with house(tmp_path, model("m", "http://127.0.0.1:1/v1"), cache=redis, auth=AUTH, server=SERVER) as it:
        refused = await purge(it, tag="x")
        assert (refused.status, refused.error["code"]) == (503, "store_unavailable")
        assert "retry-after" in refused.headers


def lines(*rows: Any) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)


async def test_a_warmed_answer_is_given_to_its_tenant_at_the_first_ask(it: House, provider: Provider) -> None:
    row = {"model": "m", "question": "연차는 며칠?", "answer": "15일입니다.", "tags": ["faq"], "tenant": "acme"}
    report = await it.post("/admin/cache/warm", BOM_UTF8 + lines(row), **ADMIN)
    assert report.json == {"warmed": 1, "failed": []}
    reply = await it.chat("연차는 며칠?", "m", authorization="Bearer key-of-acme")
    assert (reply.headers["x-ocho-cache"], reply.text) == ("exact", "15일입니다.")
    assert provider.calls == []
    assert await ask(it, "연차는 며칠?", tenant="globex") == "miss"
    assert (await purge(it, tag="faq")).json == {"purged": 1}
    assert await ask(it, "연차는 며칠?") == "miss"


async def test_lines_that_are_wrong_are_told_by_number_and_stop_no_other(it: House) -> None:
    good = {"model": "m", "question": "q", "answer": "a", "tenant": "acme"}
    wrong: list[Any] = [
        b"{nonsense", b"[1]", {**good, "answer": ""}, {**good, "colour": "red"}, {**good, "tenant": "nobody"},
        {**good, "tenant": ""}, {**good, "model": "zzz"}, {**good, "ttl_s": -1}, {**good, "documents": "x"},
        {**good, "documents": ["hr/none.md"]}, {**good, "body": {"stream": True}},
    ]  # fmt: skip
    told = ["not JSON", "object", "answer", "colour", "nobody", "which tenant", "zzz", "ttl_s", "documents",
            "hr/none.md", "body"]  # fmt: skip
    report = (await it.post("/admin/cache/warm", lines(*wrong[:6], b"", good, *wrong[6:]), **ADMIN)).json
    assert report["warmed"] == 1
    assert [row["line"] for row in report["failed"]] == [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13]
    for row, part in zip(report["failed"], told, strict=True):
        assert part in row["error"]


async def test_a_warmed_answer_lasts_until_its_documents_change(provider: Provider, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "leave.md").write_text("# 휴가\n\n연차휴가는 15일이다.\n", encoding="utf-8")
    named = [
        model("m", provider.base_url),
        {"name": "handbook", "answers_with": "m", "documents": {"collections": ["hr"], "hard_s": 5, "soft_s": 5}},
    ]
    made = {"documents": [{"name": "hr"}], "auth": {"admin_key": "admin-key-1"}}
    await fill(settings(tmp_path, *named, **made), "hr", texts)
    async with house(tmp_path, *named, **made) as it:
        question = "연차휴가는 며칠인가요?"
        row = {"model": "handbook", "question": question, "answer": "15일입니다.",
               "documents": ["hr/leave.md"]}  # fmt: skip
        assert (await it.post("/admin/cache/warm", lines(row), **ADMIN)).json == {"warmed": 1, "failed": []}
        reply = await it.chat(question, "handbook")
        assert (reply.headers["x-ocho-cache"], reply.text) == ("exact", "15일입니다.")
        assert reply.json["choices"][0]["message"]["context"]["citations"]
        rests = {"document": "hr/leave.md", "entries": 1, "void": 0}
        assert (await it.get("/admin/cache/documents", **ADMIN)).json == {"found": 1, "documents": [rests]}
        assert (await it.get("/admin/cache/entries?document=hr/&void=true", **ADMIN)).json["found"] == 0
        (texts / "leave.md").write_text("# 휴가\n\n연차휴가는 16일이다.\n", encoding="utf-8")
        await fill(settings(tmp_path, *named, **made), "hr", texts)
        assert (await it.get("/admin/cache/documents", **ADMIN)).json["documents"] == [{**rests, "void": 1}]
        void = (await it.get("/admin/cache/entries?document=hr/&void=true", **ADMIN)).json
        assert (void["found"], void["entries"][0]["changed"]) == (1, ["hr/leave.md"])
        assert (await it.get("/admin/cache/entries?void=perhaps", **ADMIN)).status == 400
        reply = await it.chat(question, "handbook")
        assert reply.headers["x-ocho-cache"] == "miss"
        assert (await purge(it, document="hr/")).status == 200
