"""An answer is settled before it is given. Samples are scripted; nothing waits for time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import AsyncMock

import pytest

from gateway.chat import (
    Answer,
    AnswerEvent,
    CacheEntry,
    CacheOutcome,
    Closed,
    Delta,
    Evidence,
    Opened,
    Passage,
    Send,
    ServedBy,
)
from gateway.clock import Deadline
from gateway.errors import UpstreamBroken
from gateway.metrics import Metrics
from gateway.samples import Held
from gateway.settling import AGAIN as AGAIN_NUMBERS
from gateway.settling import Matter, Settler, borne_out
from tests.cache.makers import answer, entry

RULE = Passage(
    "hr", "leave.md", "v1", 0, "휴가 규정", "연차", "정규직의 연차휴가는 1년에 16일이다. 이월은 6일까지 한다."
)
FOUND = Evidence((RULE,), "e1")
ASKED = "정규직 연차는 1년에 며칠인가요?"
RIGHT = "정규직의 연차휴가는 1년에 16일입니다 [doc1]."
AGAIN = "1년에 16일의 연차휴가가 정규직에게 주어집니다 [doc1]."
WRONG = "정규직의 연차휴가는 1년에 19일입니다 [doc1]."
OTHER = "정규직의 연차휴가는 1년에 6일입니다 [doc1]."
CARRIED = "이월은 6일까지 합니다 [doc1]."
REFUSAL = "문서에서 찾을 수 없습니다."
MORE = "\n\n자세한 내용은 인사팀에 문의하시기 바랍니다."


Text = str | tuple[str, float]  # with the lowest log-probability of its tokens
UNSURE = -2.0
SURELY: Text = (RIGHT, -0.1)


class Model:
    """Gives the texts in turn, by the sample's number; an exception is raised instead."""

    def __init__(self, *texts: Text | Exception, endless: bool = False) -> None:
        self.texts = texts
        self.endless = endless  # never comes to its end
        self.asked: list[int] = []
        self.finished: list[int] = []

    async def __call__(self, number: int, send: Send) -> Answer:
        self.asked.append(number)
        said = self.texts[number]
        if isinstance(said, Exception):
            raise said
        said, lowest = said if isinstance(said, tuple) else (said, None)
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"))
        for piece in (said, MORE):
            send(Delta(piece, {}, b"", lowest))
            await asyncio.sleep(0)
        if self.endless:
            await asyncio.Event().wait()
        self.finished.append(number)
        whole = answer(said + MORE)
        send(Closed(whole))
        return whole


async def settled(model: Model, matter: Matter) -> str:
    events: list[AnswerEvent] = []
    await Settler(Metrics()).settle(model, matter, events.append)
    assert [type(e) for e in events[:1]] == [Opened]
    assert [type(e) for e in events].count(Closed) == 1
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert "".join(e.text for e in events if isinstance(e, Delta)) == closed.answer.text
    return closed.answer.text.split("\n\n")[0]


def matter(earlier: str = "", *, witnesses: int = 0, room: int = 9, due: Deadline | None = None) -> Matter:
    left = iter(range(room))
    kept: CacheEntry | None = entry(text=earlier + MORE, question=ASKED) if earlier else None
    return Matter(
        ASKED, FOUND, kept, witnesses=witnesses, due=due, may_ask=lambda: next(left, None) is not None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("samples", "given", "result", "asked"),
    [
        ([RIGHT], RIGHT, "fine", 1),
        ([WRONG, RIGHT], RIGHT, "second", 2),
        ([(CARRIED, UNSURE), SURELY], RIGHT, "second", 2),
        ([REFUSAL, SURELY], RIGHT, "second", 2),
        ([REFUSAL, RIGHT, AGAIN, RIGHT], RIGHT, "second", 4),  # without log-probabilities others must say so
        ([WRONG] * 5, WRONG, "doubtful", 5),  # it is told, but not kept for long
        ([WRONG, WRONG, RIGHT], RIGHT, "third", 3),  # what the documents bear out, whoever agrees
        ([REFUSAL, REFUSAL], REFUSAL, "fine", 2),  # believed with support
        ([WRONG, REFUSAL, SURELY], RIGHT, "third", 3),
    ],
)
async def test_what_no_passage_states_is_asked_for_again(
    samples: Sequence[Text], given: str, result: str, asked: int
) -> None:
    model, held = Model(*samples), matter()
    assert await settled(model, held) == given
    assert (held.result, len(model.asked)) == (result, asked)


@pytest.mark.parametrize(
    ("samples", "given", "asked"),
    [
        ([RIGHT, AGAIN], RIGHT, 2),
        ([OTHER, RIGHT, AGAIN], RIGHT, 3),  # 6 days stand in the passages as well: only a third one tells
        ([RIGHT, OTHER, AGAIN], RIGHT, 3),
        ([(CARRIED, -0.1), (RIGHT, -0.3), (AGAIN, -0.3)], RIGHT, 3),  # sure of itself, but alone
        ([WRONG, RIGHT, AGAIN], RIGHT, 3),  # what the documents refute is nobody's witness
        ([REFUSAL, REFUSAL], REFUSAL, 2),
    ],
)
async def test_a_witness_that_says_something_else_calls_for_a_third(
    samples: Sequence[Text], given: str, asked: int
) -> None:
    model = Model(*samples)
    assert await settled(model, matter(witnesses=1)) == given
    assert len(model.asked) == asked


