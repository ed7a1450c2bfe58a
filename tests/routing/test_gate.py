"""The gate: what no probability outweighs, and the score below that."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import orjson
import pytest

from gateway.chat import Evidence, Passage
from gateway.routing.gate import (
    KINDS,
    MEASURES,
    Draft,
    judge,
    measures,
    names_of,
    read_calibrations,
    shipped,
    why_vetoed,
)

LEAVE = Passage(
    "hr", "annual-leave.md", "1", 0, "연차휴가 규정", "부여 일수",
    "- 정규직 직원의 연차휴가는 1년에 16일이다.\n"
    "- 정규직 직원은 휴가 시작 3영업일 전까지 온피플에서 신청해야 한다.", 2.0,
)  # fmt: skip
TRAVEL = Passage("hr", "travel-en.md", "1", 0, "Travel", "Hotels", "Up to 180 USD a night. Book with TRIP-7.", 1.0)
EVIDENCE = Evidence((LEAVE, TRAVEL))
ASKED = "정규직 직원은 연차휴가가 1년에 며칠인가요?"
RIGHT = "정규직 직원의 연차휴가는 1년에 16일입니다 [doc1]."
CERTAIN = [("정규", -0.01), ("직", -0.1), ("16", -0.2), ("일", -0.02)]


def draft(text: str, reason: str | None = "stop", logprobs: list[tuple[str, float]] | None = None) -> Draft:
    return Draft(text, reason, CERTAIN if logprobs is None else logprobs)


def test_a_supported_and_certain_draft_is_accepted() -> None:
    verdict = judge(draft(RIGHT), ASKED, EVIDENCE)
    assert (verdict.accepted, verdict.usable, verdict.veto) == (True, True, "")


@pytest.mark.parametrize(
    ("text", "reason", "veto"),
    [
        ("정규직 직원의 연차휴가는 1년에 17일입니다 [doc1].", "stop", "number"),
        ("정규직은 HRX에서 16일입니다 [doc1].", "stop", "code"),
        ("정규직 직원의 연차휴가는 180일입니다 [doc1].", "stop", "number"),  # stands in another passage than cited
        ("정규직 직원의 연차휴가는 16일입니다 [doc7].", "stop", "citation"),
        ("정규직 직원의 연차휴가는 16일입니다.", "stop", "uncited"),
        ("정규직 직원의 연차휴가는 1년에", "length", "cut"),
        ("", "stop", "empty"),
        ("문서에서 해당 내용을 찾을 수 없습니다.", "stop", "insufficient"),
        ("The documents do not mention this [doc1].", "stop", "insufficient"),
        ("INSUFFICIENT", "stop", "insufficient"),
        ("Permanent employees get 16 days of annual leave a year [doc1].", "stop", "language"),
        (RIGHT + " 더 말씀드리면" * 200, "stop", "long"),
    ],
)
def test_vetoes(text: str, reason: str, veto: str) -> None:
    verdict = judge(draft(text, reason), ASKED, EVIDENCE)
    assert verdict.veto == veto
    assert {verdict.accepted, verdict.usable, verdict.sure} == {False}


def test_a_number_of_the_question_needs_no_passage() -> None:
    assert why_vetoed(draft("2025년에도 16일입니다 [doc1]."), "2025년 연차는 며칠?", EVIDENCE) == ""


def test_without_evidence_nothing_is_supported() -> None:
    assert why_vetoed(draft(RIGHT), ASKED, Evidence()) == "no evidence"


def test_decomposed_hangul_is_the_same_text() -> None:
    apart = unicodedata.normalize("NFD", RIGHT)
    assert judge(draft(apart), ASKED, EVIDENCE) == judge(draft(RIGHT), ASKED, EVIDENCE)


def test_doubt_in_one_token_lowers_the_score() -> None:
    certain = judge(draft(RIGHT), ASKED, EVIDENCE)
    doubtful = judge(draft(RIGHT, logprobs=[*CERTAIN[:2], ("16", -3.5)]), ASKED, EVIDENCE)
    assert doubtful.score < certain.score
    assert not doubtful.accepted


def test_the_end_token_does_not_count() -> None:
    with_end = judge(draft(RIGHT, logprobs=[*CERTAIN, ("<|im_end|>", -5.0)]), ASKED, EVIDENCE)
    assert with_end == judge(draft(RIGHT), ASKED, EVIDENCE)


def test_a_neighbouring_fact_is_not_the_answer() -> None:
    other = "정규직 직원은 휴가 시작 3영업일 전까지 온피플에서 신청해야 합니다 [doc1]."
    assert judge(draft(other), ASKED, EVIDENCE).score < judge(draft(RIGHT), ASKED, EVIDENCE).score


def test_the_turned_word_counts_against() -> None:
    values = dict(
        zip(
            MEASURES,
            measures(draft("정규직 직원의 연차휴가는 16일이 아닙니다 [doc1]."), ASKED, EVIDENCE),
            strict=True,
        )
    )
    assert values["polarity"] == 0.0


def test_each_kind_of_draft_has_weights_of_its_own() -> None:
    for kind, calibration in shipped().items():
        assert len(calibration.weights) == len(names_of(kind)) + 1
        assert calibration.usable <= calibration.accept <= calibration.sure
    assert set(shipped()) == set(KINDS.values())
    assert judge(Draft(RIGHT, "stop"), ASKED, EVIDENCE).usable


def test_what_the_other_looks_say_counts() -> None:
    alone, agreed, refused = (
        judge(replace(draft(RIGHT), votes=votes), ASKED, EVIDENCE).score for votes in ((1, 0), (2, 0), (1, 1))
    )
    assert refused < alone < agreed


def test_calibrations_of_earlier_versions_still_serve() -> None:
    """Measures that came later weigh nothing, and kinds that are no more are passed over."""
    old = ["lowest_logprob", "mean_logprob", "support", "near"]
    bars = {"accept": 0.9, "usable": 0.5, "sure": 0.95}
    made = {
        "measures": old,
        "with_logprobs": {"weights": [1.0, 2.0, 3.0, 4.0], **bars},
        "without_logprobs": {"weights": [3.0, 4.0], **bars},
        "with_logprobs_near": {"weights": [1.0] * 5, **bars},
    }
    calibrations = read_calibrations(orjson.dumps(made))
    assert calibrations[True].weights == (1.0, 2.0, 3.0, *[0.0] * (len(MEASURES) - 3), 4.0)
    assert calibrations[False].weights == (3.0, *[0.0] * (len(MEASURES) - 3), 4.0)


def test_every_weight_points_the_way_it_must() -> None:
    for kind, calibration in shipped().items():
        for name, weight in zip(names_of(kind), calibration.weights, strict=False):
            assert weight <= 0 if name in {"rival", "length", "refused"} else weight >= 0, name
