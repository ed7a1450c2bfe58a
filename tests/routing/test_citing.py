"""A citation is found for a draft that has none only where one passage, and no other, bears it out."""

from __future__ import annotations

import unicodedata

import pytest

from gateway.chat import Evidence, Passage
from gateway.routing.citing import with_citations
from gateway.routing.gate import MEASURES, Calibration, Draft, judge

LEAVE = Passage(
    "hr", "annual-leave.md", "1", 0, "연차휴가 규정", "부여 일수",
    "- 정규직 직원의 연차휴가는 1년에 16일이다.\n"
    "- 정규직 직원은 휴가 시작 3영업일 전까지 온피플에서 신청해야 한다.\n"
    "- 남은 연차는 다음 해로 이월할 수 없다.", 2.0,
)  # fmt: skip
CONTRACT = Passage(
    "hr", "contract-leave.md", "1", 0, "계약직 휴가", "부여 일수", "계약직 직원의 연차휴가는 1년에 13일이다.", 1.5
)
TRAVEL = Passage("hr", "travel-en.md", "1", 0, "Travel", "Hotels", "The limit for a night in London is GBP 180.", 1.0)
EVIDENCE = Evidence((CONTRACT, LEAVE, TRAVEL))
DAYS = "정규직 직원은 연차휴가가 1년에 며칠인가요?"
LONDON = "How much may a hotel in London cost?"


@pytest.mark.parametrize(
    ("question", "text", "marked"),
    [
        (DAYS, "정규직 직원의 연차휴가는 1년에 16일입니다.", "정규직 직원의 연차휴가는 1년에 16일입니다 [doc2]."),
        (DAYS, "정규직 직원의 연차휴가는 1년에 16일입니다", "정규직 직원의 연차휴가는 1년에 16일입니다 [doc2]"),
        (LONDON, "The limit for a night in London is GBP 180.", "The limit for a night in London is GBP 180 [doc3]."),
        (
            DAYS,
            "정규직 직원의 연차휴가는 1년에 16일입니다.\n계약직 직원의 연차휴가는 1년에 13일입니다.",
            "정규직 직원의 연차휴가는 1년에 16일입니다 [doc2].\n계약직 직원의 연차휴가는 1년에 13일입니다 [doc1].",
        ),
    ],
)
def test_each_sentence_gets_the_passage_that_states_it(question: str, text: str, marked: str) -> None:
    assert with_citations(text, question, EVIDENCE) == marked
    assert with_citations(unicodedata.normalize("NFD", text), question, EVIDENCE) == marked


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (DAYS, "정규직 직원의 연차휴가는 1년에 16일입니다 [doc1]."),  # its own citation stands, right or not
        (DAYS, "정규직 직원의 연차휴가는 1년에 17일입니다."),  # a number from nowhere
        (DAYS, "정규직 직원의 연차휴가는 1년에 13일입니다."),  # of the other kind of employee
        (DAYS, "정규직 직원의 연차휴가는 1년에 16시간입니다."),  # the number, of something else
        (DAYS, "정규직 직원의 연차휴가는 1년에 16일이 아닙니다."),  # the opposite
        (DAYS, "정규직 직원은 연차휴가가 1년에 며칠인가요."),  # the question again
        (DAYS, "정규직 직원의 연차휴가는 1년에 16일입니다. 주말에는 두 배로 계산됩니다."),  # half of it made up
        ("정규직 연차 며칠?", "남은 연차는 다음 해로 이월할 수 없습니다."),  # another line answers better
        (LONDON, "The limit for a night in London is USD 180."),  # another currency
        (DAYS, ""),
    ],
)
def test_what_is_not_clearly_borne_out_stays_uncited(question: str, text: str) -> None:
    assert with_citations(text, question, EVIDENCE) is None


def test_of_two_passages_that_state_it_neither_is_cited() -> None:
    twin = Passage("hr", "handbook.md", "1", 0, "안내", "휴가", "정규직 직원의 연차휴가는 1년에 16일이다.", 1.0)
    assert with_citations("정규직 직원의 연차휴가는 1년에 16일입니다.", DAYS, Evidence((LEAVE, twin))) is None


def test_without_passages_there_is_nothing_to_cite() -> None:
    assert with_citations("정규직 직원의 연차휴가는 1년에 16일입니다.", DAYS, Evidence()) is None


@pytest.mark.parametrize("doubt", [0.0, -0.1, -0.2, -0.3, -0.5, -0.8, -1.5])
def test_a_found_citation_meets_the_highest_bar_and_is_never_sure(doubt: float) -> None:
    text, logprobs = "정규직 직원의 연차휴가는 1년에 16일입니다 [doc2].", [("16", doubt), ("일", -0.01)]
    own = judge(Draft(text, "stop", logprobs), DAYS, EVIDENCE)
    found = judge(Draft(text, "stop", logprobs, found=True), DAYS, EVIDENCE)
    assert (found.accepted, found.usable, found.sure) == (own.sure, own.usable, False)
    assert found.score == own.score


def test_without_log_probabilities_a_found_citation_is_good_for_a_labelled_answer_only() -> None:
    text = "정규직 직원의 연차휴가는 1년에 16일입니다 [doc2]."
    lenient = dict.fromkeys((True, False), Calibration((0.0,) * (len(MEASURES) - 1), 0.4, 0.3, 0.6))
    own, found = (judge(Draft(text, "stop", found=found), DAYS, EVIDENCE, lenient) for found in (False, True))
    assert (own.accepted, own.usable) == (True, True)
    assert (found.accepted, found.usable) == (False, True)


def test_a_number_of_another_line_of_the_passage_is_no_support() -> None:
    terms = Passage(
        "c", "terms.md", "1", 0, "할부 약관", "",
        "3. 구 약관에서는 미리 갚을 때 상환액의 1%를 중도 상환 수수료로 받습니다.\n4. 연체이자는 연 11%입니다.", 1.0,
    )  # fmt: skip
    asked, evidence = "구 약관 중도 상환 수수료율", Evidence((terms, TRAVEL))
    assert with_citations("구 약관 중도 상환 수수료율은 1%입니다.", asked, evidence)
    assert with_citations("구 약관 중도 상환 수수료율은 연 11%입니다.", asked, evidence) is None


def test_the_number_alone_in_another_passage_takes_no_citation_away() -> None:
    ward = Passage("c", "ward.md", "1", 0, "입원 안내", "", "- 일반병동에는 보호자 1명이 상주할 수 있습니다.", 1.0)
    visits = Passage(
        "c", "visits.md", "1", 0, "면회", "", "감염병 단계가 높으면 면회는 환자 1명당 20분으로 줄입니다.", 0.9
    )
    asked, said = "일반병동에는 보호자가 몇 명 상주할 수 있나요?", "일반병동에는 보호자가 1명 상주할 수 있습니다."
    marked = "일반병동에는 보호자가 1명 상주할 수 있습니다 [doc2]."
    assert with_citations(said, asked, Evidence((visits, ward))) == marked
    assert with_citations(said, asked, Evidence((ward, ward))) is None
