"""What an answer states that neither its documents nor its caller do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.bearing import unborne
from gateway.chat import Answer, ChatRequest, Evidence, Message, Passage

RULE = Passage("hr", "leave.md", "1", 0, "휴가", "연차", "정규직의 연차휴가는 1년에 16일이다. 서식은 HR-12이다.")
OTHER = Passage("hr", "remote.md", "1", 0, "재택", "", "정규직의 재택근무는 주 2일이다.")
FOUND = Evidence((RULE, OTHER))


def asked(*messages: tuple[str, str], **body: Any) -> ChatRequest:
    said = tuple(Message(role, text, True, {}) for role, text in (messages or [("user", "재택근무는 주 며칠인가요?")]))
    return ChatRequest("handbook", said, False, False, body)


def said(*texts: str | None) -> Answer:
    return Answer(tuple({"message": {"content": text}, "finish_reason": "stop"} for text in texts), "m")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("주 2일입니다 [doc2].", False),
        ("주 2일입니다.", False),  # of all passages, where none is cited
        ("주 77일입니다 [doc2].", True),
        ("주 77일입니다.", True),
        ("주 2일입니다 [doc1].", True),  # not where it says
        ("주 2일입니다 [doc3].", True),  # there is no such passage
        ("서식은 HR-13입니다 [doc1].", True),
        ("주 2일입니다 [doc2].\n\n예를 들어 77일은 안 됩니다.", False),  # only the first paragraph counts
        ("문서에서 찾을 수 없습니다. 77일에 대한 규정은 없습니다.", False),
        ("", False),
    ],
)
def test_an_answer_that_states_what_no_cited_passage_does_is_unborne(text: str, wrong: bool) -> None:
    assert unborne(said(text), asked(), FOUND) is wrong


def test_each_choice_counts_and_one_without_text_says_nothing() -> None:
    assert unborne(said("주 2일입니다 [doc2].", "주 77일입니다 [doc2]."), asked(), FOUND)
    assert not unborne(said(None), asked(), FOUND)  # a tool call


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"maxDaysAWeek": 2, "remote": True, "why": None}, False),  # its keys are the caller's
        ({"days": 2.0}, False),
        ({"days": 77}, True),
        ({"rules": [{"text": "주 77일 [doc2]"}]}, True),
        (["주 2일 [doc2]", "1년에 16일 [doc1]"], False),
    ],
)
def test_in_json_every_value_counts(value: Any, wrong: bool) -> None:
    assert unborne(said(orjson.dumps(value).decode()), asked(), FOUND) is wrong


def test_what_begins_like_json_and_is_none_is_read_as_text() -> None:
    assert unborne(said("[doc2]에 따르면 주 77일입니다."), asked(), FOUND)


def test_what_the_caller_said_may_be_said_again_but_not_what_the_assistant_did() -> None:
    text = "김 대리의 남은 연차는 7일입니다."
    assert unborne(said(text), asked(("user", "남은 연차는?")), FOUND)
    assert not unborne(said(text), asked(("user", "남은 연차는?"), ("tool", '{"left": 7}')), FOUND)
    assert not unborne(said(text), asked(("system", "모두 7일씩 남았다."), ("user", "남은 연차는?")), FOUND)
    assert unborne(said(text), asked(("user", "?"), ("assistant", "7일입니다."), ("user", "맞나요?")), FOUND)
    form = {"type": "json_schema", "json_schema": {"schema": {"enum": ["FULL_TIME"]}}}
    assert not unborne(said('{"who": "FULL_TIME"}'), asked(response_format=form), FOUND)


def test_where_nothing_was_found_no_number_is_borne_out() -> None:
    assert unborne(said("16일입니다."), asked(), Evidence())
    assert not unborne(said("안녕하세요."), asked(), Evidence())
