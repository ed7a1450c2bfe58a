"""The user's question finds documents, whoever spoke last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.provider import Provider
from tests.flows.house import House, Reply, fill, house, model

ASKED = "정규직의 연차휴가는 며칠인가요?"
TOOLS = [{"type": "function", "function": {"name": "get_user", "parameters": {"type": "object", "properties": {}}}}]
RULES = {
    "leave.md": "# 휴가 규정\n\n정규직의 연차휴가는 1년에 15일이다.\n",
    "taxi.md": "# 택시\n\n택시 영수증은 30일 안에 정산한다.\n",
}


def called(result: str, *turns: dict[str, Any], question: str = ASKED) -> dict[str, Any]:
    """The second request of a tool's use."""
    call = {"id": "1", "type": "function", "function": {"name": "get_user", "arguments": "{}"}}
    said = [
        *turns,
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": result},
    ]
    return {"messages": said, "tools": TOOLS, "tool_choice": "auto"}


@pytest.fixture
async def it(provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in RULES.items():
        (docs / name).write_text(text, encoding="utf-8")
    documents = {"collections": ["hr"], "hard_s": 5, "top_k": 1, "rewrite": {"model": "gpt-4"}}
    own = {"name": "handbook", "answers_with": "gpt-4", "documents": documents}
    cache = {"semantic": {"embedder": "local"}}
    named = (model("gpt-4", provider.base_url), own)
    async with house(tmp_path, *named, documents=[{"name": "hr"}], cache=cache) as running:
        await fill(running.gateway.settings, "hr", docs)
        yield running


def cited(reply: Reply) -> list[str]:
    return [c["filepath"] for c in reply.json["choices"][0]["message"]["context"]["citations"]]


async def test_after_a_tools_result_the_question_still_has_its_documents(it: House, provider: Provider) -> None:
    reply = await it.chat("", "handbook", body=called('{"name": "김"}'))
    assert cited(reply) == ["hr/leave.md"]
    sent = provider.calls[-1].body["messages"]
    assert "15일" in sent[0]["content"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]


async def test_nor_does_the_beginning_of_an_answer_take_them_away(it: House) -> None:
    said = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": "연차휴가는"}]
    assert cited(await it.chat("", "handbook", body={"messages": said})) == ["hr/leave.md"]


async def test_a_follow_up_is_searched_with_its_subject_but_not_written_out(it: House, provider: Provider) -> None:
    before = {"role": "user", "content": ASKED}, {"role": "assistant", "content": "15일입니다."}
    reply = await it.chat("", "handbook", body=called("{}", *before, question="그건 언제부터예요?"))
    assert cited(reply) == ["hr/leave.md"]
    assert len(provider.calls) == 1


async def test_only_the_very_same_result_has_the_same_answer(it: House, provider: Provider) -> None:
    await it.chat(ASKED, "handbook")
    plain = len(provider.calls)
    await it.kept(1)
    for kept, result in enumerate(('{"name": "김"}', '{"name": "이"}', '{"name":  "김"}'), start=2):
        reply = await it.chat("", "handbook", body=called(result))
        assert reply.headers["x-ocho-cache"] == "miss"
        assert reply.headers["x-ocho-served-by"] == "model"
        await it.kept(kept)
    assert len(provider.calls) == plain + 3
    again = await it.chat("", "handbook", body=called('{"name": "김"}'))
    assert again.headers["x-ocho-cache"] == "exact"
