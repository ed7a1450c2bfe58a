"""The bench on tiny files: its figures are those of the lines it read."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from bench.provider import Provider, ProviderConfig, Truths, running_provider
from bench.provider.truths import read_meanings
from bench.questions import kind, read
from bench.semantic_cache import decisions
from bench.semantic_cache.main import main
from bench.semantic_cache.stream import answer_of
from gateway.facts import same_facts


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def turn(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_groups_pairs_and_conversations_are_counted_as_they_are(tmp_path: Path) -> None:
    groups = [("연차는 며칠인가요?", "a"), ("연차는 며칠인가요", "a"), ("주차권은 어디서 받나요?", "b")]
    pairs = [
        ("연차는 며칠인가요?", "연차 15일인가요?", 0),
        ("회의실 예약 방법 알려줘", "회의실 예약 방법 좀 알려줘요", 1),
    ]
    told = turn("연차요", "네", "그건 며칠이에요?"), turn("병가요", "네", "그건 며칠이에요?")
    files = [
        write(tmp_path / "x_groups.jsonl", [{"q": q, "g": g} for q, g in groups]),
        write(tmp_path / "x_pairs.jsonl", [{"a": a, "b": b, "same": same} for a, b, same in pairs]),
        write(tmp_path / "x_conversations.jsonl", [{"a": told[0], "b": told[1], "same_answer": False}]),
    ]
    out = tmp_path / "report.json"
    command = ["--data", *map(str, files), "--thresholds", "0.8", "--json", str(out), "--store", "both"]
    assert main(command) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    rows = {(row["file"], row["store"]): row for row in report["files"]}
    assert len(rows) == 6
    for store in ("memory", "redis"):
        assert rows["x_groups.jsonl", store]["lookups"] == 2
        assert rows["x_groups.jsonl", store]["exact_hit_rate"] == pytest.approx(1 / 3, abs=1e-3)
        assert rows["x_pairs.jsonl", store]["lookups"] == 2
        assert rows["x_conversations.jsonl", store]["hit_rate"] == 0
        assert all(rows[name.name, store]["wrong_hits"] == 0 for name in files)
    fixed = {row["file"]: row for row in next(iter(report["thresholds"].values()))}
    assert fixed["x_pairs.jsonl"]["wrong_hits"] == 1  # what a threshold alone does with another number


def test_a_scope_that_learned_before_is_asked_both_questions_of_a_pair(tmp_path: Path) -> None:
    before = write(tmp_path / "before_groups.jsonl", [{"q": f"규정 {n} 알려줘", "g": f"{n}"} for n in range(9)])
    pairs = [("연차는 며칠인가요?", "연차는 며칠인가요", 1), ("주차권은 어디서 받나요?", "식권은 어디서 받나요?", 0)]
    data = write(tmp_path / "x_pairs.jsonl", [{"a": a, "b": b, "same": same} for a, b, same in pairs])
    out = tmp_path / "report.json"
    command = ["--data", str(data), "--after", str(before), "--groups", "3", "--thresholds", "--json", str(out)]
    assert main(command) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["after"] == before.name
    assert report["files"][0]["lookups"] == 3  # what was asked before does not count, nor does one question twice
    assert report["files"][0]["wrong_hits"] == 0


def test_decisions_are_timed_on_questions_that_were_not_kept(tmp_path: Path) -> None:
    data = write(tmp_path / "x_groups.jsonl", [{"q": f"규정 {n}조는 무엇인가요?", "g": f"{n}"} for n in range(20)])
    out = tmp_path / "report.json"
    assert decisions.main(["--data", str(data), "--kept", "15", "--asked", "5", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text(encoding="utf-8"))["files"]
    assert {"none known p50", "asked new p50", "all known p99"} < row.keys()
    assert all(value > 0 for name, value in row.items() if name != "file")


def test_groups_with_an_identical_question_are_one(tmp_path: Path) -> None:
    rows = [("같은 질문", "a"), ("같은 질문?", "b"), ("다른 질문", "b"), ("hi", "c")]
    found = read(write(tmp_path / "x.jsonl", [{"q": q, "g": g, "lang": "ko"} for q, g in rows]))
    assert kind(found) == "groups"
    assert found[0]["g"] == found[1]["g"] == found[2]["g"]
    assert found[3]["g"] == "c"
    assert not any("tenant" in row for row in found)


def test_the_traffic_of_several_companies_stays_apart(tmp_path: Path) -> None:
    labelled = [{"q": f"hi {n // 2}", "g": f"h3-{('one', 'two')[n % 2]}-X{n // 4}"} for n in range(400)]
    found = read(write(tmp_path / "x.jsonl", labelled))
    assert [row["tenant"] for row in found[:2]] == ["h3-one", "h3-two"]
    assert found[0]["g"] != found[1]["g"]
    named = [{"q": "hi", "g": f"{n}", "bot": f"b{n}"} for n in range(2)]
    assert [row["tenant"] for row in read(write(tmp_path / "y.jsonl", named))] == ["b0", "b1"]
    few = labelled[:40]  # too few of each to be two companies: labels may begin with anything
    assert "tenant" not in read(write(tmp_path / "z.jsonl", few))[0]


@pytest.mark.parametrize("question", ["연차는?", "leave?"])
def test_the_made_up_answers_of_a_group_state_its_facts_and_no_other_group_does(question: str) -> None:
    chance = random.Random(2)
    for number in range(60):
        one, again, other = (answer_of(f"g{n}", question, chance, 0.0) for n in (number, number, number + 100))
        assert same_facts(one, again)
        assert not same_facts(one, other)
        assert not same_facts(one, answer_of(f"g{number}", question, chance, 1.0))


@pytest.mark.parametrize(("noise", "hits", "wrong"), [(None, 0.0, 0), (0.0, 0.25, 0), (1.0, 0.25, 1)])
def test_a_judge_adds_hits_and_its_mistakes_are_counted(
    tmp_path: Path, noise: float | None, hits: float, wrong: int
) -> None:
    groups = [("연차휴가는 며칠까지 쓸 수 있나요?", "a"), ("연차휴가 며칠까지 쓸 수 있는지 알려 주세요", "a"),
              ("주차권은 어디서 받을 수 있나요?", "b"), ("주차권을 어디서 받는지 알려 주세요", "c")]  # fmt: skip
    file = write(tmp_path / "x_groups.jsonl", [{"q": q, "g": g} for q, g in groups])
    out = tmp_path / "report.json"
    judge = ["--judge", str(noise)] if noise is not None else []
    assert main(["--data", str(file), "--thresholds", "--json", str(out), *judge]) == 0
    [row] = json.loads(out.read_text(encoding="utf-8"))["files"]
    assert (row["hit_rate"], row["wrong_hits"]) == (hits, wrong)


async def test_a_real_judge_is_asked_as_serving_asks_and_remembers_what_it_said(tmp_path: Path) -> None:
    texts = [("연차휴가는 며칠까지 쓸 수 있나요?", "a"), ("연차휴가 며칠까지 쓸 수 있는지 알려 주세요", "a"),
             ("주차권은 어디서 받을 수 있나요?", "b"), ("주차권을 어디서 받는지 알려 주세요", "b")]  # fmt: skip
    file = write(tmp_path / "x_groups.jsonl", [{"q": q, "g": g} for q, g in texts])
    out, kept = tmp_path / "report.json", tmp_path / "kept.jsonl"
    command = ["--data", str(file), "--thresholds", "--json", str(out), "--judge-model", "instant"]

    async def row(provider: Provider, *more: str) -> dict[str, Any]:
        await asyncio.to_thread(main, [*command, "--judge-url", provider.base_url, *more])
        found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))["files"]
        return found[0]

    truths = Truths(meanings=read_meanings([file]))
    async with running_provider(ProviderConfig(profile="instant", truths=truths)) as provider:
        found = await row(provider, "--judge-kept", str(kept))
        assert (found["hit_rate"], found["wrong_hits"], found["judged"]) == (0.5, 0, 2)
        asked = [call.body for call in provider.calls]
        assert len(asked) == 4, "both orders of both pairs"
        assert all("Kept answer" not in body["messages"][0]["content"] for body in asked)
        assert {body["max_tokens"] for body in asked} == {1}
        assert (await row(provider, "--judge-kept", str(kept)))["hit_rate"] == 0.5
        assert len(provider.calls) == 4, "its verdicts are in the file"
        assert (await row(provider, "--judge-margin", "50"))["hit_rate"] == 0
    with pytest.raises(RuntimeError, match="no verdict"):
        await row(provider)
