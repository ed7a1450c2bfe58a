"""A model without documents or cache is a faithful relay: real clients, real sockets."""

from __future__ import annotations

import asyncio
import base64
import gc
import struct
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from bench.provider import Provider, ProviderConfig, running_provider
from gateway.app import serving
from gateway.routing.passing import Passing
from gateway.settings import load
from tests.flows.house import DONE, FINE, House, chunk, deployment, house, model, says, scripted, streams

KOREAN = "연차휴가는 며칠인가요?"
WEATHER: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running_provider(ProviderConfig(profile="instant", api_key="upstream-secret")) as running:
        yield running


@pytest.fixture
async def gateway(provider: Provider, tmp_path: Path) -> AsyncIterator[House]:
    named = {"name": "team-model", "deployments": [deployment("renamed", provider.base_url, model="gpt-4o-2024-11-20")]}
    azure = deployment("at-azure", provider.root_url, kind="azure", deployment="prod-4o", api_version="2024-10-21")
    new_azure = deployment("at-azure-v1", provider.root_url, kind="azure")
    async with house(
        tmp_path,
        model("gpt-4", provider.base_url),
        named,
        {"name": "azure-model", "deployments": [azure]},
        {"name": "azure-v1-model", "deployments": [new_azure]},
        model("text-embedding-3-small", provider.base_url),
    ) as running:
        yield running


@pytest.fixture
async def client(gateway: House) -> AsyncIterator[AsyncOpenAI]:
    async with gateway.openai() as opened:
        yield opened


def ask(client: AsyncOpenAI, **more: Any) -> Any:
    given = {"model": "gpt-4", "messages": [{"role": "user", "content": KOREAN}], "temperature": 0, "seed": 1}
    return client.chat.completions.create(**{**given, **more})


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_question_reaches_the_provider_in_the_very_form_it_was_asked(
    client: AsyncOpenAI, provider: Provider, form: Any
) -> None:
    asked = unicodedata.normalize(form, KOREAN)
    answer = await ask(client, messages=[{"role": "user", "content": asked}])
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert provider.calls[0].body["messages"][0]["content"] == asked


async def test_a_stream_adds_up_to_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    whole = await ask(client)
    chunks = [c async for c in await ask(client, stream=True)]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert all(c.usage is None for c in chunks)


async def test_usage_comes_at_the_end_of_a_stream_only_when_asked_for(client: AsyncOpenAI) -> None:
    chunks = [c async for c in await ask(client, stream=True, stream_options={"include_usage": True})]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0


async def test_unknown_fields_are_forwarded_and_wishes_to_the_gateway_are_not(
    client: AsyncOpenAI, provider: Provider
) -> None:
    extra = {"top_k": 40, "guided_json": {"a": [1, None]}, "ocho": {"deadline_ms": 9000, "cache": "off"}}
    await ask(client, extra_body=extra, metadata={"ticket": "7"}, store=True)
    body = provider.calls[0].body
    assert (body["top_k"], body["guided_json"], body["metadata"]) == (40, {"a": [1, None]}, {"ticket": "7"})
    assert "ocho" not in body
    assert "stream" not in body  # nothing is added to what is only passed on


async def test_the_bytes_of_a_request_and_of_a_stream_go_through_unchanged(tmp_path: Path) -> None:
    odd = (
        b": keep-alive\r\n\r\n",
        b'data: {"choices":[{"index":0,"delta":{"content":"\xed\x95',
        b'\x9c"}}]}\r\n\r\n',
        DONE,
    )
    raw = b'{ "model":"m",  "messages":[{"role":"user","content":"\\uac00"}],"stream":true, "n":1.0}'
    async with scripted(streams(*odd, every_s=0.02)) as upstream, house(tmp_path, model("m", upstream.base_url)) as it:
        reply = await it.post("/v1/chat/completions", raw)
    assert upstream.asked[0].body == raw
    assert reply.body == b"".join(odd)
    assert reply.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_come_through(client: AsyncOpenAI, stream: bool) -> None:
    answer = await ask(client, tools=WEATHER, tool_choice="required", stream=stream)
    if stream:
        calls = [c.choices[0].delta.tool_calls async for c in answer]
        arguments = "".join(part.function.arguments or "" for parts in calls if parts for part in parts)
    else:
        assert answer.choices[0].finish_reason == "tool_calls"
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
    assert "city" in arguments


async def test_choices_logprobs_and_formats_come_through(client: AsyncOpenAI) -> None:
    answer = await ask(client, n=2, logprobs=True, top_logprobs=2, max_tokens=5)
    assert [c.index for c in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.content) == 5
    shaped = await ask(client, response_format={"type": "json_object"})
    assert shaped.choices[0].message.content.startswith("{")


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_come_through(client: AsyncOpenAI, provider: Provider, encoding: Any) -> None:
    async with AsyncOpenAI(base_url=provider.base_url, api_key="upstream-secret") as direct:
        want = await direct.embeddings.create(model="text-embedding-3-small", input=[KOREAN, "leave"])
        got = await client.embeddings.create(
            model="text-embedding-3-small", input=[KOREAN, "leave"], encoding_format=encoding
        )
    assert [d.index for d in got.data] == [0, 1]
    vector: Any = got.data[1].embedding
    if isinstance(vector, str):
        raw = base64.b64decode(vector)
        vector = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert vector == pytest.approx(want.data[1].embedding, abs=1e-6)


