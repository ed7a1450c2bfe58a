"""OpenAI's Responses API, as its SDK speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseOutputMessage, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from bench.provider import Provider, ProviderConfig, running_provider
from tests.flows.house import (
    DONE,
    FINE,
    ROLE,
    UNSETTLED,
    House,
    Reaction,
    Reply,
    chunk,
    event,
    fill,
    house,
    model,
    refuses,
    says,
    scripted,
)
from tests.flows.house import streams as sends

QUESTION = "정규직의 연차휴가는 며칠인가요?"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USED = event(
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 12,
            "total_tokens": 42,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
    }
)


@pytest.fixture
async def it(provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    """A model that is only passed on, one that is cached, and one with documents."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "leave.md").write_text(
        "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 15일이다.\n", encoding="utf-8"
    )
    named = (
        model("gpt-4", provider.base_url),
        model("cached", provider.base_url, cache=True),
        {
            "name": "handbook",
            "answers_with": "gpt-4",
            "documents": {"collections": ["hr"], "hard_s": 5},
            "settle": UNSETTLED,
        },
    )
    async with house(tmp_path, *named, documents=[{"name": "hr"}]) as running:
        await fill(running.gateway.settings, "hr", folder)
        yield running


def told(reply: Reply) -> list[Any]:
    """The events of a stream; each is what the SDK's types demand, and the numbers have no gap."""
    frames = [frame for frame in reply.body.split(b"\n\n") if frame and not frame.startswith(b":")]
    heads = [frame.split(b"\n", 1) for frame in frames]
    payloads = [orjson.loads(data.removeprefix(b"data: ")) for _, data in heads]
    assert [head.decode() for head, _ in heads] == [f"event: {payload['type']}" for payload in payloads]
    assert [payload["sequence_number"] for payload in payloads] == list(range(len(payloads)))
    return [EVENT.validate_python(payload) for payload in payloads]


@asynccontextmanager
async def cached(folder: Path, *reactions: Reaction, **more: Any) -> AsyncIterator[tuple[House, AsyncOpenAI]]:
    """A cached model whose upstream does as it is told."""
    async with (
        scripted(*reactions) as upstream,
        house(folder, model("m", upstream.base_url, cache=True, **more)) as it,
        it.openai() as client,
    ):
        yield it, client


@asynccontextmanager
async def slow(folder: Path, time_scale: float) -> AsyncIterator[tuple[House, Provider]]:
    """A cached model of a provider that takes its time."""
    config = ProviderConfig(profile="gpt4o-2024", time_scale=time_scale)
    async with (
        running_provider(config) as provider,
        house(folder, model("m", provider.base_url, cache=True)) as it,
    ):
        yield it, provider


async def test_a_text_is_answered_with_a_response(it: House) -> None:
    async with it.openai() as client:
        raw = await client.responses.with_raw_response.create(
            model="cached", input="연차 며칠?", instructions="짧게", temperature=0, metadata={"app": "hr"}
        )
    response = raw.parse()
    assert response.output_text
    assert (response.status, response.model, response.to_dict()["store"]) == ("completed", "cached", False)
    assert (response.instructions, response.temperature, response.metadata) == ("짧게", 0, {"app": "hr"})
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert (raw.headers["x-ocho-cache"], raw.headers["x-ocho-served-by"]) == ("miss", "model")
    assert "upstream_ttft;dur=" in raw.headers["server-timing"]
    Response.model_validate(orjson.loads(raw.content))  # the SDK itself does not look closely


