"""What is not sure is asked for again, or not given, over real HTTP; and what that takes does not leak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from openai.types.chat import ChatCompletionChunk

from bench.handbook import FOLDER, Verdict, judge, load
from bench.provider import Faults, Provider, ProviderConfig, Truths, running_provider
from bench.provider.truths import Gold, squeezed
from gateway.settling import MOST_SAMPLES
from tests.flows.house import House, fill, house, model, refuses, scripted, settings, streams

QUESTION = next(q for q in load() if q.id == "leave-annual-1")
NOWHERE = "회사 기숙사 이용료는 한 달에 얼마인가요?"
HONEST, DISHONEST = Faults(phrasings=False), Faults(phrasings=False, honesty=0.0)
WRONG = Faults(phrasings=False, wrong_fact_rate=1.0)


def truths(**answers: Gold) -> Truths:
    known: Mapping[str, Gold] = {squeezed(NOWHERE): Gold(())}
    return Truths(answers={**known, **answers})


@asynccontextmanager
async def chatbot(folder: Path, small: Faults, big: Faults, seed: int = 1) -> AsyncIterator[tuple[House, Provider]]:
    """Its big model's provider is what is yielded beside it."""

    def config(faults: Faults) -> ProviderConfig:
        return ProviderConfig(profile="instant", faults=faults, truths=truths(), seed=seed)

    async with (
        running_provider(config(small)) as one,
        running_provider(config(big)) as other,
        over(folder, one.base_url, other.base_url) as it,
    ):
        yield it, other


@asynccontextmanager
async def over(folder: Path, small: str, big: str) -> AsyncIterator[House]:
    own = {
        "name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]},
        "draft": {"model": "small", "mode": "race", "max_extra_spend": 1.0}, "deadline": {"seconds": 3},
    }  # fmt: skip
    models, documents = [model("small", small), model("big", big), own], [{"name": "handbook"}]
    await fill(settings(folder, *models, documents=documents), "handbook", FOLDER / "hr")
    async with house(folder, *models, documents=documents) as it:
        yield it


async def test_an_answer_more_likely_wrong_than_right_is_not_given(tmp_path: Path) -> None:
    async with chatbot(tmp_path, HONEST, DISHONEST) as (it, provider):
        reply = await it.chat(NOWHERE, "handbook")
        assert (reply.status, reply.headers["x-ocho-served-by"]) == (200, "notice")
        assert reply.text.startswith("문서에서 이 질문에 대한 답을 찾을 수 없습니다. 가장 가까운 문서: ")
        assert [call.body["logprobs"] for call in provider.calls] == [True, True]  # asked once more
        await it.kept()
        again = await it.chat(NOWHERE, "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", reply.text)


async def test_nor_is_it_where_no_time_is_promised(tmp_path: Path) -> None:
    own = {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}}
    own["settle"] = {"max_extra_spend": 1.0}
    documents = [{"name": "handbook"}]
    async with scripted(streams(*answering("연차휴가는 1년에 7777일입니다."))) as upstream:
        models = [model("big", upstream.base_url), own]
        await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
        async with house(tmp_path, *models, documents=documents) as it:
            reply = await it.chat(QUESTION.text, "handbook")
            assert (reply.status, reply.headers["x-ocho-served-by"]) == (200, "notice")
            assert reply.text.startswith("문서에서 이 질문에 대한 답을 찾을 수 없습니다. 가장 가까운 문서: ")
            assert [orjson.loads(asked.body)["logprobs"] for asked in upstream.asked] == [True] * MOST_SAMPLES
            assert it.count("ocho_settled_total", result="none") == 1
            await it.kept()
            again = await it.chat(QUESTION.text, "handbook")
            assert (again.headers["x-ocho-cache"], again.text) == ("exact", reply.text)


async def test_the_notice_streams_as_any_answer(tmp_path: Path) -> None:
    async with chatbot(tmp_path, HONEST, DISHONEST) as (it, _), it.openai() as client:
        stream = await client.chat.completions.create(
            model="handbook", messages=[{"role": "user", "content": NOWHERE}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        assert "찾을 수 없습니다" in said(chunks)
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


async def test_log_probabilities_that_the_caller_did_not_ask_for_are_not_passed_on(tmp_path: Path) -> None:
    async with chatbot(tmp_path, WRONG, HONEST) as (it, provider), it.openai() as client:
        asked = QUESTION.messages
        for _ in range(2):  # made, and kept
            stream = await client.chat.completions.create(model="handbook", messages=asked, stream=True)
            chunks = [chunk async for chunk in stream]
            assert judge(QUESTION, said(chunks)) is Verdict.RIGHT
            assert not any(choice.logprobs for chunk in chunks for choice in chunk.choices)
            await it.kept()
        assert {call.body["logprobs"] for call in provider.calls} == {True}
        whole = await client.chat.completions.create(model="handbook", messages=asked)
        assert whole.choices[0].logprobs is None


async def test_a_provider_that_gives_no_log_probabilities_is_asked_without(tmp_path: Path) -> None:
    wrong = ProviderConfig(profile="instant", faults=WRONG)
    async with (
        running_provider(wrong) as careless,
        scripted(
            refuses(400, "logprobs is not supported"), streams(*answering("정규직 직원의 연차휴가는 1년에 16일입니다."))
        ) as old,
        over(tmp_path, careless.base_url, old.base_url) as it,
    ):
        for _ in range(2):
            reply = await it.chat(QUESTION.text, "handbook", x_ocho_cache="off")
            assert (reply.status, reply.headers["x-ocho-served-by"]) == (200, "model")
            assert "16일" in reply.text
        bodies = [orjson.loads(asked.body) for asked in old.asked]
        assert "logprobs" in bodies[0]
        assert not any("logprobs" in body for body in bodies[-2:])


def answering(text: str) -> list[bytes]:
    """A stream without log-probabilities."""
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    pieces = [{"role": "assistant", "content": ""}, {"content": text}]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": piece, "finish_reason": None} for piece in pieces]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    lines = [b"data: " + orjson.dumps({**chunk, "choices": [choice]}) + b"\n\n" for choice in choices]
    return [*lines, b"data: [DONE]\n\n"]


def said(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
