"""Hedging over real HTTP: a deployment that turns slow, and another that is asked beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.provider import Faults, ProviderConfig, running_provider
from tests.flows.house import house, model

FAULTLESS = Faults(phrasings=False)
WARM = 24  # answers before a percentile is known


@pytest.mark.parametrize("cache", [True, False])  # without one nothing else keeps the bytes from being passed on
async def test_a_slow_first_token_is_made_good_by_another_deployment(tmp_path: Path, cache: bool) -> None:
    quick = ProviderConfig(profile="instant", faults=FAULTLESS)
    slow = ProviderConfig(profile="azure-gpt4-2023", faults=FAULTLESS)
    hedge = {"min_s": 0.05, "max_extra_tokens": 0.5}
    async with running_provider(quick) as one, running_provider(quick) as other:
        chat = model("chat", one.base_url, other.base_url, hedge=hedge, cache=cache)
        async with house(tmp_path, chat) as it:
            n = 0
            while min(len(one.calls), len(other.calls)) < WARM:
                n += 1
                assert (await it.chat(f"question {n}?", "chat")).status == 200
            one.config = slow
            hedges = 0
            for n in range(100):
                before = len(one.calls)
                reply = await it.chat(f"another {n}?", "chat")
                assert reply.status == 200
                hedged = reply.headers["x-ocho-served-by"] == "hedge"
                hedges += hedged
                if hedged and len(one.calls) > before:  # on a busy machine it may hang up before it was read
                    break
            assert hedged
            assert reply.headers["x-ocho-deployment"] == "chat-2"
            await one.until(lambda calls: all(call.ended for call in calls))
            assert one.calls[-1].cancelled
            assert it.count("ocho_upstream_attempts_total", kind="hedge", result="ok") == hedges