async def test_the_provider_is_asked_what_was_asked(it: House, provider: Provider) -> None:
    asked: Any = [
        {"role": "developer", "content": "한국어로"},
        {"role": "user", "content": [{"type": "input_text", "text": "연차 며칠?"}]},
        {
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "15일", "annotations": [], "logprobs": []}],
        },
        {"role": "user", "content": [{"type": "input_text", "text": text} for text in ("그럼", "병가는?")]},
    ]  # fmt: skip
    schema: dict[str, object] = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    async with it.openai() as client:
        await client.responses.create(
            model="cached", input=asked, instructions="짧게", max_output_tokens=99, top_p=0.9, user="u1",
            reasoning={"effort": "low"}, store=False, include=["reasoning.encrypted_content"], truncation="disabled",
            text={"format": {"type": "json_schema", "name": "days", "schema": schema, "strict": True}},
        )  # fmt: skip
    sent = dict(provider.calls[0].body)
    assert sent.pop("messages") == [
        {"role": "system", "content": "짧게"},
        {"role": "developer", "content": "한국어로"},
        {"role": "user", "content": "연차 며칠?"},
        {"role": "assistant", "content": "15일"},
        {"role": "user", "content": [{"type": "text", "text": "그럼"}, {"type": "text", "text": "병가는?"}]},
    ]
    for gone in ("stream", "stream_options"):
        sent.pop(gone)
    assert sent == {
        "model": "cached", "max_completion_tokens": 99, "top_p": 0.9, "user": "u1", "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "days", "schema": schema, "strict": True}},
    }  # fmt: skip


async def test_a_model_of_the_caller_is_parsed(it: House) -> None:
    class Days(BaseModel):
        days: int

    async with it.openai() as client:
        parsed = await client.responses.parse(model="cached", input="연차 며칠?", text_format=Days)
    assert isinstance(parsed.output_parsed, Days)


async def test_a_stream_has_the_events_that_the_sdk_adds_up(it: House) -> None:
    async with it.openai() as client, client.responses.stream(model="cached", input="연차 며칠?") as stream:
        kinds = [e.type async for e in stream]
        final = await stream.get_final_response()
    assert [kind for n, kind in enumerate(kinds) if kind not in kinds[:n]] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    await it.kept()
    streamed = await it.post("/v1/responses", {"model": "cached", "input": "연차 며칠?", "stream": True})
    events = told(streamed)
    assert streamed.headers["x-ocho-cache"] == "exact"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    assert b": ocho-timing " in streamed.body
    assert b"[DONE]" not in streamed.body


async def test_chat_and_responses_share_their_answers(it: House, provider: Provider) -> None:
    chat = await it.chat("연차 며칠?", "cached", body={"temperature": 0, "max_completion_tokens": 50})
    await it.kept()
    ask = {"model": "cached", "input": "연차 며칠?", "temperature": 0, "max_output_tokens": 50, "metadata": {"a": "b"}}
    first, again = await it.post("/v1/responses", ask), await it.post("/v1/responses", ask)
    for reply in (first, again):
        assert reply.headers["x-ocho-cache"] == "exact"
        assert reply.json["output"][0]["content"][0]["text"] == chat.text
        assert reply.json["usage"]["input_tokens"] == chat.json["usage"]["prompt_tokens"]
    assert first.json["id"] != again.json["id"]
    other = await it.post("/v1/responses", {**ask, "instructions": "짧게"})
    assert other.headers["x-ocho-cache"] == "miss"
    assert len(provider.calls) == 2


async def test_equal_requests_under_way_share_one_call(tmp_path: Path) -> None:
    async with slow(tmp_path, time_scale=0.2) as (it, provider):
        ask = {"model": "m", "input": "연차 며칠?"}
        asks = [it.post("/v1/responses", {**ask, "stream": n % 2 == 1}) for n in range(4)]
        *replies, chat = await asyncio.gather(*asks, it.chat("연차 며칠?", "m"))
    texts = {replies[n].json["output"][0]["content"][0]["text"] for n in (0, 2)}
    texts |= {told(replies[n])[-1].response.output_text for n in (1, 3)}
    assert texts == {chat.text}
    assert len(provider.calls) == 1


async def test_citations_of_documents_are_annotations(it: House, provider: Provider) -> None:
    async with it.openai() as client:
        response = await client.responses.create(model="handbook", input=QUESTION)
        await it.kept()
        stream = await client.responses.create(model="handbook", input=QUESTION, stream=True)
        events: list[Any] = [e async for e in stream]
    assert "15일" in response.output_text
    [item] = cast("list[ResponseOutputMessage]", response.output)
    part: Any = item.content[0]
    assert part.annotations
    for cited in part.annotations:
        assert (cited.type, cited.filename) == ("file_citation", "leave.md")
        assert response.output_text[cited.index :].startswith("[doc1]")
    added = [e.annotation for e in events if e.type == "response.output_text.annotation.added"]
    assert [a.model_dump() for a in added] == [a.model_dump() for a in part.annotations]
    assert events[-1].response.output_text == response.output_text
    assert len(provider.calls) == 1


