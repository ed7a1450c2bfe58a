from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from gateway.cache.calibrated import AdaptiveRule, Calibration
from gateway.cache.calibrating import DISTRUST, SPREAD, calibrate, rows_of
from gateway.cache.features import EARNED, NAMES
from gateway.embedding.hashing import HashingEmbedder
from gateway.ports import Vector

FORMS = ("{} 어떻게 해요", "{} 방법 알려줘", "{} 절차 안내 부탁", "{} 하려면 무엇부터 하나", "{} 궁금합니다")
EMBEDDER = HashingEmbedder(128)


async def embed(text: str) -> Vector:
    vector: Vector = (await EMBEDDER.embed([text], query=True))[0]
    return vector


def questions(seed: int, groups: int = 40) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    topics = ["".join(chance.choice("가나다라마바사자차카타파하") for _ in range(5)) for _ in range(groups)]
    return [{"q": form.format(topic), "g": topic} for topic in topics for form in FORMS]


async def test_the_same_questions_give_the_same_calibration_which_holds_no_words_of_them() -> None:
    made = [calibrate("e", {"a": await rows_of(questions(1), embed)}).dump() for _ in range(2)]
    assert made[0] == made[1]
    text = made[0].decode()
    assert not any(row["g"] in text or row["q"] in text for row in questions(1))
    assert isinstance(AdaptiveRule(Calibration.load(made[0])), AdaptiveRule)


async def test_sources_that_differ_leave_more_doubt_than_sources_that_agree() -> None:
    one = await rows_of(questions(1), embed)
    swapped = [{**row, "g": f"{number}"} for number, row in enumerate(questions(2))]  # near questions, never the same
    alike = calibrate("e", {"a": one, "b": await rows_of(questions(3), embed)})
    apart = calibrate("e", {"a": one, "b": await rows_of(swapped, embed)})
    least = SPREAD * len(NAMES) + DISTRUST[1] ** 2 * len(EARNED)
    assert np.trace(apart.covariance) - least > 2 * (np.trace(alike.covariance) - least)
    assert np.linalg.eigvalsh(apart.covariance).min() > 0


async def test_a_source_without_a_single_error_says_no_more_than_its_size() -> None:
    sources = {"a": await rows_of(questions(1), embed), "b": await rows_of(questions(3, groups=1), embed)}
    assert np.abs(calibrate("e", sources).mean).max() < 10
    assert np.diag(calibrate("e", sources).covariance).max() < 20


async def test_tenants_in_one_file_never_meet() -> None:
    mixed = [{**row, "tenant": f"t{number % 3}"} for number, row in enumerate(questions(4))]
    parts = await rows_of(mixed, embed)
    assert len(parts) == 3
    assert all(part.rows.shape[1] == len(NAMES) for part in parts)


async def test_pairs_and_groups_are_read_and_other_lines_are_told() -> None:
    pairs = [
        {"a": "연차 며칠", "b": "연차는 며칠", "same": 1},
        {"a": "연차 5일", "b": "연차 6일", "same_answer": False},
    ]
    (part,) = await rows_of(pairs, embed)
    assert part.right.tolist() == [1.0]  # numbers that differ are refused before anything is looked at
    with pytest.raises(KeyError):
        await rows_of([{"question": "x"}], embed)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(ValueError, match="nothing to calibrate on"):
        calibrate("e", {"a": []})
