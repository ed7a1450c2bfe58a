"""Disagreements are put up for review: found by the cache, and by samples in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import DONE, ROLE, House, Scripted, chunk, fill, house, model, scripted, streams

ADMIN = {"authorization": "Bearer admin-key-1"}
THREE, FIVE = "경조휴가는 3일입니다.", "경조휴가는 5일입니다."
QUESTION = "경조휴가는 며칠인가요?"
PRICE = {"price": {"input": 1_000, "output": 1_000}}  # a thousandth of a unit for each token


@asynccontextmanager
async def answering(*texts: str) -> AsyncIterator[Scripted]:
    async with scripted(*(streams(ROLE, chunk(text), chunk(finish="stop"), DONE) for text in texts)) as upstream:
        yield upstream


@asynccontextmanager
async def verified(folder: Path, kept: str, *samples: str, **verify: Any) -> AsyncIterator[tuple[House, Scripted]]:
    """A gateway whose model says ``kept``, and whose verifier's model says ``samples``."""
    given = {"model": "fast", "after_hits": 2, **verify}
    async with answering(kept) as big, answering(*samples) as fast:
        models = model("m", big.base_url, cache=True), model("fast", fast.base_url, **PRICE)
        async with house(folder, *models, auth={"admin_key": "admin-key-1"}, answers={"verify": given}) as it:
            yield it, fast


async def asked(it: House, times: int) -> None:
    for _ in range(times):
        await it.chat(QUESTION, "m")
        await it.kept()


async def verdicts(it: House, count: int = 1) -> dict[str, float]:
    while it.count("ocho_verifications_total") < count:  # noqa: ASYNC110  it happens in the background
        await asyncio.sleep(0.01)
    names = ("agreed", "contradicted", "unclear", "failed", "over budget")
    return {name: n for name in names if (n := it.count("ocho_verifications_total", result=name))}


async def waiting(it: House, count: int) -> list[dict[str, Any]]:
    while it.count("ocho_answers", status="awaiting_review") < count:  # noqa: ASYNC110  it happens in the background
        await asyncio.sleep(0.01)
    return list((await it.get("/admin/answers?status=awaiting_review", **ADMIN)).json["data"])


async def test_samples_that_contradict_an_often_given_answer_put_it_up_for_review(tmp_path: Path) -> None:
    async with verified(tmp_path, THREE, FIVE, THREE, FIVE) as (it, fast):
        await asked(it, 2)
        assert fast.asked == []
        await asked(it, 1)
        assert await verdicts(it) == {"contradicted": 1}
        [found] = await waiting(it, 1)
        assert (found["found"], found["answers"], found["other"]) == ("verification", {"ko": THREE}, FIVE)
        assert (await it.chat(QUESTION, "m")).text == THREE  # nothing changes until a person says so
        await asked(it, 5)
        assert len(fast.asked) == 3  # once for each version of an answer
        sent = [call.json for call in fast.asked]
        assert [(body["model"], body["seed"], body["messages"][-1]["content"]) for body in sent] == [
            ("fast", number, QUESTION) for number in range(3)
        ]
        assert it.count("ocho_spend_tokens_total", reason="verification") > 0


async def test_samples_that_agree_trouble_nobody(tmp_path: Path) -> None:
    async with verified(tmp_path, THREE, "3일의 경조휴가가 있습니다.", FIVE, THREE) as (it, _):
        await asked(it, 3)
        assert await verdicts(it) == {"agreed": 1}
        assert it.count("ocho_review_findings_total") == 0
        assert it.count("ocho_facts_compared_total", of="verification", result="agreed") == 1


async def test_it_stays_within_its_money_and_off_where_nobody_asked_for_it(tmp_path: Path) -> None:
    async with verified(tmp_path, THREE, FIVE, max_spend=0.5) as (it, fast):
        await asked(it, 3)
        assert await verdicts(it) == {"over budget": 1}
        assert fast.asked == []
    async with answering(THREE) as upstream, house(tmp_path / "other", model("m", upstream.base_url, cache=True)) as it:
        await asked(it, 9)
        assert len(upstream.asked) == 1
        assert it.count("ocho_verifications_total") == 0


