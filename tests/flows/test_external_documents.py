"""Documents that live in a service outside: nobody says when they change, and no stale answer is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench.provider import Provider
from gateway.settings import SettingsError, load
from tests.flows.house import UNSETTLED, House, house, model, scripted

QUESTION = "정규직의 연차휴가는 며칠인가요?"


class Search:
    """A customer's search: what it finds, and whether it works."""

    def __init__(self) -> None:
        self.passages: list[dict[str, Any]] = [{"document": "leave", "text": "정규직의 연차휴가는 15일이다."}]
        self.status = 200
        self.stands_still_s = 0.0
        self.failing = 0  # so many of the next searches

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.failing > 0:
            self.failing -= 1
            return web.Response(status=500)
        await asyncio.sleep(self.stands_still_s)
        return web.json_response({"passages": self.passages}, status=self.status)


@pytest.fixture
def search() -> Search:
    return Search()


@pytest.fixture
async def it(provider: Provider, tmp_path: Path, search: Search) -> AsyncIterator[House]:
    handbook = {
        "name": "handbook",
        "answers_with": "gpt-4",
        "documents": {"collections": ["wiki"], "hard_s": 5},
        "settle": UNSETTLED,
    }
    async with scripted(search) as upstream:
        wiki = {"name": "wiki", "kind": "http", "url": f"{upstream.root_url}/search"}
        async with house(tmp_path, model("gpt-4", provider.base_url), handbook, documents=[wiki]) as running:
            yield running


async def ask(it: House) -> tuple[str, str]:
    reply = await it.chat(QUESTION, "handbook")
    assert reply.status == 200, reply.body
    return reply.headers["x-ocho-cache"], reply.text


async def test_the_same_passages_found_again_give_the_kept_answer(it: House, provider: Provider) -> None:
    assert (await ask(it))[0] == "miss"
    await it.kept()
    cache, text = await ask(it)
    assert (cache, "15일" in text, len(provider.calls)) == ("exact", True, 1)


async def test_a_passage_that_says_something_else_voids_the_answer(it: House, search: Search) -> None:
    await ask(it)
    await it.kept()
    search.passages[0]["text"] = "정규직의 연차휴가는 20일이다."
    cache, text = await ask(it)
    assert cache == "miss"
    assert "20일" in text


async def test_the_first_of_two_passages_counts_as_much_as_the_last(it: House, search: Search) -> None:
    search.passages.append({"document": "leave", "position": 1, "text": "계약직은 따로 정한다."})
    await ask(it)
    await it.kept()
    search.passages[0]["text"] = "정규직의 연차휴가는 20일이다."
    assert (await ask(it))[0] == "miss"


async def test_a_new_or_deleted_document_voids_the_answer(it: House, search: Search) -> None:
    await ask(it)
    await it.kept()
    search.passages.append({"document": "new", "text": "2027년부터 연차휴가는 16일이다."})
    assert (await ask(it))[0] == "miss"
    await it.kept(2)
    search.passages.pop(0)
    assert (await ask(it))[0] == "miss"


async def test_a_service_that_fails_vouches_for_nothing(it: House, search: Search) -> None:
    await ask(it)
    await it.kept()
    search.status = 500
    assert (await ask(it))[0] == "miss"


async def test_where_nothing_was_found_for_a_fault_it_is_searched_once_more(it: House, search: Search) -> None:
    search.failing = 1
    assert "15일" in (await ask(it))[1]


async def test_a_service_that_stands_still_costs_the_documents_and_not_the_answer(it: House, search: Search) -> None:
    search.stands_still_s = 30
    reply = await it.chat(QUESTION, "handbook")
    assert (reply.status, reply.headers.get("x-ocho-documents")) == (200, "partial"), reply.body


def test_mistakes_in_a_collection_name_the_line_and_the_keys_of_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "ocho.yaml"
    file.write_text(
        "documents:\n  - name: wiki\n    kind: qdrant\n    url: http://q\n    collection: c\n    colour: 1\n"
    )
    with pytest.raises(SettingsError, match=r"line 6: unknown key 'documents\.0\.colour'; known keys: api_key, coll"):
        load(file, {}, needs_models=False)
    file.write_text("documents:\n  - {name: wiki, kind: qdrnt}\n")
    with pytest.raises(SettingsError, match=r"line 2: .*kind must be one of embedded, pgvector, redis"):
        load(file, {}, needs_models=False)


async def test_a_reviewed_answer_lasts_while_its_passages_are_found(
    provider: Provider, tmp_path: Path, search: Search
) -> None:
    handbook = {
        "name": "handbook",
        "answers_with": "gpt-4",
        "documents": {"collections": ["wiki"], "hard_s": 5},
        "settle": UNSETTLED,
    }
    async with scripted(search) as upstream:
        wiki = {"name": "wiki", "kind": "http", "url": f"{upstream.root_url}/search", "groups": ["hr"]}
        keys = [{"key": "key-of-hr-1", "tenant": "t", "groups": ["hr"]}, {"key": "key-of-all-1", "tenant": "t"}]
        auth = {"admin_key": "admin-key-1", "keys": keys}
        named = (model("gpt-4", provider.base_url), handbook)
        server = {"host": "127.0.0.1", "port": 0}
        async with house(tmp_path, *named, documents=[wiki], auth=auth, server=server) as it:
            body = {"model": "handbook", "question": QUESTION, "answer": "15일입니다. (검토됨)"}
            assert (await it.post("/admin/answers", body, authorization="Bearer admin-key-1")).status == 200

            async def served(key: str = "key-of-hr-1") -> tuple[str, bool]:
                reply = await it.chat(QUESTION, "handbook", api_key=key)
                return reply.headers["x-ocho-served-by"], "검토됨" in reply.text

            assert await served() == ("reviewed", True)
            assert await served("key-of-all-1") == ("model", False)  # who may not search the wiki
            search.passages.append({"document": "party", "text": "연차휴가와 상관없는 이야기."})
            assert await served() == ("reviewed", True)
            search.passages[0]["text"] = "정규직의 연차휴가는 20일이다."
            assert await served() == ("model", False)
            search.status = 500
            assert (await served())[1] is False
