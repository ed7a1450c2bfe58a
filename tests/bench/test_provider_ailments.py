"""What a bench can make the stand-in suffer from while it runs."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import aiohttp
import pytest

from bench.provider import PROFILES, Provider, ProviderConfig, running_provider
from bench.provider.ailments import Ailment, ailing
from bench.provider.profiles import draw_fate

BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "연차는 며칠인가요?"}]}


async def ask(http: aiohttp.ClientSession, provider: Provider, **more: Any) -> tuple[int, bytes]:
    async with http.post(f"{provider.base_url}/chat/completions", json={**BODY, **more}) as reply:
        return reply.status, await reply.read()


async def ail(http: aiohttp.ClientSession, provider: Provider, ailments: object) -> int:
    async with http.post(f"{provider.root_url}/bench/ailments", json=ailments) as reply:
        return reply.status


async def test_one_model_refuses_until_it_is_well_again() -> None:
    async with running_provider() as provider, aiohttp.ClientSession() as http:
        await ail(http, provider, {"gpt-4": {"refuses": True}})
        assert (await ask(http, provider))[0] == 429
        assert (await ask(http, provider, model="other"))[0] == 200
        await ail(http, provider, {})
        assert (await ask(http, provider))[0] == 200


async def test_a_stream_stops_half_way_and_stays_open() -> None:
    async with running_provider() as provider, aiohttp.ClientSession() as http:
        await ail(http, provider, {"gpt-4": {"hangs": True}})
        got = bytearray()

        async def listen() -> None:
            async with http.post(f"{provider.base_url}/chat/completions", json={**BODY, "stream": True}) as reply:
                async for piece in reply.content.iter_any():
                    got.extend(piece)

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen(), 0.5)
        assert b"data: " in got
        assert b"[DONE]" not in got
        await provider.until(lambda calls: calls[-1].ended is not None)
        assert provider.calls[-1].cancelled


def test_slow_is_a_multiple_of_what_would_have_been() -> None:
    fate = draw_fate(PROFILES["mini-2025"], Random(3), 100, failures=False)
    slow = ailing(fate, Ailment(slow=8))
    assert (slow.ttft_s, slow.token_s) == (8 * fate.ttft_s, 8 * fate.token_s)
    assert ailing(fate, Ailment()) is fate


async def test_what_is_no_ailment_is_refused() -> None:
    async with running_provider() as provider, aiohttp.ClientSession() as http:
        assert await ail(http, provider, {"gpt-4": {"sad": True}}) == 400


async def test_more_calls_than_slots_stand_in_line() -> None:
    config = ProviderConfig(profile="mini-2025", time_scale=0.02, slots=2)
    async with running_provider(config) as provider, aiohttp.ClientSession() as http:
        await asyncio.gather(*(ask(http, provider) for _ in range(6)))
        calls = provider.calls
    for at in (call.served or 0.0 for call in calls):
        under_way = [c for c in calls if c.served is not None and c.served <= at < (c.ended or 0.0)]
        assert len(under_way) <= 2
    assert any((call.served or 0.0) > (calls[0].ended or 0.0) - 0.001 for call in calls)
