"""Drafts and promised times over real HTTP: the gateway, the openai SDK, and the stand-in provider."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.handbook import FOLDER, Question, Verdict, judge, load
from bench.provider import Faults, Provider, ProviderConfig, running_provider
from bench.provider.records import Call
from gateway.retrieval.grounding import SEED
from tests.flows.house import House, fill, house, model, refuses, scripted, settings

FAULTLESS = Faults(phrasings=False)
QUESTION: Question = next(q for q in load() if q.id == "leave-annual-1")
SLOW, FAST = "azure-gpt4-2023", "instant"
RESERVE_S = 0.4
LOOKS, VERDICTS = 3, 2  # over all passages, the best few, the best; on the two likeliest
CALLS = 1 + LOOKS + VERDICTS  # in a race


@asynccontextmanager
async def handbook(
    folder: Path, big: str = SLOW, small: str = FAST, faults: Faults = FAULTLESS, **chatbot: Any
) -> AsyncIterator[tuple[House, Provider]]:
    """A chatbot over the sample handbook; ``chatbot``: its model's settings."""
    config = ProviderConfig(models={"big": big, "small": small}, faults=faults)
    async with running_provider(config) as provider:
        models = [
            model("big", provider.base_url),
            model("small", provider.base_url),
            {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, **chatbot},
        ]
        documents = [{"name": "handbook"}]
        await fill(settings(folder, *models, documents=documents), "handbook", FOLDER / "hr")
        async with house(folder, *models, documents=documents) as it:
            yield it, provider


def drafting(mode: str = "cascade", **more: Any) -> dict[str, Any]:
    return {"draft": {"model": "small", "mode": mode, "max_extra_spend": 1.0}, "deadline": {"seconds": 3}, **more}


async def test_a_draft_that_passes_the_gate_is_the_answer_and_is_kept(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting()) as (it, provider), it.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="handbook", messages=[{"role": "user", "content": QUESTION.text}]
        )
        assert raw.headers["x-ocho-served-by"] == "draft"
        assert "x-ocho-labelled" not in raw.headers
        text = raw.parse().choices[0].message.content or ""
        assert judge(QUESTION, text) is Verdict.RIGHT
        assert raw.parse().choices[0].logprobs is None  # asked for by us, not by the caller
        assert [call.model for call in provider.calls] == ["small"] * (LOOKS + VERDICTS)
        await it.kept()
        again = await it.chat(QUESTION.text, "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", text)


async def test_the_draft_model_is_asked_whether_the_likeliest_passages_answer(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting()) as (it, _):
        await it.chat(QUESTION.text, "handbook")
        assert it.count("ocho_spend_tokens_total", reason="answerability", type="output") == VERDICTS
        assert sum(it.count("ocho_answerability_total", result=word) for word in ("yes", "no", "unclear")) == VERDICTS
        assert it.count("ocho_answerability_total", result="failed") == 0


async def test_it_is_not_asked_where_that_is_switched_off(tmp_path: Path) -> None:
    chatbot = drafting()
    chatbot["draft"]["answerability"] = False
    async with handbook(tmp_path, **chatbot) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook")
        assert reply.headers["x-ocho-served-by"] == "draft"
        assert [call.model for call in provider.calls] == ["small"] * LOOKS


async def test_a_draft_answers_over_the_responses_api_too(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting()) as (it, _), it.openai() as client:
        raw = await client.responses.with_raw_response.create(model="handbook", input=QUESTION.text)
        assert raw.headers["x-ocho-served-by"] == "draft"
        assert judge(QUESTION, raw.parse().output_text) is Verdict.RIGHT


