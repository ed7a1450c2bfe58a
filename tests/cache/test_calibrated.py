from __future__ import annotations

from importlib.resources import files

import numpy as np
import orjson
import pytest

from gateway.cache.calibrated import CalibratedRule, load, rule_for
from gateway.cache.decision import StrictRule
from gateway.cache.features import DIRECTIONS, NAMES, features
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import key

LOCAL = "multilingual-e5-small-q4"


def near(*found: tuple[str, str, float]) -> list[Neighbor]:
    return [Neighbor(CachedQuestion(text, key(answer)), cosine) for text, answer, cosine in found]


CROWD = near(
    ("이번 연차는 며칠 쓸 수 있나요?", "leave", 0.985),
    ("연차를 며칠 쓸 수 있는지 알려줘", "leave", 0.98),
    ("연차 며칠까지 쓸 수 있어?", "leave", 0.978),
    ("연차는 며칠 사용할 수 있나요?", "leave", 0.975),
    ("연차를 며칠 쓸 수 있죠?", "leave", 0.97),
    ("병가는 며칠 쓸 수 있나요?", "sick", 0.9),
    ("식비 한도는 얼마인가요?", "meals", 0.84),
    ("주차장은 어디인가요?", "parking", 0.83),
)


def test_the_local_embedder_has_a_rule_and_others_start_strict() -> None:
    assert isinstance(rule_for(LOCAL), CalibratedRule)
    for unknown in ("text-embedding-3-small", "../../etc/passwd", ""):
        assert isinstance(rule_for(unknown), StrictRule)


def test_a_clear_paraphrase_among_its_kind_is_served() -> None:
    decision = rule_for(LOCAL).decide("연차는 며칠 쓸 수 있어요?", CROWD)
    assert decision.neighbor == CROWD[0]
    assert decision.probability is not None
    assert decision.probability > 0.95


def test_one_neighbour_alone_is_not_proof_enough() -> None:
    decision = rule_for(LOCAL).decide("주차권은 어떻게 써요?", near(("주차권은 어떻게 받아요?", "parking", 0.97)))
    assert (decision.neighbor, decision.reason) == (None, "uncertain")


@pytest.mark.parametrize("asked", ["인턴 연차는 며칠 쓰나요?", "연차는 5일 쓸 수 있나요?", "연차는 며칠 못 쓰나요?"])
def test_no_crowd_outvotes_a_veto(asked: str) -> None:
    assert rule_for(LOCAL).decide(asked, CROWD).neighbor is None


def test_only_spacing_and_closing_signs_differ_is_the_same_question() -> None:
    decision = rule_for(LOCAL).decide("연차는 며칠 쓸수 있어요 ??", near(("연차는 며칠 쓸 수 있어요?", "leave", 0.99)))
    assert decision.neighbor is not None


def test_less_error_allowed_never_serves_more() -> None:
    scores = [rule_for(LOCAL, allowed) for allowed in (0.02, 0.01, 0.005)]
    bars = [rule.bars for rule in scores if isinstance(rule, CalibratedRule)]
    assert [bar["ko"] for bar in bars] == sorted(bar["ko"] for bar in bars)
    assert isinstance(rule_for(LOCAL, 0.0001), StrictRule)


def test_more_similarity_never_lowers_the_chance() -> None:
    rule = rule_for(LOCAL)
    assert isinstance(rule, CalibratedRule)
    row = features("연차는 며칠 쓸 수 있어요?", CROWD)
    generator = np.random.default_rng(3)
    for column, direction in enumerate(DIRECTIONS):
        for _ in range(20):
            one = row + generator.normal(scale=0.02, size=row.size)
            other = one.copy()
            other[column] += 0.05
            change = rule.trees.score(other.tolist()) - rule.trees.score(one.tolist())
            assert change * direction >= -1e-9, NAMES[column]


def test_nothing_near_is_a_miss() -> None:
    assert rule_for(LOCAL).decide("q", []).neighbor is None


def test_a_calibration_names_the_features_it_was_made_for() -> None:
    data = (files("gateway.cache") / "calibration" / f"{LOCAL}.json").read_bytes()
    assert orjson.loads(data)["features"] == list(NAMES)
    assert isinstance(load(data, 0.01), CalibratedRule)
