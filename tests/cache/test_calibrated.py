from __future__ import annotations

import random

import numpy as np
import orjson
import pytest

from gateway.cache.calibrated import AdaptiveRule, BadCalibration, Calibration, rule_for, shipped
from gateway.cache.decision import StrictRule
from gateway.cache.features import NAMES, look, swapped
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import key

LOCAL = "multilingual-e5-small-q4"


def near(*found: tuple[str, str, float], scope: str = "5c") -> list[Neighbor]:
    return [Neighbor(CachedQuestion(text, key(answer, scope)), cosine) for text, answer, cosine in found]


CROWD = near(
    ("이번 연차는 며칠 쓸 수 있나요?", "leave", 0.985),
    ("연차를 며칠이나 쓸 수 있는지 알려줘", "leave", 0.98),
    ("연차 며칠까지 사용할 수 있어?", "leave", 0.978),
    ("연차는 총 며칠 사용 가능한가요?", "leave", 0.975),
    ("연차 사용 일수가 며칠이죠?", "leave", 0.97),
    ("병가는 며칠 쓸 수 있나요?", "sick", 0.9),
    ("식비 한도는 얼마인가요?", "meals", 0.84),
    ("주차장은 어디인가요?", "parking", 0.83),
)
LONE = CROWD[3:4] + CROWD[5:]
ASKED = "연차는 모두 합해 며칠 쓸 수 있을까요"


def rule(max_wrong: float = 0.01, *, audited: float = 0.0, max_scopes: int = 100) -> AdaptiveRule:
    calibration = shipped(LOCAL)
    assert calibration is not None
    return AdaptiveRule(calibration, max_wrong, audited=audited, max_scopes=max_scopes, chance=random.Random(5).random)


def paraphrase(number: int, cosine: float, scope: str = "5c") -> tuple[str, list[Neighbor]]:
    """A question worded anew beside a clear crowd of its own kind."""
    words = f"주제{number}번 신청 절차"
    kept = [(f"{words} {form}", f"a{number}", cosine - 0.002 * i) for i, form in enumerate(["안내", "설명", "정리"])]
    others = [(f"다른 물음 {number} {i}", f"o{number}{i}", 0.84 - 0.01 * i) for i in range(5)]
    return f"{words} 자세히 궁금합니다 꼭", near(*kept, *others, scope=scope)


def teach(taught: AdaptiveRule, agree: float, lookups: int = 600, scope: str = "5c", seed: int = 1) -> list[bool]:
    """A stream in which the share ``agree`` of misses is answered like its nearest; what was served, in order."""
    chance, served = random.Random(seed), []
    for number in range(lookups):
        asked, neighbors = paraphrase(number, 0.94 + 0.05 * chance.random(), scope)
        hit = taught.decide(asked, neighbors).neighbor is not None
        served.append(hit)
        if not hit:
            taught.learn(asked, neighbors, {neighbors[0].question.key: chance.random() < agree})
    return served


def test_the_local_embedder_has_a_calibration_and_others_start_strict() -> None:
    assert isinstance(rule_for(LOCAL), AdaptiveRule)
    for unknown in ("text-embedding-3-small", "../../etc/passwd", ""):
        assert isinstance(rule_for(unknown), StrictRule)


def test_a_new_scope_serves_only_what_differs_in_small_words() -> None:
    fresh = rule()
    assert fresh.decide(ASKED, LONE).neighbor is None
    hit = fresh.decide("연차 며칠이나 쓸 수 있나요", near(("연차는 며칠이나 쓸 수 있나요?", "leave", 0.98)))
    assert hit.neighbor is not None


def test_a_new_scope_gives_hardly_a_chance_to_what_is_far_and_a_good_one_to_a_crowd() -> None:
    fresh = rule()
    assert fresh.chance(ASKED, CROWD, key("meals")) < 0.1
    assert fresh.chance(ASKED, CROWD, key("leave")) > 0.5


