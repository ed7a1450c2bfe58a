from __future__ import annotations

from gateway.chat import ChatRequest, Message
from gateway.retrieval.question import search_text


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


def test_only_the_last_two_earlier_questions_count() -> None:
    asked = conversation("one", "a", "two", "b", "three", "c", "and for interns?")
    assert search_text(asked) == "two\nthree\nand for interns?"


def test_a_long_question_that_points_nowhere_is_left_alone() -> None:
    question = "해외 출장 중에 현지 병원에서 진료를 받으면 보험금을 며칠 안에 어느 부서에 어떤 서류로 청구합니까"
    question += " 자세히 알려 주세요"
    assert search_text(conversation("정규직 연차는?", "16일입니다.", question)) == question
