"""Which other wordings get a reviewed answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.provider import Faults, Provider, ProviderConfig, running_provider
from bench.provider.truths import Truths, squeezed
from tests.flows.house import DONE, ROLE, chunk, fill, scripted, streams
from tests.flows.reviewed.desk import (
    ADMIN,
    PINNED,
    QUESTION,
    ask,
    how,
    opened,
    pin,
)


async def test_rephrasings_get_it_through_the_rule_and_its_vetoes(
    provider: Provider, tmp_path: Path, folder: Path, kept_in: dict[str, Any]
) -> None:
    cache = {**kept_in, "semantic": {"embedder": "local"}}
    async with opened(tmp_path, provider.base_url, cache=cache) as it:
        await fill(it.gateway.settings, "hr", folder)
        rephrased = "정규직은 연차휴가가 며칠인가요?"
        assert how(await ask(it, rephrased)) == ("model", "miss")
        await it.kept()
        await pin(it)
        semantic = await ask(it, rephrased)  # although the cache holds another answer to these very words
        assert (semantic.text, how(semantic)) == (PINNED, ("reviewed", "semantic"))
        assert float(semantic.headers["x-ocho-similarity"]) > 0.9
        for trap in (
            "정규직의 연차휴가는 며칠이 아닌가요?",
            "정규직의 병가는 며칠인가요?",
            "택시비는 며칠 안에 환급되나요?",
        ):
            assert how(await ask(it, trap))[0] == "model", trap
        far = "회사에서 한 해에 쉴 수 있는 날이 얼마나 되죠?"
        assert how(await ask(it, far))[0] == "model"
        id = (await pin(it))["id"]
        added = await it.post(f"/admin/answers/{id}", {"add_wordings": [far]}, **ADMIN)
        assert added.json["wordings"] == [far]
        assert (await ask(it, far)).text == PINNED


async def test_a_wording_that_gets_the_same_facts_from_the_model_gets_the_reviewed_answer_from_then_on(
    tmp_path: Path, folder: Path
) -> None:
    said = "정규직 직원의 연차휴가는 한 해에 15일입니다.", "20일입니다.", "인사팀에 문의하세요."
    async with (
        scripted(*(streams(ROLE, chunk(text), chunk(finish="stop"), DONE) for text in said)) as upstream,
        opened(tmp_path, upstream.base_url, cache={"semantic": {"embedder": "local"}}) as it,
    ):
        await fill(it.gateway.settings, "hr", folder)
        await pin(it)
        far, other = "정규직이 쓸 수 있는 연차는 며칠입니까?", "정규직에게 주는 연차는 며칠입니까?"
        assert [how(await ask(it, q)) for q in (far, other)] == [("model", "miss")] * 2
        again = await ask(it, f" {far}")
        assert (again.text, how(again)) == (PINNED, ("reviewed", "semantic"))
        assert how(await ask(it, other))[0] != "reviewed"  # whose answer said something else
        assert it.count("ocho_answers_served_total", how="alias") == 1


async def test_a_judge_is_asked_whether_a_wording_asks_the_reviewed_question(
    tmp_path: Path, folder: Path, kept_in: dict[str, Any]
) -> None:
    other, different = "정규직한테 주는 연차휴가 일수 알려줘", "Within how many days are taxi receipts refunded?"
    meanings = {squeezed(QUESTION): "leave", squeezed(other): "leave", squeezed(different): "taxi"}
    judge = {"model": "gpt-4", "patience_s": 15}
    async with (
        running_provider(ProviderConfig(profile="instant", faults=Faults(), truths=Truths(meanings))) as upstream,
        opened(tmp_path, upstream.base_url, cache={**kept_in, "semantic": {"judge": judge}}) as it,
    ):
        await fill(it.gateway.settings, "hr", folder)
        await pin(it)
        reply = await ask(it, other)
        assert (reply.text, *how(reply)) == (PINNED, "reviewed", "semantic")
        asked = len(upstream.calls)
        again = await ask(it, other)
        assert (again.text, *how(again)) == (PINNED, "reviewed", "semantic")
        assert len(upstream.calls) == asked
        assert how(await ask(it, different))[0] == "model"
