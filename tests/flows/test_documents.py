"""Documents in, grounded answers out: over HTTP, through the real ingest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.provider import Provider
from tests.flows.house import UNSETTLED, House, fill, house, model

QUESTION = "정규직의 연차휴가는 며칠인가요?"
LEAVE = "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 {days}일이다.\n"
CLIENT_ANSWER_DAYS = "15"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    (made / "leave.md").write_text(LEAVE.format(days=15), encoding="utf-8")
    (made / "expenses.md").write_text("# Expenses\n\nTaxi receipts are refunded within 30 days.\n", encoding="utf-8")
    return made


@pytest.fixture
async def it(provider: Provider, tmp_path: Path, folder: Path) -> AsyncIterator[House]:
    handbook = {
        "name": "handbook",
        "answers_with": "gpt-4",
        "documents": {"collections": ["hr"], "hard_s": 5},
        "settle": UNSETTLED,
    }
    named = (model("gpt-4", provider.base_url), handbook)
    async with house(tmp_path, *named, documents=[{"name": "hr"}]) as running:
        await fill(running.gateway.settings, "hr", folder)
        yield running


async def test_an_answer_rests_on_the_documents_and_cites_them_as_azure_does(it: House, provider: Provider) -> None:
    reply = await it.chat(QUESTION, "handbook")
    assert "15일" in reply.text
    message = reply.json["choices"][0]["message"]
    [first] = [c for c in message["context"]["citations"] if c["filepath"] == "hr/leave.md"]
    assert "15일" in first["content"]
    assert set(first) == {"content", "title", "url", "filepath", "chunk_id"}
    assert "retrieve;dur=" in reply.headers["server-timing"]
    sent = provider.calls[0].body
    assert (sent["model"], sent["temperature"], sent["stream"]) == ("gpt-4", 0, True)
    assert "15일" in sent["messages"][0]["content"]
    assert sent["messages"][-1] == {"role": "user", "content": QUESTION}


async def test_a_stream_brings_the_citations_first_and_the_sdk_takes_it(it: House) -> None:
    async with it.openai() as client:
        stream = await client.chat.completions.create(
            model="handbook", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        chunks = [c async for c in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    context: Any = (chunks[0].choices[0].delta.model_extra or {})["context"]
    assert any(c["filepath"] == "hr/leave.md" for c in context["citations"])
    assert "15일" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    async with it.azure() as azure:
        whole = await azure.chat.completions.create(model="handbook", messages=[{"role": "user", "content": QUESTION}])
    assert "15일" in str(whole.choices[0].message.content)
    assert whole.choices[0].message.model_extra


async def test_the_same_question_has_the_same_bytes_and_a_hit_keeps_its_citations(
    it: House, provider: Provider
) -> None:
    first = await it.chat(QUESTION, "handbook")
    await it.kept()
    again = await it.chat(QUESTION, "handbook")
    assert again.headers["x-ocho-cache"] == "exact"
    assert again.json["choices"] == first.json["choices"]
    streamed = await it.chat(QUESTION, "handbook", body={"stream": True})
    assert streamed.chunks[0]["choices"][0]["delta"]["context"] == first.json["choices"][0]["message"]["context"]
    await it.chat(QUESTION, "handbook", cache_control="no-cache")
    assert provider.calls[0].body == provider.calls[1].body  # the very same prompt
    assert len(provider.calls) == 2


async def test_a_changed_document_changes_the_answer_at_once(it: House, folder: Path) -> None:
    assert "15일" in (await it.chat(QUESTION, "handbook")).text
    await it.kept()
    (folder / "leave.md").write_text(LEAVE.format(days=21), encoding="utf-8")
    await fill(it.gateway.settings, "hr", folder)
    changed = await it.chat(QUESTION, "handbook")
    assert changed.headers["x-ocho-cache"] == "miss"
    assert "21일" in changed.text
    assert "15일" not in changed.text


async def test_a_deleted_document_is_gone_from_answers_at_once(it: House, folder: Path) -> None:
    assert "15일" in (await it.chat(QUESTION, "handbook")).text
    await it.kept()
    (folder / "leave.md").unlink()
    await fill(it.gateway.settings, "hr", folder, prune=True)
    gone = await it.chat(QUESTION, "handbook")
    assert gone.headers["x-ocho-cache"] == "miss"
    assert b"15\xec\x9d\xbc" not in gone.body


async def test_an_unrelated_new_document_does_not_cost_the_kept_answer(it: House, folder: Path, provider: Provider
                                                                      ) -> None:  # fmt: skip
    await it.chat(QUESTION, "handbook")
    await it.kept()
    (folder / "visitors.md").write_text("# Visitors\n\nVisitors sign in at the desk.\n", encoding="utf-8")
    await fill(it.gateway.settings, "hr", folder)
    assert (await it.chat(QUESTION, "handbook")).headers["x-ocho-cache"] == "exact"
    assert len(provider.calls) == 1


async def test_groups_see_their_own_documents_only(provider: Provider, tmp_path: Path, folder: Path) -> None:
    keys = [{"key": "key-of-hr-1", "tenant": "t", "groups": ["hr"]}, {"key": "key-of-all-1", "tenant": "t"}]
    handbook = {
        "name": "handbook",
        "answers_with": "gpt-4",
        "documents": {"collections": ["hr"], "hard_s": 5},
        "settle": UNSETTLED,
    }
    named = (model("gpt-4", provider.base_url), handbook)
    server = {"host": "127.0.0.1", "port": 0}
    async with house(tmp_path, *named, documents=[{"name": "hr"}], auth={"keys": keys}, server=server) as it:
        await fill(it.gateway.settings, "hr", folder, groups=("hr",))
        inside = await it.chat(QUESTION, "handbook", api_key="key-of-hr-1")
        await it.kept()
        outside = await it.chat(QUESTION, "handbook", api_key="key-of-all-1")
    assert "15일" in inside.text
    assert outside.headers["x-ocho-cache"] == "miss"  # the same tenant, other rights
    assert "15일".encode() not in outside.body
    assert "15일" not in str(provider.calls[1].body)


async def test_other_operations_of_a_document_model_go_to_the_model_that_answers(it: House, provider: Provider) -> None:
    reply = await it.post("/v1/completions", {"model": "handbook", "prompt": "hi"})
    assert reply.status == 200
    assert provider.calls[0].model == "gpt-4"


async def test_a_reranker_puts_what_was_found_in_order(provider: Provider, tmp_path: Path, folder: Path) -> None:
    rerank = {"url": f"{provider.base_url}/rerank", "model": "bge-reranker", "api_key": "key-of-it"}
    documents = {"collections": ["hr"], "hard_s": 5, "rerank": rerank}
    named = (model("gpt-4", provider.base_url), {"name": "handbook", "answers_with": "gpt-4", "documents": documents})
    async with house(tmp_path, *named, documents=[{"name": "hr"}]) as it:
        await fill(it.gateway.settings, "hr", folder)
        reply = await it.chat(QUESTION, "handbook")
        assert it.count("ocho_retrieval_source_duration_seconds_count", source="rerank", outcome="ok") == 1
    [ranked] = [call.body for call in provider.calls if call.path == "/v1/rerank"]
    assert (ranked["model"], ranked["query"]) == ("bge-reranker", QUESTION)
    assert "15일" in reply.text


@asynccontextmanager
async def curt(tmp_path: Path, provider: Provider, **more: Any) -> AsyncIterator[House]:
    """A model that says itself where nothing is found; one collection, still empty."""
    documents = {"collections": ["hr"], "hard_s": 5, "no_answer": {"by": "own", **more}}
    named = (model("gpt-4", provider.base_url), {"name": "handbook", "answers_with": "gpt-4", "documents": documents})
    async with house(tmp_path, *named, documents=[{"name": "hr"}]) as it:
        yield it


async def test_where_nothing_is_found_the_gateway_may_say_so_itself(
    provider: Provider, tmp_path: Path, folder: Path
) -> None:
    async with curt(tmp_path, provider, en="Ask the help desk.") as it:
        korean, english = await it.chat(QUESTION, "handbook"), await it.chat("How many days off?", "handbook")
        assert korean.text == "문서에서 이 질문에 대한 내용을 찾지 못했습니다."
        assert english.text == "Ask the help desk."
        assert korean.headers["x-ocho-served-by"] == "notice"
        assert korean.headers["x-ocho-labelled"] == "true"
        streamed = await it.chat("How many days off?", "handbook", body={"stream": True})
        assert (streamed.text, streamed.headers["x-ocho-cache"]) == ("Ask the help desk.", "miss")  # it is not kept
        assert it.count("ocho_request_duration_seconds_count", served_by="notice") == 3
        assert it.count("ocho_cache_writes_total") == 0
        assert not provider.calls
        await fill(it.gateway.settings, "hr", folder)
        assert "15일" in (await it.chat(QUESTION, "handbook")).text


async def test_the_model_says_it_where_there_is_more_to_answer_from(provider: Provider, tmp_path: Path) -> None:
    said = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "15일입니다."}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    async with curt(tmp_path, provider) as it:
        talk = {"messages": [*said, {"role": "user", "content": "다시 말해 주세요"}]}
        for body in (talk, {"tools": tools}, {"messages": [{"role": "user", "content": "有給休暇は何日ですか"}]}):
            assert (await it.chat(QUESTION, "handbook", body=body)).headers["x-ocho-served-by"] == "model"
    assert len(provider.calls) == 3