async def test_a_verifier_that_fails_is_counted_and_costs_no_answer(tmp_path: Path) -> None:
    async with verified(tmp_path, THREE, timeout_s=2) as (it, _):
        pass
    async with answering(THREE) as upstream:
        models = model("m", upstream.base_url, cache=True), model("fast", "http://127.0.0.1:1/v1", retries=0)
        verify = {"verify": {"model": "fast", "after_hits": 1}}
        async with house(tmp_path / "other", *models, answers=verify) as it:
            await asked(it, 3)
            assert await verdicts(it) == {"failed": 1}
            assert (await it.chat(QUESTION, "m")).text == THREE


async def test_a_flip_is_up_for_review_once_and_what_a_person_decided_stays(tmp_path: Path) -> None:
    async with (
        answering(THREE, FIVE, THREE, FIVE, THREE) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True), auth={"admin_key": "admin-key-1"}) as it,
    ):
        await it.chat(QUESTION, "m")
        for number in range(2, 4):
            await it.kept(number - 1)
            await it.chat(QUESTION, "m", cache_control="no-cache")
        await it.kept(3)
        [found] = await waiting(it, 1)
        while found["seen"] < 2:
            [found] = await waiting(it, 1)
        assert (found["found"], found["answers"], found["other"]) == ("flip", {"ko": FIVE}, THREE)
        done = await it.post(f"/admin/answers/{found['id']}/approve", {"which": "other"}, **ADMIN)
        assert (done.json["status"], done.json["answers"], done.json["other"]) == ("approved", {"ko": THREE}, "")
        for _ in range(2):
            await it.chat(QUESTION, "m", x_ocho_cache="off")
        reply = await it.chat(QUESTION, "m")
        assert (reply.text, reply.headers["x-ocho-served-by"]) == (THREE, "reviewed")
        assert (await it.get("/admin/answers", **ADMIN)).json["counts"]["awaiting_review"] == 0


async def test_what_belongs_to_one_key_or_one_conversation_is_nobodys_to_review(tmp_path: Path) -> None:
    async with answering(THREE, FIVE) as upstream:
        share = {"semantic": {"embedder": "off", "share": "key"}}
        async with house(tmp_path, model("m", upstream.base_url, cache=True), cache=share) as it:
            await it.chat(QUESTION, "m")
            await it.kept(1)
            await it.chat(QUESTION, "m", cache_control="no-cache")
            await it.kept(2)
            assert it.count("ocho_facts_compared_total", result="contradicted") == 1
            assert it.count("ocho_review_findings_total") == 0
    earlier = [{"role": "user", "content": "안녕하세요"}, {"role": "assistant", "content": "네"}]
    body = {"messages": [*earlier, {"role": "user", "content": QUESTION}]}
    async with (
        answering(THREE, FIVE) as upstream,
        house(tmp_path / "other", model("m", upstream.base_url, cache=True)) as it,
    ):
        await it.chat(QUESTION, "m", body=body)
        await it.kept(1)
        await it.chat(QUESTION, "m", body=body, cache_control="no-cache")
        await it.kept(2)
        assert it.count("ocho_facts_compared_total", result="contradicted") == 1
        assert it.count("ocho_review_findings_total") == 0


@pytest.mark.parametrize(("word", "verdict"), [("Yes", "agreed"), ("No", "contradicted"), ("Perhaps", "unclear")])
async def test_a_judge_is_shown_the_answer_and_its_documents(word: str, verdict: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "leave.md").write_text("# 휴가\n\n경조휴가는 5일이다. 3일 전에 신청한다.\n", encoding="utf-8")
    kept = f"{THREE} [doc1]"
    async with answering(kept) as big, answering(word) as fast:
        documents = {"collections": ["hr"], "hard_s": 5}
        handbook = {"name": "m", "answers_with": "big", "documents": documents, "settle": {"mode": "off"}}
        models = model("big", big.base_url), handbook, model("fast", fast.base_url, **PRICE)
        verify = {"model": "fast", "after_hits": 2, "by": "judge"}
        given = {"documents": [{"name": "hr"}], "auth": {"admin_key": "admin-key-1"}, "answers": {"verify": verify}}
        async with house(tmp_path, *models, **given) as it:
            await fill(it.gateway.settings, "hr", docs)
            await asked(it, 3)
            assert await verdicts(it) == {verdict: 1}
            [sent] = [call.json for call in fast.asked]
            assert sent["max_tokens"] == 1
            shown = sent["messages"][0]["content"]
            assert all(part in shown for part in ("경조휴가는 5일이다.", QUESTION, kept))
            if verdict == "contradicted":
                [found] = await waiting(it, 1)
                assert (found["found"], found["answers"]) == ("verification", {"ko": kept})
