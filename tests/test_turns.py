from __future__ import annotations

import unicodedata

import pytest

from gateway.turns import self_contained, subjects


@pytest.mark.parametrize(
    "question",
    [
        "연차는 며칠인가요?",
        "육아휴직은 며칠까지 쓸 수 있나요?",
        "법인카드 분실 신고는 어디에 하나요?",
        "VPN 설치는 어떻게 하나요?",
        "What's the cooling-off period for a new Kestrel broadband contract?",
        "How many days of annual leave do employees get?",
    ],
)
def test_a_question_with_its_own_subject_stands_by_itself(question: str) -> None:
    assert self_contained(question)
    assert self_contained(unicodedata.normalize("NFD", question))


@pytest.mark.parametrize(
    "question",
    [
        "그럼 인턴은요?",
        "인턴은요?",
        "인턴도 되나요?",
        "그건 언제까지 써야 하나요?",
        "거기 운영 시간은 어떻게 되나요?",
        "두 번째는 얼마인가요?",
        "신청은 어떻게 하나요?",  # of what?
        "해지 수수료는 얼마인가요?",  # of which contract?
        "며칠인가요?",
        "지급일은 언제인가요?",
        "저는 연차가 며칠인가요?",
        "연차 15일",  # asks nothing
        "3년 차라면요?",
        "네, 그렇게 해 주세요.",
        "and for interns?",
        "How long does it take?",
        "What will I pay?",
        "how long will the refund take?",
        "is there an early exit fee?",
        "ok which option would you recommend?",
        "My leave: how many days is my leave this year?",
        "",
    ],
)
def test_whatever_leans_on_something_does_not(question: str) -> None:
    assert not self_contained(question)


def test_particles_question_words_and_sides_of_things_are_no_subjects() -> None:
    assert subjects("정규직 연차휴가를 신청하는 방법이 어떻게 되나요?") == {"연차휴가"}
    assert subjects("휴가는 며칠이에요?") == {"휴가"}
    assert subjects("How many days of annual leave are there?") == {"annual", "leave"}
