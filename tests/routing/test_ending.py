"""A sized answer that would be late ends with a sentence."""

from __future__ import annotations

import pytest

from gateway.chat import AnswerEvent, CacheOutcome, Closed, Delta, Opened, Send, ServedBy
from gateway.clock import Deadline
from gateway.routing.call import Enough
from gateway.routing.ending import Ending

KOREAN = (
    "연차는 16일입니다",
    " [doc1].",
    " 신청은 3일",
    " 전까지 합니다",
    " [doc2].",
    "\n\n",
    "승인은",
    " 팀장이 합니다.",
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def delta(text: str) -> Delta:
    return Delta.of({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]})


async def heard(pieces: tuple[str, ...], due_s: float, piece_s: float = 1.0) -> tuple[list[AnswerEvent], Ending, int]:
    """What is passed on, and how many pieces were taken from the provider."""
    clock, events, taken = Clock(), list[AnswerEvent](), 0
    ending = Ending(events.append, Deadline(due_s, clock), 100)

    async def ask(send: Send) -> None:
        nonlocal taken
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"))
        for piece in pieces:
            taken += 1
            clock.now += piece_s
            send(delta(piece))

    await ending.listen(ask)
    return events, ending, taken


def text_of(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@pytest.mark.parametrize(
    ("due_s", "text", "taken"),
    [
        (4.0, "연차는 16일입니다 [doc1].", 3),  # at 3 s the first sentence had taken 3, and 1 is left
        (9.0, "연차는 16일입니다 [doc1]. 신청은 3일 전까지 합니다 [doc2].\n\n", 7),
        (20.0, "".join(KOREAN), 8),
        (2.0, "".join(KOREAN), 8),  # it is late already
    ],
)
async def test_it_ends_before_the_sentence_that_would_not_be_done_in_time(due_s: float, text: str, taken: int) -> None:
    events, ending, asked = await heard(KOREAN, due_s)
    assert (text_of(events), asked, ending.curtailed) == (text, taken, asked < len(KOREAN))
    if ending.curtailed:
        last = events[-1]
        assert isinstance(last, Closed)
        assert (last.answer.text, last.answer.finish_reason) == (text.rstrip(), "stop")
        assert last.answer.usage is not None
        assert last.answer.usage.raw == {
            "prompt_tokens": 100, "completion_tokens": taken, "total_tokens": 100 + taken
        }  # fmt: skip


@pytest.mark.parametrize(
    "pieces",
    [
        ("See No.", " 5 and", " approx.", " 30 or", " 10:00 a.m.", " at most"),
        ("1.", " 첫째로", " 신청서를", " 냅니다"),
        ("```\na.", " B", " Then.", " More", "\n\nx"),
    ],
)
async def test_what_is_no_sentence_is_not_cut(pieces: tuple[str, ...]) -> None:
    events, ending, _ = await heard(pieces, len(pieces) + 0.5)
    assert (text_of(events), ending.curtailed) == ("".join(pieces), False)


async def test_a_piece_with_an_end_in_it_is_passed_on_up_to_there() -> None:
    events, _, _ = await heard(("It is 16 days [doc1].", " Ask three days before.\n\nYour manager", " approves"), 2.9)
    assert text_of(events) == "It is 16 days [doc1]. Ask three days before."


async def test_that_others_have_heard_enough_is_not_its_business() -> None:
    async def ask(send: Send) -> None:
        raise Enough

    with pytest.raises(Enough):
        await Ending(lambda event: None, Deadline(1.0, Clock()), 0).listen(ask)
