"""Streams that break off in the middle, over real sockets: gone on with elsewhere, once, or ended in an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from bench.handbook import FOLDER, Question, load
from bench.provider import Faults, Provider, ProviderConfig, running_provider
from tests.flows.house import DONE, ROLE, House, chunk, deployment, fill, house, model, scripted, settings, streams

QUESTION: Question = next(q for q in load() if q.id == "leave-annual-1")
BROKEN = streams(ROLE, chunk("연차는 1년에 "), then="cut")
REST = streams(ROLE, chunk("16일"), chunk("입니다."), chunk(finish="stop"), DONE)


@asynccontextmanager
async def handbook(folder: Path, **ailment: bool) -> AsyncIterator[tuple[House, Provider]]:
    """A chatbot whose model has two deployments; something is the matter with the first."""
    config = ProviderConfig(models={"ill": "instant", "well": "instant"}, faults=Faults(phrasings=False))
    async with running_provider(config) as provider:
        big = {
            "name": "big",
            "deployments": [deployment(name, provider.base_url, model=name) for name in ("ill", "well")],
            "timeouts": {"idle_s": 0.3},
        }
        chatbot = {
            "name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]},
            "deadline": {"seconds": 4}, "sized": True,
        }  # fmt: skip
        documents = [{"name": "handbook"}]
        await fill(settings(folder, big, chatbot, documents=documents), "handbook", FOLDER / "hr")
        async with house(folder, big, chatbot, documents=documents) as it:
            async with it.http.post(f"{provider.root_url}/bench/ailments", json={"ill": ailment}) as reply:
                assert reply.status == 200
            yield it, provider


def pair(one: str, other: str, **more: Any) -> dict[str, Any]:
    return model("m", one, other, cache=True, **more)


@pytest.mark.parametrize("ailment", ["breaks", "hangs"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_an_answer_of_the_stand_in_provider_is_whole_although_its_stream_broke(
    tmp_path: Path, ailment: str, stream: bool
) -> None:
    async with handbook(tmp_path, **{ailment: True}) as (it, provider):
        expected = ""
        for _ in range(20):  # which deployment is first is drawn
            before = len(provider.calls)
            body = {"stream": stream, "stream_options": {"include_usage": True}}
            reply = await it.chat(QUESTION.text, "handbook", body=body, cache_control="no-store")
            assert reply.status == 200
            expected = expected or reply.text
            assert reply.text == expected
            assert expected.count("[doc") == expected.count("].")  # whole sentences
            calls = provider.calls[before:]
            if [call.model for call in calls] == ["ill", "well"] and "assistant" in str(calls[1].body["messages"]):
                break
        assert it.count("ocho_resumed_streams_total", result="ok") == 1
        assert it.count("ocho_upstream_attempts_total", kind="resume", result="ok") == 1
        if stream:
            assert reply.events[-1] == b"[DONE]"
            answered = [c for c in reply.chunks if c["choices"] and "context" not in c["choices"][0]["delta"]]
            assert len({c["id"] for c in answered}) == 1
            assert ["role" in c["choices"][0]["delta"] for c in answered].count(True) == 1


async def goes_on(request: web.Request) -> web.StreamResponse:
    """Breaks off, and gives the rest to whoever asks for it."""
    messages = orjson.loads(await request.read())["messages"]
    return await (REST if {"role": "assistant", "content": "연차는 1년에 "} in messages else BROKEN)(request)


async def test_the_rest_is_asked_for_with_what_was_sent_and_joined_to_it(tmp_path: Path) -> None:
    async with (
        scripted(goes_on) as one,
        scripted(goes_on) as other,
        house(tmp_path, pair(one.base_url, other.base_url)) as it,
    ):
        reply = await it.chat("연차 며칠?", "m", body={"stream": True})
        assert (reply.text, reply.events[-1]) == ("연차는 1년에 16일입니다.", b"[DONE]")
        assert (len(one.asked), len(other.asked)) == (1, 1)
        await it.kept()
        again = await it.chat("연차 며칠?", "m")
        assert (again.text, again.headers["x-ocho-cache"]) == ("연차는 1년에 16일입니다.", "exact")


async def test_it_is_tried_once_and_only_elsewhere(tmp_path: Path) -> None:
    async with scripted(BROKEN) as one, scripted(BROKEN) as other:
        for urls, asked in ((one.base_url,), 1), ((one.base_url, other.base_url), 2):
            before = len(one.asked) + len(other.asked)
            async with house(tmp_path, model("m", *urls, cache=True)) as it:
                reply = await it.chat("연차 며칠?", "m", body={"stream": True})
                assert reply.text == "연차는 1년에 "  # nothing twice, and an error instead of [DONE]
                assert reply.chunks[-1]["error"]["code"] == "upstream_broken"
                assert it.count("ocho_resumed_streams_total", result="failed") == asked - 1
            assert len(one.asked) + len(other.asked) - before == asked


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"n": 2},
        {"logprobs": True},
    ],
    ids=["json", "tools", "choices", "logprobs"],
)
async def test_what_cannot_be_joined_ends_in_an_error(tmp_path: Path, body: dict[str, Any]) -> None:
    async with (
        scripted(BROKEN) as one,
        scripted(BROKEN) as other,
        house(tmp_path, pair(one.base_url, other.base_url)) as it,
    ):
        reply = await it.chat("연차 며칠?", "m", body={"stream": True, **body}, cache_control="no-store")
        assert reply.chunks[-1]["error"]["code"] == "upstream_broken"
        assert reply.text == "연차는 1년에 "
        assert len(one.asked) + len(other.asked) == 1


async def test_another_text_is_not_joined_on_and_not_kept(tmp_path: Path) -> None:
    long = "연차휴가는 정규직 직원이면 누구나 1년에 16일을 쓸 수 있으며, 휴가 시작 3영업일 전까지 신청해야 합니다."
    again = f"{long[:70]} 다만 계약직은 다릅니다."
    other_text = streams(ROLE, *(chunk(letter) for letter in again[:50]), chunk("!!!!"), chunk(finish="stop"), DONE)
    broken = streams(ROLE, *(chunk(word) for word in (long[:30], long[30:65])), then="cut")
    async with (
        scripted(broken) as one,
        scripted(broken, other_text) as other,
        house(tmp_path, pair(one.base_url, other.base_url)) as it,
    ):
        reply = await it.chat("연차 며칠?", "m", body={"stream": True})
        assert reply.chunks[-1]["error"]["code"] == "upstream_broken"
        assert reply.text == long[:65]
        assert it.count("ocho_resumed_streams_total") == 1
        assert it.count("ocho_cache_writes_total", result="kept") == 0
