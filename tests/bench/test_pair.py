"""The bench of two models: its figures are those of the answers that came back over the wire."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.corpora import CORPORA
from bench.pair import Row, main, read, told
from bench.provider import Faults, ProviderConfig, Truths, running_provider
from bench.provider.truths import read_answers

ROW = Row(
    corpus="handbook", group="g", lang="ko", question="q", answerable=True, looks=("d",), draft_text="d", draft="right",
    veto="uncited", score=0.0, accepted=False, usable=False, found=False, draft_tokens=(), values=(), big_text="b",
    big="right", big_tokens=(), again_tokens=(), by="big", given_text="b", given="right", draft_s=1.0, big_s=2.0,
)  # fmt: skip


def provider(wrong: float) -> ProviderConfig:
    truths = Truths(answers=read_answers([CORPORA["handbook"].questions]))
    return ProviderConfig(
        models={"fast": "instant", "large": "instant"}, faults=Faults(wrong, phrasings=False), truths=truths
    )


async def test_two_servers_are_asked_and_what_each_said_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    async with running_provider(provider(wrong=0.5)) as drafts, running_provider(provider(wrong=0.0)) as answers:
        command = [
            "--draft-url", drafts.base_url, "--draft-model", "fast", "--big-url", answers.base_url,
            "--big-model", "large", "--corpora", "handbook", "--sample", "8", "--embedder", "off", "--rows", str(rows),
        ]  # fmt: skip
        assert await asyncio.to_thread(main, command) == 0
        report = json.loads(capsys.readouterr().out)
        calls = len(drafts.calls), len(answers.calls)
        assert await asyncio.to_thread(main, command) == 0
        assert (len(drafts.calls), len(answers.calls)) == calls, "what is in the file is not asked again"
        assert json.loads(capsys.readouterr().out) == report
    found = [read(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert report["questions"] == len(found) == 8
    assert {row.big for row in found} == {"right"}
    assert {row.draft for row in found} == {"right", "wrong"}
    assert report["draft_alone"]["wrong_n"] == sum(row.draft == "wrong" for row in found)
    for row in found:
        assert row.accepted == (row.by == "draft")
        assert row.given_text == (row.draft_text if row.accepted else row.big_text)


def test_no_answer_is_a_refusal_and_right_where_the_documents_have_none() -> None:
    rows = [
        replace(ROW, by="draft", accepted=True, usable=True, given="wrong", draft="wrong"),
        replace(ROW, by="none", given="refused"),
        replace(ROW, by="none", given="right", answerable=False, big="wrong"),
        ROW,
    ]
    found = told(rows)
    assert found["pair"]["wrong_n"] == 1
    assert (found["pair"]["right"], found["pair"]["refused"]) == (0.5, 0.25)
    assert (found["pair"]["withheld"], found["pair"]["withheld_though_big_right"]) == (2, 1)
    assert found["pair"]["by"]["draft"]["wrong_n"] == 1
    assert (found["accepted"]["share"], found["accepted"]["wrong_n"], found["accepted"]["upper95"]) == (0.25, 1, 1.0)
    assert found["refused_though_right"] == 3
