"""Limits and budgets of API keys over real HTTP, and who pays for what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, RateLimitError

from bench.provider import Faults, ProviderConfig, running_provider
from tests.flows.house import DONE, FINE, House, Reply, event, house, model, refuses, says, scripted, streams

KEY, OTHER = "key-of-the-first", "key-of-the-second"
INSTANT = ProviderConfig(profile="instant", faults=Faults(phrasings=False))
PRICE = {"input": 1_000_000, "output": 2_000_000}  # one a token


def keys(**limits: Any) -> dict[str, Any]:
    return {"keys": [{"key": KEY, "tenant": "acme", **limits}, {"key": OTHER, "tenant": "globex"}]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def ask(it: House, question: str, key: str = KEY, body: Mapping[str, Any] | None = None) -> Reply:
    return await it.chat(question, "chat", body=body, authorization=f"Bearer {key}")


async def test_requests_a_minute_are_limited_per_key_and_told_in_headers(tmp_path: Path) -> None:
    async with running_provider(INSTANT) as provider:
        chat = model("chat", provider.base_url, cache=True)
        async with house(tmp_path, chat, auth=keys(rpm=3)) as it:
            replies = [await ask(it, f"질문 {n}") for n in range(4)]
            assert [reply.status for reply in replies] == [200, 200, 200, 429]
            left = [reply.headers["x-ratelimit-remaining-requests"] for reply in replies]
            assert left == ["2", "1", "0", "0"]
            assert replies[3].error["code"] == "rate_limit_exceeded"
            assert int(replies[3].headers["retry-after"]) >= 1
            assert (await ask(it, "질문", OTHER)).status == 200
            assert it.count("ocho_limit_refusals_total", tenant="acme", limit="requests_per_minute") == 1


@pytest.mark.parametrize("cached", [True, False], ids=["pipeline", "relay"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_budget_is_used_up_by_what_the_provider_counts(tmp_path: Path, cached: bool, stream: bool) -> None:
    async with running_provider(INSTANT) as provider:
        chat = model("chat", provider.base_url, cache=cached, price=PRICE)
        async with house(tmp_path, chat, auth=keys(budget={"per_day": 10})) as it:
            first = await ask(it, "연차 며칠?", body={"stream": stream})
            assert first.status == 200
            refused = await ask(it, "다른 질문", body={"stream": stream})
            assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
            assert "it resets at 20" in refused.error["message"]
            assert (await ask(it, "다른 질문", OTHER)).status == 200
            assert len(provider.calls) == 2
            paid = provider.calls[0]
            if cached or not stream:
                spent = paid.prompt_tokens + 2 * paid.output_tokens
                assert it.count("ocho_spend_total", tenant="acme", reason="answer") == spent
            else:  # the caller asked for no usage: estimated
                assert it.count("ocho_spend_total", tenant="acme", reason="answer") > 10


async def test_the_cache_still_answers_a_key_that_has_spent_its_budget(tmp_path: Path) -> None:
    async with running_provider(INSTANT) as provider:
        chat = model("chat", provider.base_url, cache=True, price=PRICE)
        async with house(tmp_path, chat, auth=keys(budget={"tokens_per_day": 10})) as it:
            await ask(it, "연차 며칠?")
            await it.kept()
            again = await ask(it, "연차 며칠?")
            assert (again.status, again.headers["x-ocho-cache"]) == (200, "exact")
            assert (await ask(it, "다른 질문")).status == 429


async def test_the_same_bytes_from_the_cache_count_as_requests_too(tmp_path: Path) -> None:
    async with (
        running_provider(INSTANT) as provider,
        house(tmp_path, model("chat", provider.base_url, cache=True), auth=keys(rpm=4)) as it,
    ):
        await ask(it, "연차 며칠?")
        await it.kept()
        replies = [await ask(it, "연차 며칠?") for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies[:3]] == ["2", "1", "0"]
        assert (await ask(it, "연차 며칠?", OTHER)).status == 200
        assert len(provider.calls) == 2  # one for each tenant


async def test_the_sdk_does_not_try_again_against_a_budget(tmp_path: Path) -> None:
    async with running_provider(INSTANT) as provider:
        chat = model("chat", provider.base_url, cache=True)
        async with house(tmp_path, chat, auth=keys(budget={"tokens_per_month": 5})) as it:
            await ask(it, "연차 며칠?")
            client: AsyncOpenAI = it.openai(api_key=KEY, max_retries=2)
            async with client:
                with pytest.raises(RateLimitError, match="resets at"):
                    await client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "또"}])
            assert it.count("ocho_limit_refusals_total", limit="tokens_per_month") == 1


async def test_embeddings_and_responses_are_paid_for_too(tmp_path: Path) -> None:
    usage = {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11}
    response = {
        "id": "r",
        "output": [{"type": "message", "content": 'says "usage": {"input_tokens": 999}'}],
        "usage": usage,
    }
    embedded = {"data": [], "usage": {"prompt_tokens": 5}}
    async with scripted(says(body=response), says(body=embedded)) as upstream:
        chat, auth = model("chat", upstream.base_url), keys(budget={"tokens_per_day": 100})
        async with house(tmp_path, chat, auth=auth) as it:
            assert (await it.post("/v1/responses", {"model": "chat", "input": "연차"}, **bearer(KEY))).status == 200
            assert it.count("ocho_spend_tokens_total", tenant="acme") == 11
            await it.post("/v1/embeddings", {"model": "chat", "input": "연차"}, **bearer(KEY))
            assert it.count("ocho_spend_tokens_total", tenant="acme", reason="embedding") == 5


async def test_a_relayed_stream_with_usage_is_paid_by_it_and_a_refusal_costs_nothing(tmp_path: Path) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 12}})
    async with scripted(streams(*FINE[:-1], usage, DONE), refuses(400)) as upstream:
        chat = model("chat", upstream.base_url)
        async with house(tmp_path, chat, auth=keys(tpm=1000)) as it:
            await ask(it, "연차", body={"stream": True, "stream_options": {"include_usage": True}})
            assert it.count("ocho_spend_tokens_total", tenant="acme") == 42
            assert (await ask(it, "연차")).status == 400
            assert it.count("ocho_spend_tokens_total", tenant="acme") == 42
