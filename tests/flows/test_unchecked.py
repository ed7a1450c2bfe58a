"""Requests that are given as they are made: what of them is kept, and who else gets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import DONE, House, Reply, Scripted, chunk, fill, house, model, scripted, streams

REMOTE = "# 재택근무\n\n정규직의 재택근무는 주 2일까지 가능하다.\n"
ASKED = "정규직 재택근무는 주 며칠 가능한가요?"
DRESSED = f"혹시 {ASKED}"
TOOLS = [{"type": "function", "function": {"name": "get_user", "parameters": {"type": "object", "properties": {}}}}]
OF_ANOTHER_FORM: list[dict[str, Any]] = [
    {"tools": TOOLS},
    {"n": 2},
    {"stop": ["\n\n\n"]},
    {"frequency_penalty": 0.5},
    {"logprobs": True},
    {"response_format": {"type": "json_object"}},
]


@asynccontextmanager
async def chatbot(folder: Path, *texts: str) -> AsyncIterator[tuple[House, Scripted]]:
    """A model over ``REMOTE`` whose provider gives the texts in turn, the last one for good."""
    docs = folder / "docs"
    docs.mkdir()
    (docs / "remote.md").write_text(REMOTE, encoding="utf-8")
    own = {"name": "handbook", "answers_with": "big", "documents": {"collections": ["hr"], "hard_s": 5}}
    async with scripted(*(streams(chunk(text), chunk(finish="stop"), DONE) for text in texts)) as upstream:
        models = [model("big", upstream.base_url), own]
        cache = {"semantic": {"embedder": "local"}}
        async with house(folder, *models, documents=[{"name": "hr"}], cache=cache) as it:
            await fill(it.gateway.settings, "hr", docs)
            yield it, upstream


def outcome(reply: Reply) -> str:
    return reply.headers["x-ocho-cache"]


@pytest.mark.parametrize("fields", OF_ANOTHER_FORM, ids=lambda fields: next(iter(fields)))
async def test_a_number_that_no_passage_states_is_never_kept(tmp_path: Path, fields: dict[str, Any]) -> None:
    async with chatbot(tmp_path, "주 77일까지 가능합니다 [doc1].") as (it, upstream):
        for asked in (1, 2):
            reply = await it.chat(ASKED, "handbook", body=fields)
            assert (outcome(reply), reply.headers["x-ocho-served-by"]) == ("miss", "model")
            assert len(upstream.asked) == asked
            await it.kept(asked)


@pytest.mark.parametrize("fields", OF_ANOTHER_FORM[2:], ids=lambda fields: next(iter(fields)))
async def test_what_was_not_checked_is_for_the_very_same_question_only(tmp_path: Path, fields: dict[str, Any]) -> None:
    async with chatbot(tmp_path, "주 2일까지 가능합니다 [doc1].") as (it, _):
        first = await it.chat(ASKED, "handbook", body=fields)
        await it.kept()
        again = await it.chat(ASKED, "handbook", body=fields)
        assert (outcome(again), again.text) == ("exact", first.text)
        assert outcome(await it.chat(DRESSED, "handbook", body=fields)) == "miss"


async def test_a_field_at_its_default_changes_nothing(tmp_path: Path) -> None:
    async with chatbot(tmp_path, "주 77일까지 가능합니다 [doc1].", "주 2일까지 가능합니다 [doc1].") as (it, upstream):
        first = await it.chat(ASKED, "handbook", body={"frequency_penalty": 0, "presence_penalty": 0})
        assert first.text.startswith("주 2일")  # checked, and asked for again
        assert len(upstream.asked) == 2
        await it.kept()
        dressed = await it.chat(DRESSED, "handbook", body={"frequency_penalty": 0.0, "presence_penalty": 0})
        assert (outcome(dressed), dressed.text) == ("semantic", first.text)


async def test_one_answer_serves_callers_with_and_without_a_default_that_all_providers_share(tmp_path: Path) -> None:
    async with chatbot(tmp_path, "주 2일까지 가능합니다 [doc1].") as (it, upstream):
        first = await it.chat(ASKED, "handbook", body={"n": 1, "tools": [], "response_format": {"type": "text"}})
        await it.kept()
        again = await it.chat(ASKED, "handbook")
        assert (outcome(again), again.text) == ("exact", first.text)
        assert len(upstream.asked) == 1