@pytest.mark.parametrize(
    "first",
    [
        "연차휴가는 1년에 16일입니다 [doc1].",
        "연차휴가는 16일입니다. [doc1]",
        "You have 16 days, i.e. all of them [doc1].",
    ],
)
async def test_where_a_time_is_promised_the_first_sentence_streams_on_once_it_has_been_looked_at(first: str) -> None:
    given = asyncio.Event()

    async def model(number: int, send: Send) -> Answer:
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"))
        send(Delta(f"{first} 이월은", {}, b""))  # the second sentence never ends
        await asyncio.Event().wait()
        raise AssertionError

    settling = asyncio.create_task(
        Settler(Metrics()).settle(model, matter(due=Deadline.after(60)), lambda event: given.set() if event else None)
    )
    await asyncio.wait_for(given.wait(), 5)
    assert not settling.done()
    settling.cancel()
    await asyncio.wait([settling])


async def test_where_a_time_is_promised_a_wrong_first_sentence_is_asked_for_again() -> None:
    model, held = (
        Model(f"{WRONG} 이월은 6일까지입니다.", f"{RIGHT} 이월은 6일까지입니다."),
        matter(due=Deadline.after(60)),
    )
    assert await settled(model, held) == f"{RIGHT} 이월은 6일까지입니다."
    assert (held.result, model.asked) == ("second", [0, 1])


async def test_no_sample_beyond_what_may_be_spent() -> None:
    model = Model(WRONG)
    assert await settled(model, matter(witnesses=1, room=0)) == WRONG
    assert model.asked == [0]


async def test_an_earlier_answer_with_the_same_facts_comes_back_byte_for_byte_and_the_fresh_one_is_left() -> None:
    model, held = Model(AGAIN, endless=True), matter(RIGHT)
    assert await settled(model, held) == RIGHT
    assert held.kept_earlier
    assert held.flip is None
    assert (model.asked, model.finished) == ([0], [])


@pytest.mark.parametrize(
    ("samples", "room", "result"),
    [
        ([(CARRIED, UNSURE), *[WRONG] * 4], 4, "none"),
        ([WRONG] * 5, 4, "none"),  # that they agree on what the documents refute makes it no better
        ([(CARRIED, UNSURE)] * 5, 4, "doubtful"),  # so unsure of everything are small models
        ([(CARRIED, UNSURE), WRONG], 1, "doubtful"),  # there was no money to find out
    ],
)
async def test_where_nothing_is_likely_right_and_no_two_agree_the_documents_do_not_say_it(
    samples: Sequence[Text], room: int, result: str
) -> None:
    told: list[Send] = []
    model, held = Model(*samples), matter(room=room)
    held.none = told.append
    events: list[AnswerEvent] = []
    await Settler(Metrics()).settle(model, held, events.append)
    assert (held.result, len(told), len(model.asked)) == (result, result == "none", 1 + room)


@pytest.mark.parametrize(
    ("earlier", "samples", "given", "kept"),
    [
        (RIGHT, [WRONG, AGAIN], RIGHT, True),  # the fresh one is not borne out by the documents
        (RIGHT, [OTHER, AGAIN], RIGHT, True),  # no better borne out than the earlier one
        (CARRIED, [RIGHT, AGAIN, RIGHT], RIGHT, False),  # three against one
    ],
)
async def test_a_flip_is_settled_by_the_documents_and_more_samples(
    earlier: str, samples: Sequence[str], given: str, kept: bool
) -> None:
    held = matter(earlier)
    assert await settled(Model(*samples), held) == given
    assert held.flip is not None
    assert held.flip.reasons == ("numbers",)
    assert held.kept_earlier is kept


async def test_a_wrong_earlier_answer_does_not_spread() -> None:
    held = matter(WRONG)
    assert await settled(Model(RIGHT), held) == RIGHT
    assert not held.kept_earlier


async def test_a_failure_of_the_first_sample_is_made_good_by_its_witness() -> None:
    assert await settled(Model(UpstreamBroken("cut"), RIGHT, AGAIN), matter(witnesses=1)) == RIGHT
    with pytest.raises(UpstreamBroken):
        await settled(Model(UpstreamBroken("cut")), matter(room=0))


@pytest.mark.parametrize(
    ("samples", "given", "kept"),
    [
        ([AGAIN], OTHER_WORDS := "연차휴가는 1년에 16일입니다 [doc1].", True),  # the doubt was unfounded
        ([RIGHT, AGAIN], RIGHT, False),
    ],
)
async def test_an_answer_that_another_wording_contests_is_corrected_only_where_facts_differ(
    samples: Sequence[str], given: str, kept: bool
) -> None:
    held = matter(OTHER_WORDS if kept else OTHER)
    held.contested = True
    assert await settled(Model(*samples), held) == given
    assert held.kept_earlier is kept
    assert (held.flip is None) is kept


