"""Follow-ups over documents: searched by their own words and, where configured, by what they mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench.provider import Provider, ProviderConfig, running_provider
from bench.provider.records import Call
from bench.provider.truths import Gold, Truths, squeezed
from tests.flows.house import (
    DONE,
    House,
    Reaction,
    Reply,
    chunk,
    fill,
    hangs,
    house,
    model,
    refuses,
    scripted,
    streams,
)

FIRST = "정규직의 연차휴가는 며칠인가요?"
FOLLOW_UP = "그럼 연수생은요?"  # a word that no document has
NEW_SUBJECT = "택시 영수증은요?"
MEANT = "인턴은 한 달에 며칠을 유급으로 쉬나요?"
OTHER = "택시 영수증은 며칠 안에 정산하나요?"
RULES = {
    "leave.md": "# 연차휴가\n\n정규직의 연차휴가는 1년에 15일이다. 연차휴가는 며칠씩 나누어 쓴다.\n",
    "part.md": "# 계약직\n\n계약직의 연차휴가는 1년에 13일이다.\n",
    "trainees.md": "# 수습과 실습\n\n인턴은 한 달에 하루를 유급으로 쉰다.\n",
    "taxi.md": "# 택시\n\n택시 영수증은 30일 안에 정산한다.\n",
}
OWN_WORDS = ["hr/leave.md", "hr/part.md"]  # what the follow-up finds beside the question before it
TOLD = Truths(
    rewrites={f"{FIRST}\n{FOLLOW_UP}": MEANT},
    answers={squeezed(question): Gold((("하루",),)) for question in (FOLLOW_UP, MEANT)},
)


@asynccontextmanager
async def chatbot(
    tmp_path: Path, big: str, fast: str, draft: dict[str, Any] | None = None, **rewrite: Any
) -> AsyncIterator[House]:
    """A model over ``RULES`` whose prompt has room for two passages. ``draft``: its settings, by a model ``small``."""
    folder = tmp_path / "rules"
    folder.mkdir()
    for name, text in RULES.items():
        (folder / name).write_text(text, encoding="utf-8")
    documents = {
        "collections": ["hr"],
        "top_k": 2,
        "hard_s": 5,
        "rewrite": {"model": "fast", "patience_s": 5} | rewrite,
    }
    handbook: dict[str, Any] = {"name": "handbook", "answers_with": "gpt-4", "documents": documents}
    if draft is not None:
        handbook |= {"draft": {"model": "small"} | draft, "deadline": {"seconds": 30}}
    models = [model("gpt-4", big), model("fast", fast), model("small", big), handbook]
    async with house(tmp_path, *models, documents=[{"name": "hr"}]) as it:
        await fill(it.gateway.settings, "hr", folder)
        yield it


async def after_first(it: House, question: str) -> Reply:
    """``question`` as the second of a conversation; the first is asked as well, since it earns the allowance."""
    answered = (await it.chat(FIRST, "handbook")).text
    said = [{"role": "user", "content": FIRST}, {"role": "assistant", "content": answered}]
    return await it.chat("", "handbook", body={"messages": [*said, {"role": "user", "content": question}]})


def cited(reply: Reply) -> list[str]:
    return [c["filepath"] for c in reply.json["choices"][0]["message"]["context"]["citations"]]


def rewrites(it: House) -> dict[str, float]:
    results = ("there", "joined", "unchanged", "late", "failed", "too dear")
    return {r: n for r in results if (n := it.count("ocho_rewrites_total", result=r))}


async def test_what_a_follow_up_means_is_searched_for_too_and_accounted(tmp_path: Path) -> None:
    async with (
        running_provider(ProviderConfig(profile="instant", truths=TOLD)) as provider,
        chatbot(tmp_path, provider.base_url, provider.base_url) as it,
    ):
        reply = await after_first(it, FOLLOW_UP)
        assert cited(reply) == ["hr/leave.md", "hr/trainees.md"]
        assert rewrites(it) == {"joined": 1}
        assert "rewrite;dur=" in reply.headers["server-timing"]
        spent = it.count("ocho_spend_tokens_total", reason="rewrite", model="fast", type="input")
        [asked] = [call.body for call in provider.calls if call.body["model"] == "fast"]
        assert spent > 0
        assert f"Earlier question: {FIRST}" in asked["messages"][0]["content"]
        assert provider.calls[-1].body["messages"][-1]["content"] == FOLLOW_UP  # the model is asked in the user's words


async def test_a_question_that_stands_alone_is_not_rewritten(tmp_path: Path, provider: Provider) -> None:
    async with chatbot(tmp_path, provider.base_url, provider.base_url) as it:
        assert "hr/taxi.md" in cited(await after_first(it, OTHER))
        assert not rewrites(it)
        assert {call.body["model"] for call in provider.calls} == {"gpt-4"}


async def test_what_may_be_a_new_subject_finds_its_own_documents_beside_those_of_the_old_one(
    tmp_path: Path, provider: Provider
) -> None:
    async with chatbot(tmp_path, provider.base_url, provider.base_url, model="off") as it:
        assert cited(await after_first(it, NEW_SUBJECT)) == ["hr/leave.md", "hr/taxi.md"]
        assert cited(await after_first(it, FOLLOW_UP)) == OWN_WORDS


async def test_a_rewriting_that_is_late_fails_or_adds_nothing_changes_nothing(
    tmp_path: Path, provider: Provider
) -> None:
    async with scripted(hangs) as hung, scripted(refuses(500)) as broken:
        for number, (url, patience_s, result) in enumerate(
            [(hung.base_url, 0.05, "late"), (broken.base_url, 5, "failed"), (provider.base_url, 5, "unchanged")]
        ):
            place = tmp_path / str(number)
            place.mkdir()
            async with chatbot(place, provider.base_url, url, patience_s=patience_s) as it:
                reply = await after_first(it, FOLLOW_UP)
                assert reply.status == 200
                assert cited(reply) == OWN_WORDS
                if result != "unchanged":
                    assert rewrites(it) == {result: 1}


async def test_without_an_allowance_or_a_rewriter_nobody_is_asked(tmp_path: Path, provider: Provider) -> None:
    cases: list[tuple[dict[str, Any], dict[str, float]]] = [
        ({"max_extra_spend": 0}, {"too dear": 1}),
        ({"model": "off"}, {}),
    ]
    for number, (rewrite, result) in enumerate(cases):
        place = tmp_path / str(number)
        place.mkdir()
        async with chatbot(place, provider.base_url, provider.base_url, **rewrite) as it:
            assert cited(await after_first(it, FOLLOW_UP)) == OWN_WORDS
            assert rewrites(it) == result
    assert {call.body["model"] for call in provider.calls} == {"gpt-4"}


def writes(question: str, asked_first: Callable[[], bool]) -> Reaction:
    """A rewriter that waits until ``asked_first``."""

    async def react(request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(20):
            while not asked_first():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return await streams(chunk(question), chunk(finish="stop"), DONE)(request)

    return react


def about_the_follow_up(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.body["messages"][-1]["content"].startswith(FOLLOW_UP)]


@pytest.mark.parametrize(
    ("means", "result", "documents"),
    [
        ("계약직의 연차휴가는 며칠인가요?", "there", OWN_WORDS),
        (MEANT, "joined", ["hr/leave.md", "hr/trainees.md"]),
    ],
)
async def test_beside_drafts_a_follow_up_is_asked_while_it_is_rewritten(
    tmp_path: Path, means: str, result: str, documents: list[str]
) -> None:
    async with (
        running_provider(ProviderConfig(profile="instant", truths=TOLD)) as provider,
        scripted(writes(means, lambda: len(about_the_follow_up(provider.calls)) >= 2)) as rewriter,
        chatbot(tmp_path, provider.base_url, rewriter.base_url, {"mode": "race", "max_extra_spend": 1.0}) as it,
    ):
        reply = await after_first(it, FOLLOW_UP)
        assert rewrites(it) == {result: 1}
        assert cited(reply) == documents
        shown = {"하루를 유급으로" in str(call.body) for call in about_the_follow_up(provider.calls)}
        assert shown == ({False} if result == "there" else {False, True})  # over own words first
