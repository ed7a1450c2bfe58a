"""The provider over real HTTP, asked with the real openai SDK."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from bench.provider import Fault, Faults, Provider, ProviderConfig, running_provider

QUESTION = [
    {
        "role": "system",
        "content": "<documents>\n[doc1] (hr/leave.md)\n계약직 직원의 연차휴가는 1년에 13일이다.\n</documents>",
    },
    {"role": "user", "content": "계약직 연차는 며칠인가요?"},
]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider(ProviderConfig(profile="azure-gpt4-2023", time_scale=0)) as running:
        yield running


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(provider) as opened:
        yield opened


def client_of(provider: Provider, **more: Any) -> AsyncOpenAI:
    return AsyncOpenAI(**{"base_url": provider.base_url, "api_key": "any", "max_retries": 0, **more})


async def ask(client: AsyncOpenAI, **more: Any) -> Any:
    return await client.chat.completions.create(**{"model": "gpt-4", "messages": QUESTION, **more})


async def test_a_whole_answer_has_the_shape_of_openai(client: AsyncOpenAI, provider: Provider) -> None:
    answer = await ask(client)
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model) == ("chat.completion", "gpt-4")
    assert answer.choices[0].finish_reason == "stop"
    assert "13일" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    [call] = provider.calls
    assert call.output_tokens == answer.usage.completion_tokens
    assert (call.path, call.status, call.cancelled, call.source) == ("/v1/chat/completions", 200, False, "doc1")
    assert call.ended is not None


async def test_a_stream_says_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    async with running_provider(ProviderConfig(profile="azure-gpt4-2023", time_scale=0)) as twin:
        whole = await ask(client)
        async with client_of(twin) as other:
            stream = await ask(other, stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


async def test_the_bytes_of_a_stream_end_with_done_and_hold_no_usage_unasked(provider: Provider) -> None:
    async with aiohttp.ClientSession() as session:
        body = {"model": "gpt-4", "messages": QUESTION, "stream": True, "max_tokens": 3}
        async with session.post(f"{provider.base_url}/chat/completions", json=body) as response:
            assert response.content_type == "text/event-stream"
            events = (await response.text()).split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert len(chunks) == 5  # role, three tokens, finish
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}


async def test_one_seed_repeats_and_another_differs() -> None:
    async def texts(seed: int) -> list[str]:
        config = ProviderConfig(profile="gpt35-2023", time_scale=0, seed=seed)
        async with running_provider(config) as provider, client_of(provider) as client:
            return [(await ask(client)).choices[0].message.content for _ in range(6)]

    first, again, other = await texts(1), await texts(1), await texts(2)
    assert first == again
    assert first != other
    assert len(set(first)) > 1  # the same question is not worded the same each time


async def test_limits_and_choices(client: AsyncOpenAI) -> None:
    answer = await ask(client, max_completion_tokens=5, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.completion_tokens == 15
    stopped = await ask(client, stop=["13일"])
    assert "13일" not in stopped.choices[0].message.content
    assert stopped.choices[0].finish_reason == "stop"
    streamed = [chunk async for chunk in await ask(client, stream=True, n=2, max_tokens=4)]
    assert {chunk.choices[0].index for chunk in streamed} == {0, 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs_come_with_every_token(client: AsyncOpenAI, stream: bool) -> None:
    answer = await ask(client, logprobs=True, top_logprobs=2, max_tokens=10, stream=stream)
    if stream:
        choices = [chunk.choices[0] async for chunk in answer]
        entries = [entry for choice in choices if choice.logprobs for entry in choice.logprobs.content]
    else:
        entries = answer.choices[0].logprobs.content
    assert len(entries) == 10
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 2 for entry in entries)
    assert bytes(entries[0].bytes).decode() == entries[0].token


async def test_azure_paths_and_filter_results(provider: Provider) -> None:
    azure = AsyncAzureOpenAI(azure_endpoint=provider.root_url, api_key="any", api_version="2024-06-01", max_retries=0)
    async with azure:
        answer = await ask(azure, model="my-gpt4")
        stream = await ask(azure, model="my-gpt4", stream=True)
        chunks = [chunk async for chunk in stream]
        vectors = await azure.embeddings.create(model="text-embedding-3-small", input="연차")
    assert answer.model == "my-gpt4"
    assert answer.model_dump()["prompt_filter_results"]
    assert chunks[0].choices == []  # Azure's prompt filter chunk
    assert chunks[0].id == ""
    assert len(vectors.data[0].embedding) == 1536
    assert provider.calls[0].path == "/openai/deployments/my-gpt4/chat/completions"


async def test_azure_without_an_api_version_and_the_v1_path(provider: Provider) -> None:
    async with aiohttp.ClientSession() as session:
        body = {"messages": QUESTION}
        async with session.post(
            f"{provider.root_url}/openai/deployments/gpt-4/chat/completions", json=body
        ) as response:
            assert response.status == 404
    async with client_of(provider, base_url=f"{provider.root_url}/openai/v1/") as client:
        assert "13일" in (await ask(client)).choices[0].message.content


async def test_embeddings_in_both_encodings_agree(client: AsyncOpenAI, provider: Provider) -> None:
    model = "text-embedding-3-small"
    listed = await client.embeddings.create(
        model=model, input=["연차휴가", "expenses"], encoding_format="float", dimensions=64
    )
    vector = listed.data[0].embedding
    assert [item.index for item in listed.data] == [0, 1]
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-5)
    async with aiohttp.ClientSession() as session:
        body = {"model": model, "input": "연차휴가", "encoding_format": "base64", "dimensions": 64}
        async with session.post(f"{provider.base_url}/embeddings", json=body) as response:
            packed = base64.b64decode((await response.json())["data"][0]["embedding"])
    assert list(struct.unpack("<64f", packed)) == pytest.approx(vector)


async def test_legacy_completions(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model="gpt-4", prompt=["Say hello", "인사해 줘"], logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 32  # the default limit is 16 tokens a choice
    assert answer.choices[0].logprobs is not None
    stream = await client.completions.create(model="gpt-4", prompt="Say hello", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream])


TOOL = {
    "type": "function",
    "function": {
        "name": "find_leave",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


@pytest.mark.parametrize(
    ("choice", "reason"),
    [("required", "tool_calls"), ({"type": "function", "function": {"name": "find_leave"}}, "stop")],
)
async def test_a_demanded_tool_is_called(client: AsyncOpenAI, choice: object, reason: str) -> None:
    answer = await ask(client, tools=[TOOL], tool_choice=choice)
    [call] = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == reason
    assert call.function.name == "find_leave"
    assert json.loads(call.function.arguments).keys() == {"query", "days"}
    chunks = [chunk async for chunk in await ask(client, tools=[TOOL], tool_choice=choice, stream=True)]
    fragments = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert fragments[0].function.name == "find_leave"
    assert len(fragments) > 3
    assert json.loads("".join(fragment.function.arguments for fragment in fragments)).keys() == {"query", "days"}


async def test_tools_that_are_only_offered_are_not_called(client: AsyncOpenAI) -> None:
    assert (await ask(client, tools=[TOOL])).choices[0].message.tool_calls is None


async def test_json_answers_are_json(client: AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    for wanted in (
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
    ):
        answer = await ask(client, response_format=wanted)
        assert "13일" in json.loads(answer.choices[0].message.content)["answer"]


async def test_a_verdict_is_one_token_with_both_probabilities(client: AsyncOpenAI) -> None:
    async def margin(first: str, second: str) -> float:
        prompt = f"A: {first}\nB: {second}\nDo A and B ask the same? Answer Yes or No."
        messages = [{"role": "user", "content": prompt}]
        answer = await ask(client, messages=messages, max_tokens=1, logprobs=True, top_logprobs=5)
        [entry] = answer.choices[0].logprobs.content
        odds = {top.token: top.logprob for top in entry.top_logprobs}
        assert answer.choices[0].message.content == max(odds, key=odds.__getitem__)
        return float(odds["Yes"] - odds["No"])

    same = [await margin("연차는 며칠인가요?", "연차는 며칠이에요?") for _ in range(20)]
    other = [await margin("연차는 며칠인가요?", "주차 요금은 얼마인가요?") for _ in range(20)]
    assert sum(same) > sum(other) + 40


async def test_a_caller_who_hangs_up_is_recorded() -> None:
    async with running_provider(ProviderConfig(profile="azure-gpt4-2023")) as provider, client_of(provider) as client:
        stream = await ask(client, stream=True)
        await anext(stream)
        await stream.close()
        waiting = asyncio.ensure_future(ask(client))
        await provider.until(lambda calls: len(calls) == 2)
        waiting.cancel()
        await provider.until(lambda calls: all(call.ended is not None for call in calls))
        streamed, whole = provider.calls
    assert streamed.cancelled
    assert streamed.status == 200
    assert 0 < streamed.output_tokens < 100
    assert whole.cancelled
    assert (whole.status, whole.output_tokens) == (None, 0)


async def test_failures_are_answered_like_those_of_openai() -> None:
    config = ProviderConfig(profile="azure-gpt4-2023", time_scale=0.001, failures=True, seed=5)
    seen: dict[str, Exception] = {}
    async with running_provider(config) as provider, client_of(provider) as client:
        for number in range(1_000):
            messages = [{"role": "user", "content": f"질문 {number}"}]
            try:
                await asyncio.wait_for(ask(client, messages=messages, max_tokens=1), timeout=2)
            except (openai.RateLimitError, openai.InternalServerError, TimeoutError) as error:
                seen.setdefault(type(error).__name__, error)
            if len(seen) == 3:
                break
    assert seen.keys() == {"RateLimitError", "InternalServerError", "TimeoutError"}
    limited = seen["RateLimitError"]
    assert isinstance(limited, openai.RateLimitError)
    assert limited.code == "rate_limit_exceeded"
    assert float(limited.response.headers["retry-after-ms"]) <= 20
    hanging = [call for call in provider.calls if call.status is None]
    assert hanging
    assert all(call.cancelled for call in hanging)


async def test_several_models_with_their_own_profiles_and_faults() -> None:
    models = {"gpt-4": "azure-gpt4-2023", "gpt-35-turbo": "gpt35-2023"}
    config = ProviderConfig(models=models, time_scale=0, faults=Faults(refusal_rate=1))
    async with running_provider(config) as provider, client_of(provider) as client:
        listed = [model.id async for model in await client.models.list()]
        assert set(models) <= set(listed)
        assert (await client.models.retrieve("gpt-4")).id == "gpt-4"
        await ask(client, model="gpt-35-turbo")
        assert provider.calls[0].fault is Fault.REFUSAL
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await ask(client, model="gpt-5")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "could not parse"),
        (b"[]", "must be an object"),
        (b'{"messages": []}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "empty"),
        (b'{"model": "m", "messages": "hi"}', "messages"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 0}', "max_tokens"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "n": "2"}', "'n'"),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(provider: Provider, body: bytes, message: str) -> None:
    url = f"{provider.base_url}/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        assert response.status == 400
        assert message in (await response.json())["error"]["message"]


async def test_unknown_paths_methods_and_keys() -> None:
    config = ProviderConfig(profile="instant", api_key="secret")
    cases = [("nothing", "secret", 404), ("chat/completions", "secret", 405), ("models", "no", 401)]
    async with running_provider(config) as provider, aiohttp.ClientSession() as session:
        for path, key, status in cases:
            headers = {"Authorization": f"Bearer {key}"}
            async with session.get(f"{provider.base_url}/{path}", headers=headers) as response:
                assert response.status == status
                assert "message" in (await response.json())["error"]
        async with session.get(f"{provider.base_url}/models", headers={"api-key": "secret"}) as response:
            assert response.status == 200


async def test_a_prompt_over_the_context_window_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(client, messages=[{"role": "user", "content": "길다 " * 40_000}])
    assert caught.value.code == "context_length_exceeded"


async def test_the_report_counts_calls_without_their_bodies(client: AsyncOpenAI, provider: Provider) -> None:
    await ask(client)
    async with aiohttp.ClientSession() as session, session.get(f"{provider.root_url}/bench/calls") as response:
        report = await response.json()
    assert report["totals"]["calls"] == 1
    assert report["totals"]["statuses"] == {"200": 1}
    assert report["calls"][0]["truth"] == "계약직 직원의 연차휴가는 1년에 13일이다"
    assert "body" not in report["calls"][0]