def test_a_chance_is_what_the_labels_say_also_far_below_the_bar() -> None:
    taught = rule()
    teach(taught, agree=0.3)
    chances = [taught.chance(*paraphrase(number, 0.96), key(f"a{number}")) for number in range(600, 620)]
    assert 0.2 < float(np.mean(chances)) < 0.4


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("식대 한도는 무엇인가요?", "식대 한도는 언제 정해지나요?"),
        ("Can I unblock my card in the app?", "How do I unblock my card in the app?"),
        ("Why must I verify my identity?", "What do I need to do to verify my identity?"),
        ("How do I move data from Postgres to MySQL?", "How do I move data from MySQL to Postgres?"),
        ("서울에서 부산으로 발령되면 이사비는?", "부산에서 서울로 발령되면 이사비는?"),
        ("반차 신청은 어떻게 하나요?", "연차 신청은 어떻게 하나요?"),
    ],
)
def test_the_same_words_in_another_question_are_no_hit_in_a_new_scope(kept: str, asked: str) -> None:
    for one, other in ((kept, asked), (asked, kept)):
        assert rule().decide(other, near((one, "a", 0.995))).neighbor is None


def test_what_is_uncertain_is_a_miss_that_tells_its_probability() -> None:
    decision = rule().decide(ASKED, LONE)
    assert (decision.neighbor, decision.reason) == (None, "uncertain")
    assert decision.probability is not None
    assert 0 < decision.probability < 1


def test_a_scope_whose_answers_agree_begins_to_serve_and_one_where_they_differ_does_not() -> None:
    agreeing, differing = teach(rule(), 1.0), teach(rule(), 0.85)
    assert not any(agreeing[:20])
    assert sum(agreeing[-200:]) > 100
    assert not any(differing)


SWAPS = [  # none of them in a list of kinds or of contrasts
    ("부엌칼을 가는 방법이 무엇인가요?", "부엌칼을 버리는 방법이 무엇인가요?"),
    ("수료증은 어디서 출력하나요?", "교안은 어디서 출력하나요?"),
    ("How do I pause my plan?", "How do I resume my plan?"),
]


@pytest.mark.parametrize(("kept", "asked"), SWAPS)
def test_one_word_in_the_place_of_another_is_refused_unless_vectors_call_both_the_same(kept: str, asked: str) -> None:
    taught = rule()
    assert any(teach(taught, 1.0))
    decisions = [taught.decide(asked, near((kept, "a", cosine))) for cosine in (0.979, 0.981)]
    assert [(decision.neighbor, decision.reason) for decision in decisions] == [(None, "one word"), (None, "uncertain")]


def test_a_synonym_is_no_other_word() -> None:
    found = look("무선 이어폰 값이 얼마죠", near(("무선 이어폰 요금이 얼마죠", "a", 0.97)))
    assert found.row is not None
    assert not swapped(found.row)


def test_a_judge_may_still_be_asked_about_a_swapped_word() -> None:
    taught = rule()
    teach(taught, 1.0)
    (kept, asked), place = SWAPS[1], key("a")
    assert taught.worth_asking(asked, near((kept, "a", 0.979)), [place]) == [place]


def test_how_far_answers_contradict_themselves_is_learned_from_repeats_beyond_doubt_only() -> None:
    taught = rule()
    told = taught.answer_noise
    taught.repeated(False)
    assert taught.answer_noise == told
    steady = rule()
    for number in range(600):
        taught.repeated(number % 25 != 0)
        steady.repeated(True)
    assert 0.02 < taught.answer_noise < 0.045
    assert steady.answer_noise == told


def test_scopes_learn_apart() -> None:
    taught = rule()
    assert any(teach(taught, 1.0, scope="one"))
    assert not any(teach(taught, 1.0, lookups=20, scope="two"))


def test_a_scope_whose_audited_hits_turn_wrong_stops_serving_and_is_counted() -> None:
    taught = rule(audited=0.2)
    assert any(teach(taught, 1.0))
    assert taught.standing().serving == 1
    after = teach(taught, 0.0, lookups=300, seed=2)
    assert not any(after[-100:])
    standing = taught.standing()
    assert standing.audited_wrong >= 1
    assert standing.upper95 > standing.audited_wrong / standing.audited


