"""An answer by the promised time: which requests take part, how long answers are kept, who finishes late ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.chat import (
    Answer,
    ChatRequest,
    Evidence,
    Message,
    Passage,
)
from gateway.in_time import Background
from gateway.retrieval.quote import MAX_CHARACTERS, quote
from gateway.routing.doubting import PROVISIONAL_TTL_S, SURE, Doubts
from gateway.routing.plain import is_plain

LEAVE = Passage("hr", "leave.md", "1", 0, "휴가", "연차", "정규직 직원의 연차휴가는 1년에 16일이다.", 1.0)


def request(text: str = "연차 며칠?", plain: bool = True, **body: Any) -> ChatRequest:
    raw = {"role": "user", "content": text}
    return ChatRequest("handbook", (Message("user", text, plain, raw),), False, False, {"messages": [raw], **body})


def doubts(evidence: Evidence) -> Doubts:
    return Doubts(request().question, evidence)


def said(text: str) -> Answer:
    return Answer(({"index": 0, "message": {"content": text}, "finish_reason": "stop"},), "m")


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        ({}, True),
        ({"temperature": 0, "max_tokens": 50, "user": "u", "stream": True}, True),
        ({"tools": None}, True),
        ({"frequency_penalty": 0, "presence_penalty": 0.0, "n": 1, "stop": [], "tools": []}, True),
        ({"response_format": {"type": "text"}, "logprobs": False, "reasoning_effort": "low"}, True),
        ({"frequency_penalty": 0.5}, False),
        ({"n": True}, False),
        ({"stop": ["\n"]}, False),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"n": 2}, False),
        ({"logprobs": True}, False),
        ({"something_new": 1}, False),
    ],
)
def test_only_plain_questions_get_short_answers(body: dict[str, Any], plain: bool) -> None:
    assert is_plain(request(**body)) is plain


def test_a_picture_is_not_plain() -> None:
    assert not is_plain(request(plain=False))


@pytest.mark.parametrize(
    ("text", "ttl_s"),
    [
        ("연차휴가는 1년에 16일입니다 [doc1].", None),
        ("연차휴가는 1년에 16일입니다.", None),  # no citation: no reason to doubt a model that was asked at length
        ("연차휴가는 1년에 18일입니다 [doc1].", 0.0),
        ("연차휴가는 16일입니다 [doc4].", 0.0),
        ("연차휴가는 1년에 16일입니다 [doc1].\n\n신청은 7일 전까지 합니다 [doc1].", PROVISIONAL_TTL_S),
    ],
)
def test_what_no_passage_says_is_not_kept_for_long(text: str, ttl_s: float | None) -> None:
    assert doubts(Evidence((LEAVE,))).kept_for_s(said(text), SURE) == ttl_s


@pytest.mark.parametrize(("confidence", "ttl_s"), [(0.95, None), (0.7, PROVISIONAL_TTL_S), (0.3, 0.0)])
def test_an_answer_that_is_not_sure_is_kept_for_a_while_only(confidence: float, ttl_s: float | None) -> None:
    assert doubts(Evidence((LEAVE,))).kept_for_s(said("연차휴가는 1년에 16일입니다 [doc1]."), confidence) == ttl_s


def test_without_documents_nothing_is_held_against_an_answer() -> None:
    assert doubts(Evidence()).kept_for_s(said("18일 [doc4]."), SURE) is None


async def test_the_background_is_bounded_and_ends_with_the_gateway() -> None:
    background = Background(limit=1)
    ended = asyncio.Event()

    async def late() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    assert background.take(late())
    refused = late()
    assert not background.take(refused)
    refused.close()
    await asyncio.sleep(0)
    await background.close()
    assert ended.is_set()


def test_a_quotation_is_cut_around_the_line_that_answers() -> None:
    lines = [f"{n}번째 줄은 출장비와 숙박비에 대한 이야기이다." for n in range(100)]
    lines[60] = "정규직 연차는 16일이다."
    found = quote("정규직 연차 며칠?", Evidence((Passage("hr", "d.md", "1", 0, "t", "s", "\n".join(lines), 1.0),)))
    assert found is not None
    assert "16일" in found.text
    assert len(found.text) <= MAX_CHARACTERS + 60
    assert found.source == "hr/d.md · s"


def test_the_best_passage_is_quoted_under_its_number() -> None:
    worse = Passage("hr", "a.md", "1", 0, "t", "", "다른 이야기", 0.5)
    found = quote("연차", Evidence((worse, LEAVE)))
    assert found is not None
    assert (found.number, found.text) == (2, LEAVE.text)
    assert quote("연차", Evidence()) is None