async def test_a_draft_streams_to_the_sdk_as_any_answer(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting()) as (it, _), it.openai() as client:
        stream = await client.chat.completions.create(
            model="handbook", messages=[{"role": "user", "content": QUESTION.text}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert judge(QUESTION, text) is Verdict.RIGHT
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert (chunks[0].model_extra or {}) == {} or chunks[0].choices[0].delta.role == "assistant"


async def test_a_draft_that_cites_nothing_is_given_and_kept_with_the_citation_found_for_it(tmp_path: Path) -> None:
    silent_about_it = Faults(phrasings=False, cites=False)
    async with handbook(tmp_path, faults=silent_about_it, **drafting()) as (it, provider), it.openai() as client:
        asked: Any = {"model": "handbook", "messages": [{"role": "user", "content": QUESTION.text}]}
        raw = await client.chat.completions.with_raw_response.create(**asked)
        assert raw.headers["x-ocho-served-by"] == "draft"
        text = raw.parse().choices[0].message.content or ""
        assert judge(QUESTION, text) is Verdict.RIGHT
        cited = re.findall(r" \[doc(\d+)\]", text)
        context = (raw.parse().choices[0].message.model_extra or {})["context"]
        assert ["16일" in context["citations"][int(number) - 1]["content"] for number in cited] == [True]
        fresh = await it.chat(QUESTION.text, "handbook", cache_control="no-store", body={"stream": True})
        assert (fresh.headers["x-ocho-served-by"], fresh.text) == ("draft", text)
        await it.kept()
        for body in ({}, {"stream": True}):
            again = await it.chat(QUESTION.text, "handbook", body=body)
            assert (again.headers["x-ocho-cache"], again.text) == ("exact", text)
        assert {call.model for call in provider.calls} == {"small"}


async def test_a_wrong_number_without_a_citation_finds_none(tmp_path: Path) -> None:
    wrong = ProviderConfig(profile="instant", faults=Faults(phrasings=False, wrong_fact_rate=1.0, cites=False))
    async with (
        running_provider(wrong) as careless,
        running_provider(ProviderConfig(profile="instant", faults=FAULTLESS)) as careful,
        two(tmp_path, careless.base_url, careful.base_url) as it,
    ):
        reply = await it.chat(QUESTION.text, "handbook")
        assert (reply.headers["x-ocho-served-by"], judge(QUESTION, reply.text)) == ("model", Verdict.RIGHT)
        assert it.count("ocho_drafts_total", result="uncited") == 1


@asynccontextmanager
async def two(tmp_path: Path, small: str, *big: str, mode: str = "cascade") -> AsyncIterator[House]:
    """A chatbot whose draft model and big model are at different providers."""
    own = {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, **drafting(mode)}
    models = [model("small", small), model("big", *big), own]
    documents = [{"name": "handbook"}]
    await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
    async with house(tmp_path, *models, documents=documents) as it:
        yield it


async def test_a_wrong_number_never_passes_and_the_big_model_answers_instead(tmp_path: Path) -> None:
    wrong = ProviderConfig(profile="instant", faults=Faults(phrasings=False, wrong_fact_rate=1.0))
    right = ProviderConfig(profile="instant", faults=FAULTLESS)
    async with (
        running_provider(wrong) as careless,
        running_provider(right) as careful,
        two(tmp_path, careless.base_url, careful.base_url) as it,
    ):
        reply = await it.chat(QUESTION.text, "handbook")
        assert reply.headers["x-ocho-served-by"] == "model"
        assert judge(QUESTION, reply.text) is Verdict.RIGHT
        assert it.count("ocho_drafts_total", result="number") == 1


async def test_a_refusal_that_no_draft_bears_out_is_asked_about_once_more(tmp_path: Path) -> None:
    refusing = ProviderConfig(profile="instant", faults=Faults(phrasings=False, refusal_rate=1.0))
    async with (
        scripted(refuses(400, "no")) as broken,
        running_provider(refusing) as timid,
        two(tmp_path, broken.base_url, timid.base_url, mode="race") as it,
    ):
        reply = await it.chat(QUESTION.text, "handbook")
        assert judge(QUESTION, reply.text) is Verdict.REFUSED  # the second one is no better: the first stands
        assert [call.body["seed"] for call in timid.calls] == [SEED, SEED + 1]
        assert [passages(call) for call in timid.calls] == [6, 6]


async def test_a_refusal_that_a_draft_bears_out_is_not_asked_about_again(tmp_path: Path) -> None:
    faults = Faults(phrasings=False, refusal_rate=1.0)
    hesitant = ProviderConfig(profile="mini-2025", faults=faults)
    refusing = ProviderConfig(profile="instant", faults=faults)
    async with (
        running_provider(hesitant) as drafts,
        running_provider(refusing) as timid,
        two(tmp_path, drafts.base_url, timid.base_url, mode="race") as it,
    ):
        reply = await it.chat(QUESTION.text, "handbook")  # the refusal is there before the drafts
        assert judge(QUESTION, reply.text) is Verdict.REFUSED
        assert len(timid.calls) == 1


async def test_what_is_settled_is_asked_anew_over_the_same_passages(tmp_path: Path) -> None:
    faults = Faults(phrasings=False, refusal_rate=1.0)
    async with handbook(tmp_path, big=FAST, faults=faults, settle={"mode": "on"}) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook")
        assert judge(QUESTION, reply.text) is Verdict.REFUSED
        assert [passages(call) for call in provider.calls] == [6, 6]
        assert [call.body["logprobs"] for call in provider.calls] == [True, True]


def passages(call: Call) -> int:
    """That a prompt shows."""
    return len(re.findall(r"^\[doc\d+\]", "\n".join(m["content"] for m in call.body["messages"]), re.MULTILINE))


async def test_a_big_model_that_is_silent_is_asked_elsewhere_while_that_can_still_be_in_time(tmp_path: Path) -> None:
    wrong = ProviderConfig(profile="instant", faults=Faults(phrasings=False, wrong_fact_rate=1.0))
    silent = ProviderConfig(profile="azure-gpt4-2023", faults=FAULTLESS, time_scale=100)
    right = ProviderConfig(profile="mini-2025", faults=FAULTLESS)
    async with (
        running_provider(wrong) as careless,
        running_provider(right) as one,
        running_provider(right) as other,
        two(tmp_path, careless.base_url, one.base_url, other.base_url, mode="race") as it,
    ):
        for _ in range(2):  # their guesses were used: what they earned is there for another call
            await it.chat(QUESTION.text, "handbook", x_ocho_cache="off")
        one.config, before = silent, len(one.calls)
        while len(one.calls) == before:
            reply = await it.chat(QUESTION.text, "handbook", x_ocho_cache="off", x_ocho_deadline_ms="5000")
        assert (reply.headers["x-ocho-served-by"], reply.headers["x-ocho-deployment"]) == ("model", "big-2")
        assert judge(QUESTION, reply.text) is Verdict.RIGHT
        await one.until(lambda calls: all(call.ended for call in calls))
        assert one.calls[-1].cancelled


async def test_nothing_ready_in_time_gives_the_passage_with_its_source_and_says_so(tmp_path: Path) -> None:
    async with handbook(tmp_path, small=SLOW, **drafting()) as (it, _):
        began = time.monotonic()
        reply = await it.chat(QUESTION.text, "handbook", x_ocho_deadline_ms="600")
        seconds = time.monotonic() - began
        assert reply.headers["x-ocho-served-by"] == "quote"
        assert reply.headers["x-ocho-labelled"] == "true"
        assert "출처: handbook/" in reply.text
        assert seconds < 0.6
        assert it.count("ocho_deadline_total", result="met", degraded_to="quote") == 1
        assert it.count("ocho_cache_writes_total") == 0


async def test_a_stale_answer_goes_before_a_quotation_and_tells_its_age(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting()) as (it, provider):
        first = await it.chat(QUESTION.text, "handbook")
        await it.kept()
        changed = tmp_path / "changed"
        changed.mkdir()
        for source in (FOLDER / "hr").glob("*.md"):
            text = source.read_text(encoding="utf-8")
            (changed / source.name).write_text(text + "\n\n개정 예정입니다.\n", encoding="utf-8")
        await fill(it.gateway.settings, "handbook", changed)
        provider.config = ProviderConfig(models={"big": SLOW, "small": SLOW}, faults=FAULTLESS)
        reply = await it.chat(QUESTION.text, "handbook", x_ocho_deadline_ms="1000")
        assert (reply.headers["x-ocho-served-by"], reply.headers["x-ocho-cache"]) == ("stale", "stale")
        assert reply.text.endswith(first.text)
        assert "1분 전의 답변" in reply.text


async def test_a_caller_may_refuse_drafts(tmp_path: Path) -> None:
    async with handbook(tmp_path, big=FAST, **drafting()) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook", x_ocho_draft="off")
        assert reply.headers["x-ocho-served-by"] == "model"
        assert [call.model for call in provider.calls] == ["big"]


async def test_tools_are_for_the_big_model(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    async with handbook(tmp_path, big=FAST, **drafting()) as (it, provider):
        await it.chat(QUESTION.text, "handbook", body={"tools": [tool]})
        assert [call.model for call in provider.calls] == ["big"]


@pytest.mark.parametrize(
    "fields",
    [
        {"frequency_penalty": 0, "presence_penalty": 0, "stop": None},
        {"n": 1, "logprobs": False, "response_format": {"type": "text"}},
        {"stop": [], "tools": []},
        {"reasoning_effort": "low"},
    ],
)
async def test_a_field_at_its_default_and_an_effort_leave_the_promise_as_it_is(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    async with handbook(tmp_path, **drafting()) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook", body=fields)
        assert reply.headers["x-ocho-served-by"] == "draft"
        assert {call.model for call in provider.calls} == {"small"}
        assert not any("reasoning_effort" in call.body for call in provider.calls)  # asked of the configured model


async def test_the_loser_of_a_race_is_hung_up_on_within_100_ms_where_nothing_is_kept(tmp_path: Path) -> None:
    async with handbook(tmp_path, **drafting("race")) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook", cache_control="no-store")
        ended = time.monotonic()
        assert reply.headers["x-ocho-served-by"] == "draft"
        await provider.until(lambda calls: len(calls) == CALLS and all(call.ended for call in calls))
        loser = next(call for call in provider.calls if call.model == "big")
        assert loser.cancelled
        assert (loser.ended or 0) - ended < 0.1
        assert it.count("ocho_spend_tokens_total", reason="abandoned", type="input") > 100


async def test_a_caller_who_leaves_stops_every_call(tmp_path: Path) -> None:
    async with handbook(tmp_path, small=SLOW, **drafting("race")) as (it, provider):
        asking = asyncio.create_task(it.chat(QUESTION.text, "handbook"))
        await provider.until(lambda calls: len(calls) == CALLS)
        asking.cancel()
        left = time.monotonic()
        await provider.until(lambda calls: all(call.ended for call in calls))
        assert max(call.ended or 0 for call in provider.calls) - left < 0.1


async def test_what_came_late_is_in_the_cache_the_next_time(tmp_path: Path) -> None:
    async with handbook(tmp_path, big="gpt4o-2024", small=SLOW, sized=True, **drafting("race")) as (it, _):
        first = await it.chat(QUESTION.text, "handbook", x_ocho_deadline_ms="500")
        assert first.headers["x-ocho-labelled"] == "true"
        await it.kept()
        again = await it.chat(QUESTION.text, "handbook")
        assert again.headers["x-ocho-cache"] == "exact"
        assert judge(QUESTION, again.text) is Verdict.RIGHT


async def test_a_slow_stream_is_kept_alive_with_comments(tmp_path: Path) -> None:
    async with handbook(tmp_path, small=SLOW, deadline={"seconds": 3.4}) as (it, provider):
        provider.config = ProviderConfig(models={"big": SLOW, "small": SLOW}, faults=FAULTLESS, time_scale=8)
        reply = await it.chat(QUESTION.text, "handbook", body={"stream": True})
        assert reply.headers["x-ocho-served-by"] == "pending"
        assert b": keep-alive\n\n" in reply.body
        assert b": ocho-served-by quote" in reply.body
        assert reply.events[-1] == b"[DONE]"
        assert reply.chunks[1]["ocho"] == {"served_by": "quote", "labelled": True}
        response = await it.post("/v1/responses", {"model": "handbook", "input": QUESTION.text, "stream": True})
        assert response.headers["x-ocho-served-by"] == "pending"
        final = orjson.loads(response.body.rsplit(b"data: ", 1)[1])["response"]
        assert (final["status"], final["ocho"]) == ("completed", {"served_by": "quote", "labelled": True})


async def test_a_dead_provider_leaves_a_quotation_and_without_one_its_error(tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9/v1"
    models = [
        model("big", dead, retries=0),
        {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, "deadline": {}},
        {
            "name": "strict",
            "answers_with": "big",
            "documents": {"collections": ["handbook"]},
            "deadline": {"on_expiry": ["wait"]},
        },
    ]
    documents = [{"name": "handbook"}]
    await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
    async with house(tmp_path, *models, documents=documents) as it:
        reply = await it.chat(QUESTION.text, "handbook")
        assert (reply.status, reply.headers["x-ocho-served-by"]) == (200, "quote")
        refused = await it.chat(QUESTION.text, "strict", body={"stream": True})
        assert (refused.status, refused.error["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_the_provider_finds_wrong_is_told_so_and_not_called_late(
    tmp_path: Path, stream: bool
) -> None:
    wrong = refuses(400, "temperature must be at most 2")
    async with scripted(wrong) as upstream:
        models = [
            model("big", upstream.base_url),
            {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, "deadline": {}},
        ]
        documents = [{"name": "handbook"}]
        await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
        async with house(tmp_path, *models, documents=documents) as it:
            refused = await it.chat(QUESTION.text, "handbook", body={"stream": stream, "temperature": 9})
            assert (refused.status, refused.error["message"]) == (400, "temperature must be at most 2")
            assert len(upstream.asked) == 1


async def test_details_follow_a_draft_and_only_the_short_answer_is_kept(tmp_path: Path) -> None:
    draft = {"model": "small", "mode": "cascade", "details": True}
    async with handbook(tmp_path, big=FAST, small=FAST, draft=draft, deadline={"seconds": 5}) as (it, provider):
        provider.config = ProviderConfig(models={"big": "gpt4o-2024", "small": FAST}, faults=FAULTLESS, time_scale=0.1)
        reply = await it.chat(
            QUESTION.text, "handbook", body={"stream": True, "stream_options": {"include_usage": True}}
        )
        short, _, more = reply.text.partition("\n\n**자세히**\n\n")
        assert judge(QUESTION, short) is Verdict.RIGHT
        assert len(more) > 20
        assert [c["choices"][0]["finish_reason"] for c in reply.chunks if c["choices"]][-1] == "stop"
        asked = provider.calls[-1]
        assert asked.body["messages"][-2] == {"role": "assistant", "content": short}
        assert "do not contradict" in asked.body["messages"][-1]["content"]
        assert asked.output_tokens < reply.chunks[-1]["usage"]["completion_tokens"]  # the draft's are among them
        assert it.count("ocho_spend_tokens_total", reason="details", type="output") > 0
        assert it.count("ocho_deadline_total", result="met") == 1
        await it.kept()
        again = await it.chat(QUESTION.text, "handbook")
        assert (again.headers["x-ocho-cache"], again.text) == ("exact", short)
        assert b'"token"' not in again.body  # log-probabilities are asked for by us, not by the caller


async def test_details_reach_callers_who_do_not_stream_and_never_make_an_answer_fail(tmp_path: Path) -> None:
    draft = {"model": "small", "mode": "cascade", "details": True}
    async with handbook(tmp_path, big=FAST, draft=draft) as (it, provider):
        whole = await it.chat(QUESTION.text, "handbook", cache_control="no-store")
        assert "\n\n**자세히**\n\n" in whole.text
        provider.config = ProviderConfig(models={"small": FAST}, faults=FAULTLESS)  # the big model is gone
        short = await it.chat(QUESTION.text, "handbook", cache_control="no-store")
        assert short.status == 200
        assert judge(QUESTION, short.text) is Verdict.RIGHT
        assert "자세히" not in short.text
        assert it.count("ocho_details_total", result="failed") == 1


async def test_an_answer_made_for_the_cache_only_is_charged_to_the_background(tmp_path: Path) -> None:
    chatbot = {"big": "gpt4o-2024", "small": SLOW, "sized": True, **drafting("race")}
    async with handbook(tmp_path, **chatbot) as (it, _):
        await it.chat(QUESTION.text, "handbook", x_ocho_deadline_ms="500")
        await it.kept()
        assert it.count("ocho_spend_tokens_total", model="big", reason="background", type="input") > 100


async def test_without_an_allowance_nothing_goes_on_in_the_background(tmp_path: Path) -> None:
    deadline = {"seconds": 0.5, "max_late_spend": 0}
    async with handbook(tmp_path, big="gpt4o-2024", sized=True, deadline=deadline) as (it, provider):
        reply = await it.chat(QUESTION.text, "handbook")
        assert reply.headers["x-ocho-labelled"] == "true"
        await provider.until(lambda calls: all(call.ended for call in calls))
        assert [call.cancelled for call in provider.calls] == [True]
