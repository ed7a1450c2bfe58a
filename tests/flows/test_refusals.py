"""A wording that a model misread is answered once another wording of the question was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.provider.truths import Truths, squeezed
from tests.flows.test_consistency import CARRY_ASKED, MEANINGS, calls, gateway, provider

MISREAD = "정규직인데 쓰고 남은 날들 새해에 며칠까지 인정해 주나요?"
REFUSAL = "문서에서 해당 내용을 찾을 수 없습니다."
KNOWN_AS_ONE = Truths(MEANINGS | {squeezed(MISREAD): "carry"})
KNOWN_AS_OTHERS = Truths(MEANINGS | {squeezed(MISREAD): "another"})


@pytest.mark.parametrize("truths", [KNOWN_AS_ONE, KNOWN_AS_OTHERS])
async def test_a_kept_refusal_yields_to_what_another_wording_of_it_was_answered(
    tmp_path: Path, redis_url: str, truths: Truths
) -> None:
    kept_in = {"store": "redis", "redis": {"url": redis_url, "timeout_s": 1}}
    async with provider(truths=truths) as upstream:
        async with gateway(tmp_path, upstream, kept_in, judge="off") as it:  # nobody there to see that they are one
            assert (await it.chat(MISREAD, "handbook")).text == REFUSAL
            answered = (await it.chat(CARRY_ASKED[0], "handbook")).text
            assert "6일" in answered
            await it.kept(2)
        asked = calls(upstream, "answer")
        async with gateway(tmp_path, upstream, kept_in) as it:
            given, judged = [], []
            for _ in range(3):
                given.append((await it.chat(MISREAD, "handbook")).text)
                judged.append(calls(upstream, "judge"))
                if given[0] == answered:
                    await it.kept(1)  # it is an alias now
            assert given == [answered if truths is KNOWN_AS_ONE else REFUSAL] * 3
            assert judged[0] > 0
            assert judged[2] == judged[0]  # it is not looked at again each time
        assert calls(upstream, "answer") == asked


async def test_a_refusal_is_not_made_anew_where_a_judge_looks_at_what_was_answered_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.writer.LINK_FLOOR", 0.0)  # any question is near
    async with provider(truths=KNOWN_AS_OTHERS) as upstream, gateway(tmp_path, upstream, {}) as it:
        assert (await it.chat(MISREAD, "handbook")).text == REFUSAL
        await it.kept(1)
        assert "6일" in (await it.chat(CARRY_ASKED[0], "handbook")).text
        await it.kept(2)
        asked, judged = calls(upstream, "answer"), calls(upstream, "judge")
        assert (await it.chat(MISREAD, "handbook")).text == REFUSAL
        assert calls(upstream, "answer") == asked
        assert calls(upstream, "judge") > judged