async def test_the_passages_come_as_search_results_to_who_asks(it: House) -> None:
    ask: dict[str, Any] = {"model": "handbook", "input": QUESTION, "include": ["file_search_call.results"]}
    async with it.openai() as client:
        whole = await client.responses.create(**ask)
        async with client.responses.stream(**ask) as stream:
            streamed = await stream.get_final_response()
    for response in (whole, streamed):
        search: Any = response.output[0]
        assert (search.type, search.queries) == ("file_search_call", [QUESTION])
        assert "15일" in search.results[0].text
        assert "15일" in response.output_text
    told(await it.post("/v1/responses", {**ask, "stream": True}))


async def test_file_search_over_what_is_kept_here_is_answered_here(it: House) -> None:
    tools: Any = [{"type": "file_search", "vector_store_ids": ["hr"], "max_num_results": 3}]
    async with it.openai() as client:
        raw = await client.responses.with_raw_response.create(model="gpt-4", input=QUESTION, tools=tools)
        stores = [store async for store in client.vector_stores.list()]
        found = await client.vector_stores.search(stores[0].id, query=QUESTION)
    response = raw.parse()
    assert "15일" in response.output_text
    [item] = cast("list[ResponseOutputMessage]", response.output)
    part: Any = item.content[0]
    assert {a.file_id for a in part.annotations} == {found.data[0].file_id}
    assert response.tools[0].type == "file_search"


async def test_azure_clients_are_answered_on_their_paths(it: House) -> None:
    async with it.azure(api_version="2025-04-01-preview") as azure:
        response = await azure.responses.create(model="handbook", input=QUESTION)
        assert "15일" in response.output_text
    async with it.openai(base_url=f"{it.url}/openai/v1") as client:
        assert "15일" in (await client.responses.create(model="handbook", input=QUESTION)).output_text
    reply = await it.post("/openai/deployments/handbook/responses?api-version=x", {"input": QUESTION})
    assert (reply.status, reply.json["object"]) == (200, "response")
    assert (await it.post("/v1/responses/", {"model": "handbook", "input": QUESTION})).status == 404


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, "tools"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning.summary"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"seed": 5}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"instructions": ["a"]}, "instructions"),
        ({"metadata": "a"}, "metadata"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "file_search_call", "id": "fs_1"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_here_is_refused_by_name(
    it: House, provider: Provider, more: dict[str, Any], param: str
) -> None:
    async with it.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="handbook", input=QUESTION, extra_body=more)
    assert refused.value.param == param
    assert provider.calls == []


