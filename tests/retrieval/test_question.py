from __future__ import annotations

from dataclasses import replace

import pytest

from bench import handbook
from gateway.chat import ChatRequest, Message
from gateway.retrieval.question import besides, follows_up, leans, search_text


def conversation(*turns: str) -> ChatRequest:
    """User and assistant turns in alternation, a user's last."""
    roles = ["user" if (len(turns) - i) % 2 else "assistant" for i in range(len(turns))]
    messages = tuple(Message(role, text, True, {}) for role, text in zip(roles, turns, strict=True))
    return ChatRequest("handbook", messages, False, False, {})


def test_a_first_question_stands_for_itself() -> None:
    assert search_text(conversation(" 연차는 며칠인가요? ")) == "연차는 며칠인가요?"


def test_a_follow_up_is_searched_with_the_question_before_it() -> None:
    assert (
        search_text(conversation("정규직 연차는?", "16일입니다.", "그럼 인턴은요?")) == "정규직 연차는?\n그럼 인턴은요?"
    )


def test_assistant_text_never_enters_the_search() -> None:
    assert "16일" not in search_text(conversation("정규직 연차는?", "16일입니다.", "그럼 인턴은요?"))


def test_the_subject_is_the_last_question_that_names_one_and_the_latest_follow_up_goes_with_it() -> None:
    first = "법인차량 예약은 언제까지 취소해야 하나요?", "전날까지입니다."
    subject = "정규직 연차휴가는 1년에 며칠인가요?"
    asked = conversation(
        *first, subject, "16일입니다.", "그건 언제부터예요?", "1월부터요.", "그럼 인턴은요?", "1.5일", "서류는요?"
    )
    assert search_text(asked) == f"{subject}\n그럼 인턴은요?\n서류는요?"


def test_thanks_are_no_subject() -> None:
    asked = conversation(
        "정규직 연차휴가는 1년에 며칠인가요?", "16일입니다.", "네, 감사합니다!", "천만에요.", "계약직은요?"
    )
    assert search_text(asked) == "정규직 연차휴가는 1년에 며칠인가요?\n계약직은요?"
    asked = conversation("How long are daily backups kept?", "30 days.", "Great, thanks!", "Sure.", "And monthly ones?")
    assert search_text(asked) == "How long are daily backups kept?\nAnd monthly ones?"


def test_a_question_that_names_its_subject_is_searched_by_its_own_words() -> None:
    for question in (
        "육아휴직은 최대 몇 개월까지 쓸 수 있나요?",
        "법인카드 분실 신고는 어디에 하나요?",
        "How long are daily backups kept?",
    ):
        assert search_text(conversation("정규직 연차휴가는 며칠인가요?", "16일입니다.", question)) == question


def test_a_question_of_few_words_is_searched_with_the_one_before_it_as_well() -> None:
    subject = "가정용 인터넷이 기준 시간을 넘겨 끊기면 요금의 몇 배를 배상하나요?"
    for question in ("휴대폰은 몇 배예요?", "중환자실은 몇 주예요?", "How much can a shift leader give?"):
        asked = conversation(subject, "8배입니다.", question)
        assert (search_text(asked), besides(asked)) == (question, f"{subject}\n{question}")
        assert besides(conversation(question)) == ""
    for question in ("그럼 서류는요?", "육아휴직은 최대 몇 개월까지 남겨 두었다가 나누어 쓸 수 있나요?"):
        assert besides(conversation(subject, "8배입니다.", question)) == ""  # a follow-up, and one that is none


@pytest.mark.parametrize(
    "question",
    [
        "재택근무는요?",
        "출장 숙박비 한도는요?",
        "그럼 노트북 교체 주기는요?",
        "이월은요?",
        "What about the per diem for overseas trips?",
        "And parental leave?",
    ],
)
def test_what_may_be_a_new_subject_is_searched_by_its_own_words_as_well(question: str) -> None:
    subject = "계약직 직원의 연차휴가는 며칠인가요?"
    asked = conversation(subject, "13일입니다.", question)
    assert (search_text(asked), besides(asked)) == (f"{subject}\n{question}", question)
    assert (search_text(conversation(question)), besides(conversation(question))) == (question, "")


@pytest.mark.parametrize("question", ["그건 언제부터예요?", "담당 부서는요?", "그럼 기한은요?", "And for those?"])
def test_what_names_nothing_is_not(question: str) -> None:
    assert besides(conversation("정규직 연차휴가는 며칠인가요?", "16일입니다.", question)) == ""


def test_what_came_after_the_users_words_does_not_change_what_he_asked() -> None:
    asked = conversation("정규직 연차휴가는 며칠인가요?", "16일입니다.", "그럼 인턴은요?")
    results = Message("assistant", "", False, {}), Message("tool", '{"name": "김"}', False, {})
    later = replace(asked, messages=(*asked.messages, *results))
    assert (search_text(later), besides(later)) == (search_text(asked), besides(asked))
    assert (follows_up(asked), follows_up(later)) == (True, False)  # only a question that is asked last is written out
    begun = replace(asked, messages=(*asked.messages, Message("assistant", "인턴은", True, {})))
    assert search_text(begun) == search_text(asked)


@pytest.mark.parametrize(
    "question",
    [
        "담당 부서는 어디인가요?",
        "서류는 무엇이 필요한가요?",
        "3일 미만이면?",
        "What documents are needed?",
        "Who works there?",
    ],
)
def test_what_any_subject_has_names_none(question: str) -> None:
    assert leans(question)


def test_nearly_all_questions_of_the_handbook_stand_alone_and_its_follow_ups_do_not() -> None:
    alone = [question.text for question in handbook.load()]
    after = [question.text for question in handbook.load(handbook.FOLLOW_UPS)]
    assert sum(map(leans, alone)) <= 0.01 * len(alone)
    assert sum(map(leans, after)) >= 0.9 * len(after)
