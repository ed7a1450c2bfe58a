"""Providers that are down, slow, wrong or hostile: what the caller sees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from structlog.testing import capture_logs

from tests.flows.house import (
    DONE,
    FINE,
    ROLE,
    Reaction,
    chunk,
    cuts,
    deployment,
    event,
    hangs,
    house,
    model,
    refuses,
    says,
    scripted,
    streams,
)
from tests.redis_server import free_port

QUICK = {"timeouts": {"connect_s": 1, "first_token_s": 0.3, "idle_s": 0.3, "total_s": 5}, "retries": 0}
WHOLE = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "scripted",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "안녕하세요"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
both_ways = pytest.mark.parametrize("caches", [False, True], ids=["relayed", "through the pipeline"])


@both_ways
async def test_a_provider_that_is_down_is_a_502_that_names_the_deployment(tmp_path: Path, caches: bool) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    async with house(tmp_path, model("m", nobody, cache=caches, **QUICK)) as it:
        with capture_logs() as lines:
            reply = await it.chat("hi", "m")
        assert [line["cause"].split(":")[0] for line in lines if "cause" in line] == ["ConnectionRefusedError"]
        assert reply.status == 502
        assert reply.error["code"] == "upstream_unreachable"
        assert "m-1" in reply.error["message"]
        assert "127.0.0.1" not in reply.error["message"]
        streamed = await it.chat("hi", "m", body={"stream": True})
        assert (streamed.status, streamed.error["code"]) == (502, "upstream_unreachable")


@both_ways
async def test_a_429_is_waited_out_and_tried_again(tmp_path: Path, caches: bool) -> None:
    slow_down = refuses(429, retry_after_ms="30", retry_after="1")
    async with (
        scripted(slow_down, streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=caches)) as it,
    ):
        reply = await it.chat("hi", "m", body={"stream": True})
    assert reply.text == "안녕하세요"
    assert reply.headers["x-ocho-attempts"] == "2"


@both_ways
async def test_a_429_that_asks_for_too_much_patience_is_passed_on(tmp_path: Path, caches: bool) -> None:
    async with (
        scripted(refuses(429, "slow down", retry_after="60")) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=caches)) as it,
        it.openai() as client,
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.response.headers["retry-after"] == "60"
    assert caught.value.body == {"message": "slow down", "type": "test_error", "param": None, "code": "test"}
    assert len(upstream.asked) == 1


async def test_a_lone_deployment_that_asked_to_be_left_alone_is_tried_now_and_then(tmp_path: Path) -> None:
    async with (
        scripted(refuses(429, retry_after="60"), streams(*FINE)) as upstream,
        house(tmp_path, model("gpt-4", upstream.base_url, cache=True)) as it,
        asyncio.timeout(30),
    ):
        assert (await it.chat("one")).status == 429
        while (await it.chat("later")).status != 200:
            assert len(upstream.asked) == 1  # spared
            await asyncio.sleep(0.1)
        assert len(upstream.asked) == 2
        assert [(await it.chat(f"then {n}")).status for n in range(3)] == [200] * 3  # its word is taken back


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "1e999", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
@both_ways
async def test_odd_retry_afters_do_no_harm(tmp_path: Path, caches: bool, value: str) -> None:
    async with (
        scripted(refuses(429, retry_after=value), streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=caches, retries=0)) as it,
    ):
        assert (await it.chat("hi", "m")).status == 429
        assert (await it.chat("hi", "m", body={"stream": True})).status == 200


@both_ways
@pytest.mark.parametrize("failing", [refuses(500), refuses(503), cuts], ids=["500", "503", "cut"])
async def test_another_deployment_answers_where_one_fails(tmp_path: Path, caches: bool, failing: Reaction) -> None:
    async with (
        scripted(failing) as bad,
        scripted(streams(*FINE)) as good,
        house(tmp_path, model("m", bad.base_url, good.base_url, cache=caches)) as it,
    ):
        replies = [await it.chat(f"q{n}", "m", body={"stream": True}) for n in range(8)]
    assert [r.text for r in replies] == ["안녕하세요"] * 8
    assert {r.headers["x-ocho-deployment"] for r in replies} == {"m-2"}


@both_ways
async def test_a_fallback_model_answers_when_its_own_deployments_fail(tmp_path: Path, caches: bool) -> None:
    async with scripted(refuses(500)) as bad, scripted(streams(*FINE)) as good:
        other = {"name": "small", "deployments": [deployment("small-1", good.base_url, model="small-2025")]}
        async with house(tmp_path, model("big", bad.base_url, cache=caches, fallbacks=["small"]), other) as it:
            reply = await it.chat("hi", "big", body={"stream": True})
    assert reply.text == "안녕하세요"
    assert reply.headers["x-ocho-deployment"] == "small-1"
    assert good.asked[0].json["model"] == "small-2025"


@both_ways
async def test_silence_before_the_first_token_ends_in_a_504(tmp_path: Path, caches: bool) -> None:
    for silence in (hangs, streams(then="hang"), streams(ROLE, b": ping\n\n", then="hang")):
        async with (
            scripted(silence) as upstream,
            house(tmp_path, model("m", upstream.base_url, cache=caches, **QUICK)) as it,
        ):
            reply = await it.chat("hi", "m", body={"stream": True})
        if caches or silence is hangs:
            assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        else:  # headers were passed on already
            assert reply.chunks[-1]["error"]["code"] == "upstream_timeout"
            assert DONE not in reply.body


@both_ways
@pytest.mark.parametrize("end", ["hang", "cut", "end"])
async def test_an_answer_that_stops_in_the_middle_ends_in_an_error_event_and_no_done(
    tmp_path: Path, caches: bool, end: str
) -> None:
    async with (
        scripted(streams(ROLE, chunk("반만"), then=end)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=caches, **QUICK)) as it,
        it.openai() as client,
    ):
        reply = await it.chat("hi", "m", body={"stream": True})
        assert reply.status == 200
        assert b"[DONE]" not in reply.body
        assert "반만".encode() in reply.body
        if end == "end" and not caches:
            return  # bytes are passed on as they came: this provider says nothing of an error
        assert reply.chunks[-1]["error"]["type"] == "upstream_error"
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(openai.APIError):
            [part async for part in stream]
        if caches:
            again = await it.chat("hi", "m")  # whole: an error status, never half an answer
            assert again.status in {502, 504}
            assert it.count("ocho_cache_writes_total") == 0


ODD_CHUNKS = (
    b"data: {not json}\n\n",
    b"data: 5\n\n",
    b"data: []\n\n",
    b"data: \xff\xfe\n\n",
    event({"choices": 5}),
    event({"choices": [5]}),
    event({"choices": {"a": 1}}),
    event({"choices": [{"delta": "text"}]}),
    event({"choices": [{"delta": {"tool_calls": 5}}]}),
    event({"choices": [{"index": {}, "delta": {"content": "x"}}]}),
    event({"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": 3}]}),
    event({"choices": [], "usage": {"prompt_tokens": "many"}}),
    event({"choices": [], "usage": 7}),
    event({"error": {"message": "content filter", "type": "x"}}),
    event({"error": "content filter"}),
)


@pytest.mark.parametrize("odd", ODD_CHUNKS, ids=lambda o: o[6:40].decode("ascii", "replace"))
async def test_nonsense_in_a_stream_is_an_upstream_error_and_the_gateway_goes_on(tmp_path: Path, odd: bytes) -> None:
    async with (
        scripted(streams(odd, *FINE), streams(ROLE, chunk("반만"), odd), streams(*FINE)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True, retries=0)) as it,
    ):
        first = await it.chat("1", "m", body={"stream": True})
        assert (first.status, first.error["code"]) == (502, "upstream_broken")
        midway = await it.chat("2", "m", body={"stream": True})
        assert midway.chunks[-1]["error"]["code"] == "upstream_broken"
        assert b"[DONE]" not in midway.body
        assert (await it.chat("3", "m")).text == "안녕하세요"


@pytest.mark.parametrize("odd", ODD_CHUNKS, ids=lambda o: o[6:40].decode("ascii", "replace"))
async def test_nonsense_in_a_relayed_stream_is_passed_on_as_it_is(tmp_path: Path, odd: bytes) -> None:
    async with scripted(streams(odd, *FINE)) as upstream, house(tmp_path, model("m", upstream.base_url)) as it:
        reply = await it.chat("1", "m", body={"stream": True})
    assert reply.body == odd + b"".join(FINE)


async def test_a_server_that_cannot_stream_is_served_to_streaming_callers(tmp_path: Path) -> None:
    async with scripted(says(200, WHOLE)) as upstream, house(tmp_path, model("m", upstream.base_url, cache=True)) as it:
        streamed = await it.chat("hi", "m", body={"stream": True, "stream_options": {"include_usage": True}})
        assert streamed.text == "안녕하세요"
        assert streamed.events[-1] == b"[DONE]"
        assert streamed.chunks[-1]["usage"]["total_tokens"] == 5
        await it.kept()
        whole = await it.chat("hi", "m")
        assert (whole.text, whole.headers["x-ocho-cache"]) == ("안녕하세요", "exact")


@pytest.mark.parametrize(
    "odd", [b"[]", b"5", b"not json", b"{", b'{"choices": 7}', b'{"choices": [7]}', b'{"error": "x"}']
)
async def test_nonsense_instead_of_an_answer_is_an_upstream_error(tmp_path: Path, odd: bytes) -> None:
    async with (
        scripted(says(200, odd)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=True, retries=0)) as it,
    ):
        reply = await it.chat("hi", "m")
        assert (reply.status, reply.error["code"]) == (502, "upstream_broken")


@both_ways
async def test_a_wrong_key_at_the_provider_is_told_once_and_never_shown(tmp_path: Path, caches: bool) -> None:
    echo = refuses(401, "Incorrect API key provided: upstream-secret")
    async with scripted(echo) as upstream, house(tmp_path, model("m", upstream.base_url, cache=caches)) as it:
        reply = await it.chat("hi", "m")
        assert reply.status == 401
        assert reply.error["code"] == "test"
        assert b"upstream-secret" not in reply.body
    assert len(upstream.asked) == 1  # asking again with the same key changes nothing


@both_ways
async def test_a_wrong_key_at_one_deployment_does_not_hide_the_other(tmp_path: Path, caches: bool) -> None:
    async with (
        scripted(refuses(401)) as bad,
        scripted(streams(*FINE)) as good,
        house(tmp_path, model("m", bad.base_url, good.base_url, cache=caches)) as it,
    ):
        for n in range(4):
            assert (await it.chat(str(n), "m", body={"stream": True})).text == "안녕하세요"


@both_ways
async def test_the_providers_own_complaint_about_a_request_is_passed_on(tmp_path: Path, caches: bool) -> None:
    complaint = {"error": {"message": "context too long", "type": "invalid_request_error", "param": "messages",
                           "code": "context_length_exceeded", "innererror": {"x": 1}}}  # fmt: skip
    async with (
        scripted(says(400, complaint)) as upstream,
        house(tmp_path, model("m", upstream.base_url, cache=caches)) as it,
        it.openai() as client,
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.response.json() == complaint
    assert len(upstream.asked) == 1


@both_ways
async def test_a_deadline_of_the_caller_ends_waiting(tmp_path: Path, caches: bool) -> None:
    async with scripted(hangs) as upstream, house(tmp_path, model("m", upstream.base_url, cache=caches)) as it:
        reply = await it.chat("hi", "m", x_ocho_deadline_ms="150")
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
        assert len(upstream.asked) == 1


async def test_a_deadline_of_one_caller_is_not_that_of_another_with_the_same_question(tmp_path: Path) -> None:
    slow = streams(*FINE, every_s=0.15)
    async with scripted(slow) as upstream, house(tmp_path, model("m", upstream.base_url, cache=True)) as it:
        hasty = asyncio.create_task(it.chat("hi", "m", x_ocho_deadline_ms="200"))
        await asyncio.sleep(0.05)
        patient = await it.chat("hi", "m")
        assert (await hasty).status == 504
        assert patient.text == "안녕하세요"


async def test_a_caller_who_only_wants_what_is_cached_does_not_fail_another(tmp_path: Path) -> None:
    async with scripted(streams(*FINE)) as upstream, house(tmp_path, model("m", upstream.base_url, cache=True)) as it:
        asks = [it.chat("hi", "m", cache_control="only-if-cached"), it.chat("hi", "m")] * 8
        replies: list[Any] = list(await asyncio.gather(*asks))
    assert [r.text for r in replies[1::2]] == ["안녕하세요"] * 8


@both_ways
async def test_a_deployment_whose_quota_is_used_up_is_left_alone_until_it_says(tmp_path: Path, caches: bool) -> None:
    spent = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "1m0s"}
    async with (
        scripted(says(200, WHOLE, **spent)) as one,
        scripted(says(200, WHOLE, x_ratelimit_remaining_requests="5")) as other,
        house(tmp_path, model("m", one.base_url, other.base_url, cache=caches)) as it,
    ):
        for n in range(30):
            assert (await it.chat(f"question {n}", "m", cache_control="no-store")).status == 200
        assert (len(one.asked), len(other.asked)) == (1, 29)
        assert it.count("ocho_deployment_state", deployment="m-1") == 2