def test_less_error_allowed_never_serves_more() -> None:
    served = [sum(teach(rule(allowed), 0.995)) for allowed in (0.05, 0.01, 0.002)]
    assert served == sorted(served, reverse=True)
    assert served[0] > served[-1]


def test_an_audited_hit_is_answered_afresh() -> None:
    audited = rule(audited=1.0)
    decision = audited.decide("연차 며칠이나 쓸 수 있나요", near(("연차는 며칠이나 쓸 수 있나요?", "leave", 0.98)))
    assert (decision.neighbor, decision.reason) == (None, "audit")


@pytest.mark.parametrize("asked", ["인턴 연차는 며칠 쓰나요?", "연차는 5일 쓸 수 있나요?", "연차는 며칠 못 쓰나요?"])
def test_no_crowd_and_no_experience_outvotes_a_veto(asked: str) -> None:
    taught = rule()
    teach(taught, 1.0)
    assert taught.decide(asked, CROWD).neighbor is None


def test_what_one_question_says_alone_and_all_that_tells_them_apart_is_no_hit_however_much_was_learned() -> None:
    taught = rule()
    teach(taught, 1.0)
    kept = "포장을 뜯으면 환불이 되나요?"
    for asked in ("포장을 뜯지 않으면 환불이 되나요?", "주말에 포장을 뜯으면 환불이 되나요?"):
        found = look(asked, near((kept, "refund", 0.995)))
        assert (found.best, bool(found.refused)) == (None, True)
        assert taught.decide(asked, near((kept, "refund", 0.995))).neighbor is None


def test_what_one_question_says_alone_is_a_number_where_much_else_differs() -> None:
    found = look(
        "오늘 반품하면 돈은 어떻게 받나요?", near(("환불 대금을 돌려받는 절차가 어떻게 되나요?", "refund", 0.96))
    )
    assert found.row is not None
    assert found.row[NAMES.index("one_sided")] == 1.0
    assert not found.same_words


def test_the_same_words_are_not_enough_once_a_scope_has_learned_better() -> None:
    taught = rule()
    asked, kept = "연차 며칠이나 쓸 수 있나요", near(("연차는 며칠이나 쓸 수 있나요?", "leave", 0.98))
    assert taught.decide(asked, kept).neighbor is not None
    for _ in range(100):
        taught.learn(asked, kept, {kept[0].question.key: False})
    assert taught.decide(asked, kept).neighbor is None


def test_memory_is_bounded_and_the_longest_unused_scope_starts_again() -> None:
    taught = rule(max_scopes=3)
    for number in range(10):
        teach(taught, 1.0, lookups=2, scope=f"s{number}")
    standing = taught.standing()
    assert standing.learning + standing.serving + standing.off == 3


def test_nothing_near_is_a_miss() -> None:
    assert rule().decide("q", []).neighbor is None


def test_a_calibration_survives_its_file() -> None:
    made = shipped(LOCAL)
    assert made is not None
    again = Calibration.load(made.dump())
    assert np.array_equal(made.mean, again.mean)
    assert np.array_equal(made.covariance, again.covariance)
    assert np.linalg.eigvalsh(made.covariance).min() > 0


@pytest.mark.parametrize(
    "change", [{"features": list(NAMES)[:-1]}, {"mean": [1.0]}, {"covariance": "x"}, {"embedder": None, "mean": None}]
)
def test_a_damaged_or_foreign_calibration_is_told(change: dict[str, object]) -> None:
    made = shipped(LOCAL)
    assert made is not None
    with pytest.raises(BadCalibration, match="calibrat"):
        rule_for(LOCAL, data=orjson.dumps(orjson.loads(made.dump()) | change))
    with pytest.raises(BadCalibration, match="is for"):
        rule_for("another", data=made.dump())
    with pytest.raises(BadCalibration, match="not a calibration"):
        rule_for(LOCAL, data=b"{")
