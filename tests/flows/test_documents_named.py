"""Requests that name their documents themselves, as clients of Azure "On Your Data" do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from bench.provider import Provider
from tests.flows.house import House, fill, house, model

QUESTION = "정규직의 연차휴가는 며칠인가요?"
KEYS = [
    {"key": "key-of-hr-1", "tenant": "t", "groups": ["hr"]},
    {"key": "key-of-all-1", "tenant": "t"},
]


@pytest.fixture
async def it(provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """Two collections that contradict each other, and no model that has either."""
    sections: dict[str, Any] = {
        "documents": [{"name": "rules"}, {"name": "old"}, {"name": "secret", "groups": ["hr"]}],
        "auth": {"keys": KEYS},
        "server": {"host": "127.0.0.1", "port": 0},
    }
    async with house(tmp_path, model("gpt-4", provider.base_url), **sections) as running:
        for name, days in (("rules", 15), ("old", 10), ("secret", 99)):
            folder = tmp_path / name
            folder.mkdir()
            text = f"# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 {days}일이다.\n"
            (folder / "leave.md").write_text(text, encoding="utf-8")
            await fill(running.gateway.settings, name, folder)
        yield running


def azure_search(index: str, **parameters: Any) -> dict[str, Any]:
    given = {
        "endpoint": "https://unused.search.windows.net", "index_name": index, "in_scope": True, "strictness": 3,
        "authentication": {"type": "api_key", "key": "unused"}, **parameters,
    }  # fmt: skip
    return {"data_sources": [{"type": "azure_search", "parameters": given}]}


async def test_an_azure_client_gets_evidence_of_the_index_it_names(it: House, provider: Provider) -> None:
    async with it.azure(api_key="key-of-all-1") as client:
        answer = await client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": QUESTION}],
            extra_body=azure_search("rules", top_n_documents=3),
        )  # fmt: skip
    message = answer.choices[0].message
    assert "15일" in str(message.content)
    context: Any = (message.model_extra or {})["context"]
    assert {c["filepath"] for c in context["citations"]} == {"rules/leave.md"}
    assert set(context["citations"][0]) == {"content", "title", "url", "filepath", "chunk_id"}
    assert "data_sources" not in provider.calls[0].body  # the provider would search an index it does not have


async def test_a_stream_brings_them_too(it: House) -> None:
    async with it.azure(api_key="key-of-all-1") as client:
        stream = await client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": QUESTION}], stream=True,
            extra_body=azure_search("old"),
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
    context: Any = (chunks[0].choices[0].delta.model_extra or {})["context"]
    assert {c["filepath"] for c in context["citations"]} == {"old/leave.md"}
    assert "10일" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_another_index_is_another_answer(it: House, provider: Provider) -> None:
    async def ask(index: str) -> Any:
        return await it.chat(QUESTION, body=azure_search(index), api_key="key-of-all-1", x_ocho_cache="on")

    first = await ask("rules")
    await it.kept()
    other = await ask("old")
    assert "15일" in first.text
    assert (other.headers["x-ocho-cache"], "10일" in other.text) == ("miss", True)
    await it.kept(2)
    again = await ask("rules")
    assert (again.headers["x-ocho-cache"], again.text) == ("exact", first.text)
    assert len(provider.calls) == 2


async def test_groups_hold_for_named_documents(it: House, provider: Provider) -> None:
    inside = await it.chat(QUESTION, body=azure_search("secret"), api_key="key-of-hr-1")
    outside = await it.chat(QUESTION, body=azure_search("secret"), api_key="key-of-all-1")
    assert "99일" in inside.text
    assert "99일".encode() not in outside.body
    assert "99일" not in str(provider.calls[1].body)


async def test_what_is_not_there_or_not_understood_is_refused(it: House, provider: Provider) -> None:
    async with it.azure(api_key="key-of-all-1") as client:

        async def refusal(body: dict[str, Any]) -> Any:
            with pytest.raises(openai.APIStatusError) as refused:
                await client.chat.completions.create(
                    model="gpt-4", messages=[{"role": "user", "content": QUESTION}], extra_body=body
                )
            return refused.value

        unknown = await refusal(azure_search("nowhere"))
        assert (unknown.status_code, unknown.code) == (404, "index_not_found")
        assert "rules" in unknown.message  # says what there is
        filtered = await refusal(azure_search("rules", filter="year eq 2026"))  # ignoring it would show what it hides
        assert (filtered.status_code, filtered.param) == (400, "data_sources[0].parameters.filter")
        kind = await refusal({"data_sources": [{"type": "azure_cosmos_db", "parameters": {"index_name": "rules"}}]})
        assert kind.param == "data_sources[0].type"
        assert (await refusal({"data_sources": "rules"})).status_code == 400
        assert (await refusal(azure_search("rules", top_n_documents=0))).status_code == 400
    assert provider.calls == []


async def test_without_collections_the_field_goes_to_azure(provider: Provider, tmp_path: Path) -> None:
    async with house(tmp_path / "other", model("gpt-4", provider.base_url)) as it:
        assert (await it.chat(QUESTION, body=azure_search("theirs"))).status == 200
    assert provider.calls[0].body["data_sources"][0]["parameters"]["index_name"] == "theirs"
