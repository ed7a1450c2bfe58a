from __future__ import annotations

import pytest

from gateway.chat import ChatRequest
from gateway.routing.rewrite import prompt, usable
from tests.cache.makers import ask, message


def talk(*turns: str) -> ChatRequest:
    earlier = [message("assistant" if n % 2 else "user", text) for n, text in enumerate(turns[:-1])]
    return ask(turns[-1], *earlier)


def test_the_prompt_ends_with_the_follow_up_and_shows_the_latest_turns_only() -> None:
    turns = [text for n in range(6) for text in (f"질문 {n}?", f"답 {n}.\n둘째 줄")]
    lines = prompt(talk(*turns, "그럼\n인턴은요?")).splitlines()
    assert lines[-1] == "Follow-up: 그럼 인턴은요?"
    assert "User: 질문 5?" in lines
    assert "Assistant: 답 5. 둘째 줄" in lines
    assert "User: 질문 3?" not in lines


@pytest.mark.parametrize(
    ("said", "question"),
    [
        ("인턴 연차는 며칠인가요?", "인턴 연차는 며칠인가요?"),
        ('질문: "인턴 연차는 며칠인가요?"\n', "인턴 연차는 며칠인가요?"),
        ("그럼 인턴은요?", None),  # nothing gained
        ("How many days do interns get?", None),  # another language
        ("인턴 연차는 15일입니다.\n더 궁금하신가요?", None),  # a talk, not a question
        ("", None),
        ("가" * 301, None),
    ],
)
def test_only_a_single_line_in_the_same_language_is_a_question(said: str, question: str | None) -> None:
    assert usable(said, "그럼 인턴은요?") == question
