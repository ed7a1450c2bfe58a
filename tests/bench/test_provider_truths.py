from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from bench.provider.judge import verdict
from bench.provider.truths import Truths, read_meanings

MEANINGS = {"연차는 며칠인가요?": "leave", "연차 며칠이에요?": "leave", "병가는 며칠인가요?": "sick"}


def asked(one: str, other: str) -> str:
    return f"Question A: {one}\nQuestion B: {other}\nThe same? Yes or No"


def test_a_judge_that_knows_the_truth_says_it() -> None:
    truths = Truths(MEANINGS)
    for seed in range(50):
        assert verdict(asked("연차는 며칠인가요?", "연차  며칠이에요?"), Random(seed), truths).token == "Yes"
        assert verdict(asked("연차는 며칠인가요?", "병가는 며칠인가요?"), Random(seed), truths).token == "No"


def test_noise_is_the_share_of_verdicts_that_are_wrong() -> None:
    truths, rng = Truths(MEANINGS, noise=0.05), Random(7)
    wrong = sum(
        verdict(asked("연차는 며칠인가요?", "병가는 며칠인가요?"), rng, truths).token == "Yes" for _ in range(4000)
    )
    assert 0.03 < wrong / 4000 < 0.07


def test_a_question_it_was_not_told_is_judged_by_likeness() -> None:
    known = verdict(asked("주차는?", "주차는?"), Random(1), Truths(MEANINGS))
    assert known == verdict(asked("주차는?", "주차는?"), Random(1))


def test_groups_become_meanings(tmp_path: Path) -> None:
    file = tmp_path / "a_groups.jsonl"
    file.write_text('{"q": "What  is it?", "g": 1}\n\n{"q": "what is it", "g": 2}\n', encoding="utf-8")
    assert read_meanings([file]) == {"what is it?": "a_groups.jsonl:1", "what is it": "a_groups.jsonl:2"}


def test_noise_beyond_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match="noise"):
        Truths(noise=1.5)