@pytest.mark.parametrize(
    ("text", "found", "fine"),
    [
        (RIGHT, FOUND, True),
        (WRONG, FOUND, False),
        (
            RIGHT,
            Evidence((replace(FOUND.passages[0], document="other.md"),), "e1"),
            False,
        ),  # what it cites is not there
        ("1년에 16일입니다.", Evidence((replace(FOUND.passages[0], document="other.md"),), "e1"), True),
    ],
)
def test_a_kept_answer_must_be_borne_out_by_what_another_wording_finds(text: str, found: Evidence, fine: bool) -> None:
    assert borne_out(entry(text=text, citations=FOUND.passages), ASKED, found) is fine


def test_held_events_tell_the_first_paragraph_once_it_is_whole() -> None:
    held, seen = Held(), list[AnswerEvent]()
    for piece in (RIGHT, "\n"):
        held.hear(Delta(piece, {}, b""))
        assert held.lead is None
    held.hear(Delta("\nmore", {}, b""))
    assert held.lead == RIGHT
    held.let_go(seen.append)
    held.hear(Closed(answer(RIGHT)))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("earlier", "samples", "again", "given", "kept", "overruled"),
    [
        (CARRIED, [RIGHT, AGAIN], RIGHT, RIGHT, False, True),  # asked again, its own question is answered as this one
        (CARRIED, [RIGHT, AGAIN], CARRIED, RIGHT, False, False),  # another question: each keeps its answer
        (CARRIED, [RIGHT, AGAIN], REFUSAL, RIGHT, False, False),  # nobody knows
        (WRONG, [RIGHT, AGAIN], "", RIGHT, False, True),  # the documents speak against the earlier one, and not this
        (RIGHT, [AGAIN], "", RIGHT, True, False),  # it was only found badly: the same bytes
        (RIGHT, [WRONG, AGAIN], "", RIGHT, True, False),  # the second sample says what was said before
        (RIGHT, [REFUSAL, REFUSAL], "", REFUSAL, False, False),  # a refusal takes nobody's place
    ],
)
async def test_an_answer_that_another_wording_contests(
    earlier: str, samples: Sequence[str], again: str, given: str, kept: bool, overruled: bool
) -> None:
    held = matter(earlier)
    held.contested = True
    if earlier == CARRIED and held.earlier is not None:
        held.earlier = replace(held.earlier, question="남은 연차의 이월은 며칠까지 하나요?")
    model = Model(*samples, *[again] * 2)
    assert await settled(model, held) == given
    assert (held.kept_earlier, held.overruled) == (kept, overruled)
    assert any(number in AGAIN_NUMBERS for number in model.asked) == (again != "")


async def test_what_says_nothing_comparable_is_not_answered_with_what_was_refuted() -> None:
    vague = "온피플에서 확인하실 수 있습니다 [doc1]."
    held = matter(vague)
    held.contested = True
    assert await settled(Model(RIGHT, RIGHT), held) == RIGHT
    assert not held.kept_earlier


async def test_a_refusal_keeps_its_bytes() -> None:
    held = matter(REFUSAL)
    assert await settled(Model("해당 내용은 문서에 나와 있지 않습니다.", REFUSAL), held) == REFUSAL
    assert held.kept_earlier


@pytest.mark.parametrize(
    ("earlier", "sure", "given"),
    [(RIGHT, True, RIGHT), (RIGHT, False, REFUSAL), (WRONG, True, REFUSAL)],  # the documents speak against the last
)
async def test_a_refusal_does_not_outweigh_a_judge_that_is_sure(earlier: str, sure: bool, given: str) -> None:
    held = matter(earlier)
    held.contested = True
    held.sure = sure
    assert await settled(Model(REFUSAL, REFUSAL), held) == given


@pytest.mark.parametrize(
    ("earlier", "agrees", "given", "asked"),
    [(RIGHT, True, RIGHT, 1), (RIGHT, False, REFUSAL, 1), (WRONG, True, REFUSAL, 0)],
)
async def test_a_refusal_yields_where_a_second_judge_agrees_with_the_first(
    earlier: str, agrees: bool, given: str, asked: int
) -> None:
    confirms = AsyncMock(return_value=agrees)
    held = matter(earlier)
    held.contested = True
    held.confirms = confirms
    assert await settled(Model(REFUSAL, REFUSAL), held) == given
    assert confirms.await_count == asked


@pytest.mark.parametrize(("again", "given"), [(CARRIED, CARRIED), (RIGHT, RIGHT)])
async def test_another_wording_overturns_an_answer_only_with_the_first_one_on_its_side(again: str, given: str) -> None:
    held = matter(CARRIED)
    assert held.earlier is not None
    held.earlier = replace(held.earlier, question="남은 연차의 이월은 며칠까지 하나요?")
    assert await settled(Model(RIGHT, AGAIN, RIGHT, again), held) == given
    assert held.kept_earlier == (given == CARRIED)