async def test_what_only_the_provider_has_is_passed_on_where_only_the_cache_is_left_out(tmp_path: Path) -> None:
    answer = {"id": "resp_theirs", "object": "response", "output": []}
    async with scripted(says(body=answer)) as upstream:
        named = (model("plain", upstream.base_url), model("cached", upstream.base_url, cache=True))
        async with house(tmp_path, *named) as it:
            for ask in (
                {"model": "plain", "input": "hi"},
                {"model": "plain", "input": "hi", "tools": [{"type": "web_search"}]},
                {"model": "cached", "input": "hi", "store": True},
                {"model": "cached", "input": "hi", "previous_response_id": "resp_theirs"},
                {"model": "cached", "input": "hi", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
                {"prompt": {"id": "pmpt_1"}},
            ):
                sent = orjson.dumps(ask)
                reply = await it.post("/v1/responses", sent)
                assert (reply.json, reply.headers["x-ocho-cache"]) == (answer, "bypass")
                assert (upstream.asked[-1].path, upstream.asked[-1].body) == ("/v1/responses", sent)
            asked = len(upstream.asked)
            ours = {"model": "cached", "input": "hi", "previous_response_id": "resp_ocho1"}
            assert (await it.post("/v1/responses", ours)).error["param"] == "previous_response_id"
            assert (await it.post("/v1/responses", {"model": "nobody", "input": "hi"})).status == 404
            assert len(upstream.asked) == asked


async def test_usage_an_early_end_and_a_refusal_are_told(tmp_path: Path) -> None:
    cut = (ROLE, chunk("안녕"), chunk(finish="length"), USED, DONE)
    refused = (ROLE, chunk(refusal="그것은 "), chunk(refusal="안 됩니다"), chunk(finish="stop"), DONE)
    async with cached(tmp_path, sends(*cut), sends(*cut), sends(*refused), sends(*refused)) as (it, _):
        ask = {"model": "m", "input": "hi"}
        whole = Response.model_validate((await it.post("/v1/responses", ask)).json)
        events = told(await it.post("/v1/responses", {**ask, "stream": True}))
        no = Response.model_validate((await it.post("/v1/responses", ask)).json)
        no_events = told(await it.post("/v1/responses", {**ask, "stream": True}))
    assert events[-1].type == "response.incomplete"
    for response in (whole, events[-1].response):
        assert (response.status, response.output_text) == ("incomplete", "안녕")
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
        usage: Any = response.usage
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (30, 12, 42)
        assert usage.input_tokens_details.cached_tokens == 8
        assert usage.output_tokens_details.reasoning_tokens == 5
    for response in (no, no_events[-1].response):
        item: Any = response.output[0]
        assert [part.refusal for part in item.content] == ["그것은 안 됩니다"]


async def test_limits_of_the_key_hold(tmp_path: Path) -> None:
    auth = {"keys": [{"key": "key-of-app-1", "tenant": "acme", "rpm": 1}]}
    async with (
        scripted(sends(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True), auth=auth) as it,
    ):
        first, second = [
            await it.post("/v1/responses", {"model": "m", "input": "hi"}, authorization="Bearer key-of-app-1")
            for _ in range(2)
        ]
        unknown = await it.post("/v1/responses", {"model": "m", "input": "hi"}, authorization="Bearer nobody")
    assert (first.status, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    assert (second.status, second.error["code"]) == (429, "rate_limit_exceeded")
    assert unknown.status == 401
    assert len(upstream.asked) == 1


async def test_errors_before_the_answer_are_statuses(tmp_path: Path) -> None:
    async with cached(tmp_path, refuses(400, "too long"), refuses(500), retries=0) as (_, client):
        for stream, status in ((False, 400), (True, 500)):
            with pytest.raises(openai.APIStatusError) as failed:
                await client.responses.create(model="m", input="hi", stream=stream)
            assert failed.value.status_code == status


async def test_a_stream_that_breaks_off_fails_and_raises(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def read(client: AsyncOpenAI) -> None:
        async for e in await client.responses.create(model="m", input="hi", stream=True):
            seen.append(e)

    async with cached(tmp_path, sends(*FINE[:2], then="cut")) as (it, client):
        with pytest.raises(openai.APIError):
            await read(client)
        events = told(await it.post("/v1/responses", {"model": "m", "input": "hi", "stream": True}))
    assert [e.type for e in events] == [*(e.type for e in seen), "error"]
    assert (seen[-1].type, seen[-1].response.status) == ("response.failed", "failed")
    assert seen[-1].response.error.code == "server_error"
    assert events[-1].code == "upstream_broken"


async def test_who_leaves_in_the_middle_is_not_answered_on(tmp_path: Path) -> None:
    async with slow(tmp_path, time_scale=2) as (it, provider), it.openai() as client:
        stream = await client.responses.create(model="m", input="연차 며칠?", stream=True)
        async for e in stream:
            if e.type == "response.output_text.delta":
                break
        await stream.close()
        await provider.until(lambda calls: all(call.cancelled for call in calls))
        while it.count("ocho_in_flight_requests"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert it.count("ocho_client_disconnects_total") == 1
        labels = {"gen_ai_operation_name": "responses", "gen_ai_request_model": "m", "error_type": "client_left"}
        assert it.count("gen_ai_server_request_duration_seconds_count", **labels) == 1
