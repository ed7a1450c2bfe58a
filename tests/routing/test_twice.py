"""What the big model says of a draft that passed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.chat import Answer, CacheOutcome, Closed, Delta, Opened, Send, ServedBy
from gateway.routing.contender import Reading
from gateway.routing.twice import Again, Check, Twice

DRAFT = "연차는 16일입니다."
SAME, OTHER, THIRD = "연차휴가는 16일입니다.", "연차휴가는 13일입니다.", "연차휴가는 20일입니다."
REFUSAL = "문서에서 해당 내용을 찾을 수 없습니다."


def says(text: str, whole_after_s: float = 0.0) -> Callable[[Send], Awaitable[None]]:
    async def ask(send: Send) -> None:
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"))
        send(Delta.of({"choices": [{"index": 0, "delta": {"content": text}}]}))
        await asyncio.sleep(whole_after_s)
        choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
        send(Closed(Answer((choice,), "big")))

    return ask


async def checked(
    first: str, second: str | None, left_s: float | None, confidence: float = 0.95, whole_after_s: float = 0.0
) -> tuple[Check, bool]:
    """The verdict on the draft, and whether the big model was asked again."""

    def number(text: str) -> str:
        return next((word for word in text.split() if word[0].isdigit()), "")

    again = Again(
        confidence=lambda text, lowest, whole, beside: confidence,
        read=lambda text, lowest: Reading.OPEN,
        start=lambda: None if second is None else says(second, whole_after_s),
        astray=lambda: False,
        unanswered=lambda: False,
        none=lambda send: None,
        agree=lambda one, other: number(one) == number(other),
    )
    big = Twice(asyncio.Event(), again)
    big.start(says(first))
    await big.heard_out(DRAFT)
    found = await big.check(DRAFT, left_s)
    asked = big.second is not None
    await big.stop()
    return found, asked


@pytest.mark.parametrize("left_s", [2.0, None])
@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (SAME, OTHER, Check.AGREED),
        (OTHER, OTHER, Check.OUTVOTED),
        (OTHER, SAME, Check.UPHELD),
        (OTHER, THIRD, Check.UPHELD),
        (OTHER, None, Check.UPHELD),
    ],
)
async def test_two_answers_that_say_the_same_outvote_a_draft(
    first: str, second: str | None, found: Check, left_s: float | None
) -> None:
    assert await checked(first, second, left_s) == (found, first != SAME and second is not None)


async def test_no_caller_waits_for_what_comes_of_a_refusal() -> None:
    assert await checked(REFUSAL, REFUSAL, 2.0) == (Check.SILENT, False)
    assert await checked(REFUSAL, REFUSAL, None) == (Check.OUTVOTED, True)


async def test_half_a_second_answer_outvotes_nothing() -> None:
    assert await checked(OTHER, OTHER, 0.01, whole_after_s=9.0) == (Check.UPHELD, True)


async def test_an_answer_that_is_likely_wrong_itself_says_nothing_of_the_draft() -> None:
    assert await checked(OTHER, OTHER, None, confidence=0.4) == (Check.SILENT, False)


async def test_nothing_is_said_by_a_model_that_was_not_asked() -> None:
    big = Twice(asyncio.Event(), None)
    assert await big.check(DRAFT, None) is Check.SILENT