async def test_text_completions_come_through(client: AsyncOpenAI) -> None:
    whole = await client.completions.create(model="gpt-4", prompt="휴가", seed=1, temperature=0)
    parts = [c async for c in await client.completions.create(model="gpt-4", prompt="휴가", stream=True)]
    assert whole.choices[0].text
    assert "".join(c.choices[0].text for c in parts)


async def test_models_are_those_of_the_configuration(client: AsyncOpenAI) -> None:
    listed = await client.models.list()
    assert [m.id for m in listed.data] == [
        "gpt-4", "team-model", "azure-model", "azure-v1-model", "text-embedding-3-small"
    ]  # fmt: skip
    assert (await client.models.retrieve("team-model")).id == "team-model"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("asked", "path", "sent"),
    [
        ("team-model", "/v1/chat/completions", "gpt-4o-2024-11-20"),
        ("azure-model", "/openai/deployments/prod-4o/chat/completions", "prod-4o"),
        ("azure-v1-model", "/openai/v1/chat/completions", "azure-v1-model"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_names_are_mapped_to_those_of_the_deployment(
    client: AsyncOpenAI, provider: Provider, asked: str, path: str, sent: str, stream: bool
) -> None:
    answer = await ask(client, model=asked, stream=stream)
    if stream:
        assert [c async for c in answer]
    assert (provider.calls[0].path, provider.calls[0].model) == (path, sent)


async def test_azure_clients_need_nothing_but_the_address(gateway: House, provider: Provider) -> None:
    async with gateway.azure() as azure:
        answer = await azure.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": KOREAN}])
        stream = await azure.chat.completions.create(
            model="team-model", messages=[{"role": "user", "content": KOREAN}], stream=True
        )
        text = "".join([(c.choices[0].delta.content or "") async for c in stream if c.choices])
        vectors = await azure.embeddings.create(model="text-embedding-3-small", input="휴가")
        words = await azure.completions.create(model="gpt-4", prompt="휴가")
        models = [m.id async for m in azure.models.list()]
    assert answer.choices[0].message.content
    assert text
    assert len(vectors.data) == 1
    assert words.choices[0].text
    assert "team-model" in models
    assert [c.model for c in provider.calls] == ["gpt-4", "gpt-4o-2024-11-20", "text-embedding-3-small", "gpt-4"]
    async with AsyncOpenAI(base_url=f"{gateway.url}/openai/v1", api_key="x") as new:
        assert (await ask(new)).choices[0].message.content


async def test_blocking_clients_are_served_too(gateway: House) -> None:
    def talk() -> list[str]:
        question: Any = [{"role": "user", "content": KOREAN}]
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as plain:
            whole = plain.chat.completions.create(model="gpt-4", messages=question, seed=1, temperature=0)
        with AzureOpenAI(azure_endpoint=gateway.url, api_key="any", api_version="2024-06-01", max_retries=0) as azure:
            stream = azure.chat.completions.create(model="gpt-4", messages=question, stream=True, seed=1, temperature=0)
            text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        return [str(whole.choices[0].message.content), text]

    one, other = await asyncio.to_thread(talk)
    assert one == other


async def test_other_endpoints_are_relayed_with_path_query_and_body_untouched(tmp_path: Path) -> None:
    async with (
        scripted(says(200, {"ok": 1}, set_cookie="a=b", openai_version="2020-10-01", x_secret="s")) as upstream,
        house(tmp_path, model("m", upstream.base_url)) as it,
    ):
        await it.get("/v1/files?after=a%26b%20c&limit=2", cookie="session=1", openai_beta="assistants=v2")
        await it.get("/v1/files/fi%2Fle%3Fx")
        await it.post("/v1/moderations", b'{"input": "x"}')
        form = aiohttp.FormData()
        form.add_field("file", b"\x00\xff", filename="a.wav")
        async with it.http.post(f"{it.url}/openai/deployments/m/audio/transcriptions?api-version=1", data=form) as r:
            assert await r.json() == {"ok": 1}
        async with it.http.delete(f"{it.url}/openai/files/f1?api-version=1") as response:
            assert response.status == 200
            assert "set-cookie" not in response.headers
            assert "x-secret" not in response.headers
            assert response.headers["openai-version"] == "2020-10-01"
    got = [(a.method, a.path, a.query) for a in upstream.asked]
    assert got == [
        ("GET", "/v1/files", "after=a%26b c&limit=2"),  # the space alone decoded, by the test server
        ("GET", "/v1/files/fi%2Fle%3Fx", ""),
        ("POST", "/v1/moderations", ""),
        ("POST", "/v1/audio/transcriptions", ""),
        ("DELETE", "/v1/files/f1", ""),
    ]
    assert upstream.asked[2].body == b'{"input": "x"}'
    assert upstream.asked[3].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"\x00\xff" in upstream.asked[3].body
    assert upstream.asked[0].headers["openai-beta"] == "assistants=v2"
    for one in upstream.asked:
        assert one.headers["authorization"] == "Bearer upstream-secret"
        assert not {"cookie", "api-key", "x-forwarded-for"} & set(one.headers)


async def test_large_files_come_back_whole_and_broken_ones_never_look_whole(tmp_path: Path) -> None:
    async def breaks(request: Any) -> Any:
        response = aiohttp.web.StreamResponse(headers={"content-type": "application/octet-stream"})
        await response.prepare(request)
        await response.write(b"x" * 2_000_000)
        request.transport.abort()
        return response

    whole = bytes(range(256)) * 20_000
    async with scripted(says(200, whole), breaks) as upstream, house(tmp_path, model("m", upstream.base_url)) as it:
        assert (await it.get("/v1/files/1/content")).body == whole
        with pytest.raises(aiohttp.ClientPayloadError):
            await it.get("/v1/files/2/content")


async def test_request_ids_and_traces_go_upstream_and_credentials_do_not(tmp_path: Path) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with (
        scripted(streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url), model("c", upstream.base_url, cache=True)) as it,
    ):
        for name in ("m", "c"):
            reply = await it.chat(
                "hi", name, body={"stream": True}, x_request_id="req-7", traceparent=trace,
                authorization="Bearer caller",
                proxy_authorization="Basic x", te="trailers", x_ocho_cache_namespace="n", tracestate="가",
            )  # fmt: skip
            assert reply.headers["x-request-id"] == "req-7"
    for one in upstream.asked:
        assert one.headers["traceparent"] == trace
        assert one.headers["x-request-id"] == "req-7"
        assert one.headers["authorization"] == "Bearer upstream-secret"
        unwanted = {"te", "proxy-authorization", "x-ocho-cache-namespace", "tracestate", "cookie"}
        assert not unwanted & set(one.headers)


async def test_redirects_of_a_provider_are_not_followed(tmp_path: Path) -> None:
    async with scripted(says(200, {})) as elsewhere:
        away = says(307, {}, location=f"{elsewhere.base_url}/stolen")
        async with (
            scripted(away) as upstream,
            house(tmp_path, model("m", upstream.base_url), model("c", upstream.base_url, cache=True)) as it,
        ):
            for name in ("m", "c"):
                reply = await it.chat("hi", name)
                assert reply.status == 502
                assert "307" in reply.error["message"]
                assert "location" not in reply.headers
            assert (await it.get("/v1/files")).status == 502
    assert elsewhere.asked == []


async def test_the_environment_alone_makes_a_gateway(provider: Provider, tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "upstream-secret", "OPENAI_BASE_URL": provider.base_url, "OCHO_PORT": "0"}
    made = load(None, environ).model_copy(update={"data_dir": str(tmp_path)})
    async with serving(made) as (_, port), AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x") as client:
        assert (await ask(client, model="whatever-name")).choices[0].message.content
        assert "instant" in [m.id async for m in client.models.list()]
        assert (await client.models.retrieve("gpt-4")).id == "gpt-4"
    assert provider.calls[0].model == "whatever-name"


async def test_the_environment_of_azure_alone_makes_a_gateway(provider: Provider, tmp_path: Path) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": provider.root_url, "AZURE_OPENAI_API_KEY": "upstream-secret", "OCHO_PORT": "0"}
    made = load(None, environ).model_copy(update={"data_dir": str(tmp_path)})
    async with serving(made) as (_, port), AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x") as client:
        assert (await ask(client, model="prod-4o")).choices[0].message.content
        assert [m.id async for m in client.models.list()]
    assert provider.calls[0].path == "/openai/deployments/prod-4o/chat/completions"


async def test_connections_to_a_provider_are_used_again(tmp_path: Path) -> None:
    async with (
        scripted(streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url), model("c", upstream.base_url, cache=True)) as it,
    ):
        for number in range(4):
            assert (await it.chat(f"q{number}", "m", body={"stream": True})).text == "안녕하세요"
            assert (await it.chat(f"q{number}", "c")).text == "안녕하세요"
    assert len(upstream.asked) == 8
    assert len(upstream.connections) == 1


async def test_a_stream_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    async with scripted(streams(*FINE)) as upstream, house(tmp_path, model("m", upstream.base_url)) as it:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert (await it.chat("q", "m", body={"stream": True})).text == "안녕하세요"
            assert not [left for left in gc.get_objects() if isinstance(left, Passing)]
        finally:
            gc.enable()


async def test_a_stream_reaches_the_caller_as_it_is_made(tmp_path: Path) -> None:
    async with (
        scripted(streams(chunk("첫"), chunk("말"), then="hang")) as upstream,
        house(tmp_path, model("m", upstream.base_url), model("c", upstream.base_url, cache=True)) as it,
        it.openai() as client,
    ):
        for name in ("m", "c"):
            stream = await ask(client, model=name, stream=True)
            first = await anext(aiter(stream))
            assert first.choices[0].delta.content == "첫"  # while the provider still holds the rest back
            await stream.close()
