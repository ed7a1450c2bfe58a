"""The signature on labelled pairs, ``pairs.jsonl`` (CC0), written for this. Rules were tuned on the dev half only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.facts import Verdict, compare, signature

PAIRS = [json.loads(line) for line in (Path(__file__).parent / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True, slots=True)
class Score:
    precision: float
    recall: float


def verdict(pair: Mapping[str, Any]) -> Verdict:
    return compare(signature(pair["a"]), signature(pair["b"])).verdict


def score(pairs: list[dict[str, Any]], said: Verdict, truth: bool) -> Score:
    """Of the verdict ``said`` for pairs whose label is ``truth``."""
    told = [pair["same"] == truth for pair in pairs if verdict(pair) is said]
    wanted = [verdict(pair) is said for pair in pairs if pair["same"] == truth]
    return Score(sum(told) / len(told), sum(wanted) / len(wanted))


@pytest.mark.parametrize(
    ("half", "said", "truth", "floor"),
    [
        ("dev", Verdict.SAME, True, Score(0.96, 0.9)),
        ("held_out", Verdict.SAME, True, Score(0.93, 0.8)),
        ("dev", Verdict.DIFFERENT, False, Score(0.9, 0.8)),
        ("held_out", Verdict.DIFFERENT, False, Score(0.9, 0.7)),
    ],
)
def test_the_signature_tells_same_facts_from_different_ones(
    half: str, said: Verdict, truth: bool, floor: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [pair for pair in PAIRS if pair["half"] == half]
    reached = score(pairs, said, truth)
    with capsys.disabled():
        print(f"\n{half:9} {len(pairs)} pairs, {said:9}: precision {reached.precision:.3f} recall {reached.recall:.3f}")
    assert reached.precision >= floor.precision
    assert reached.recall >= floor.recall


def test_the_set_is_large_and_in_both_languages() -> None:
    assert len(PAIRS) >= 300
    assert {pair["lang"] for pair in PAIRS} == {"ko", "en", "ko+en"}
    assert len({(pair["a"], pair["b"]) for pair in PAIRS}) == len(PAIRS)


def test_a_comparison_does_not_depend_on_its_direction() -> None:
    for pair in PAIRS:
        one, other = signature(pair["a"]), signature(pair["b"])
        assert compare(one, other).verdict is compare(other, one).verdict, pair
