"""The race: its table, and its invariants I1–I7 over all courses that hypothesis can think of, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat import Answer, AnswerEvent, CacheOutcome, Closed, Delta, Opened, Send, ServedBy
from gateway.clock import Deadline
from gateway.errors import GatewayError, UpstreamBroken
from gateway.routing import gate
from gateway.routing.contender import Big
from gateway.routing.details import Section
from gateway.routing.draft import Drafted
from gateway.routing.gate import Verdict
from gateway.routing.race import (
    MOVES,
    RESERVE_S,
    Again,
    Draft,
    Move,
    Result,
    Rung,
    Runners,
    Time,
    Timing,
    race,
)
from gateway.routing.spend import Allowance
from gateway.routing.told import Telling
from tests.virtual_time import run

PROMISE_S = 5.0
HARD_S = 60.0
GRAIN_S = 1e-6

seconds = st.floats(0.0, 12.0).map(lambda s: round(s, 2))


@dataclass(frozen=True)
class Course:
    """What everybody would do if left alone."""

    draft_s: float = 1.0
    draft: str = "passed"  # passed, usable, failed, error, none
    first_token_s: float = 1.0
    token_s: float = 0.1
    tokens: int = 5
    big: str = "ok"  # ok, refused (before content), broken (after the third token)
    ladder: tuple[str, ...] = ()  # rungs that have something to tell
    on_expiry: tuple[str, ...] = ("draft", "stale", "quote")
    arm_s: float | None = None
    patience_s: float = 2.6
    room: bool = True
    balance: float = 10.0
    leaves_s: float | None = None
    again: str = "off"  # off, better, bad, lie, broken, dear: what the second answer is like, if the first is not sure
    first: str = ""  # how the first answer begins, if not as ``again`` says
    details: str = "off"  # off, ok, silent, unsupported (third sentence), broken, refused


SENTENCES = ("첫째 문장입니다. ", "둘째 문장입니다 [doc1]. ", "셋째는 99일입니다. ", "넷째 문장입니다.")
HEADING = "\n\n**자세히**\n\n"
CONFIDENCE = {"big": 1.0, "bad": 0.7, "lie": 0.2}  # by how an answer begins


@dataclass
class Seen:
    """What happened."""

    events: list[AnswerEvent] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)  # started and not ended
    started: list[str] = field(default_factory=list)
    background: list[asyncio.Task[None]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # answers of the big model that were offered to the cache
    result: Result | None = None
    error: GatewayError | None = None
    ended_at: float = 0.0
    left_running: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def opened(self) -> list[Opened]:
        return [e for e in self.events if isinstance(e, Opened)]

    @property
    def closed(self) -> int:
        return sum(isinstance(e, Closed) for e in self.events)


def tell(send: Send, served_by: ServedBy, text: str, *, labelled: bool = False) -> None:
    send(Opened(served_by, CacheOutcome.MISS, "m", labelled=labelled))
    send(delta(text))
    send(Closed(answer(text)))


def delta(text: str) -> Delta:
    return Delta.of({"choices": [{"index": 0, "delta": {"content": text}}]})


def answer(text: str) -> Answer:
    return Answer(({"index": 0, "message": {"content": text}, "finish_reason": "stop"},), "m")


def drafted(kind: str) -> Drafted:
    veto = gate.REFUSES if kind == "refused" else ""
    verdict = Verdict(0.9, veto, kind == "passed", kind in {"passed", "usable"}, False)
    return Drafted(answer("draft"), verdict, "d", gate.Draft("draft", "stop"))


def play(course: Course) -> Seen:
    return run(_play(course))


async def _play(course: Course) -> Seen:
    loop = asyncio.get_running_loop()
    seen = Seen()

    def hear(event: AnswerEvent) -> None:
        seen.events.append(event)
        seen.at.append(loop.time())

    async def call(name: str, work: Coroutine[Any, Any, Any]) -> Any:
        seen.started.append(name)
        seen.running[name] = loop.time()
        try:
            return await work
        finally:
            del seen.running[name]

    async def ask_draft() -> Drafted:
        await asyncio.sleep(course.draft_s)
        if course.draft == "error":
            raise UpstreamBroken("draft broke")
        return drafted(course.draft)

    first = course.first or ("bad" if course.again != "off" else "big")

    async def ask_big(send: Send, name: str = first) -> None:
        await asyncio.sleep(course.first_token_s)
        if course.big == "refused" or (course.again == "broken" and name == "big"):
            raise UpstreamBroken("big refused")
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"))
        for n in range(course.tokens):
            if course.big == "broken" and n == 3:
                raise UpstreamBroken("big broke")
            send(delta(f"{name}{n} "))
            await asyncio.sleep(course.token_s)
        send(Closed(answer("big")))

    async def rung(name: str, usable: Drafted | None, send: Send) -> bool:
        if name == "draft":
            if usable is None:
                return False
            tell(send, ServedBy.DRAFT, "quick: draft", labelled=True)
            return True
        if name not in course.ladder:
            return False
        tell(send, ServedBy(name), name, labelled=True)
        return True

    async def ask_details(send: Send) -> None:
        await asyncio.sleep(course.first_token_s)
        if course.details == "refused":
            raise UpstreamBroken("details refused")
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"))
        for n, sentence in enumerate(SENTENCES if course.details != "silent" else ()):
            for start in range(0, len(sentence), 5):
                send(delta(sentence[start : start + 5]))
                await asyncio.sleep(course.token_s)
            if course.details == "broken" and n == 1:
                raise UpstreamBroken("details broke")
        send(Closed(answer("".join(SENTENCES))))

    telling: list[Telling] = []

    def begin(drafted: Drafted, send: Send) -> None:
        telling.append(Telling(Opened(ServedBy.DRAFT, CacheOutcome.MISS, "m"), send))
        telling[0].begin("draft")

    async def details(drafted: Drafted, send: Send) -> None:
        def supported(sentence: str) -> bool:
            return course.details != "unsupported" or "99" not in sentence

        section = Section(drafted.answer, telling[0], HEADING, supported)
        await section.append(lambda hear: call("details", ask_details(hear)))

    def take(work: Coroutine[Any, Any, None]) -> bool:
        if course.room:
            seen.background.append(asyncio.create_task(work))
        return course.room

    def start_again() -> Any:
        name = course.again if course.again in CONFIDENCE else "big"
        return None if course.again == "dear" else lambda send: call("again", ask_big(send, name))

    def rung_of(name: str) -> Rung:
        return Rung(name, lambda usable, send: rung(name, usable, send))

    runners = Runners(
        big=lambda send: call("big", ask_big(send)),
        draft=(lambda: call("draft", ask_draft())) if course.draft != "none" else None,
        tell_draft=begin if course.details != "off" else lambda d, send: tell(send, ServedBy.DRAFT, "draft"),
        ladder=[rung_of(name) for name in course.on_expiry],
        background=take,
        keep=lambda event, confidence: seen.kept.append(event.answer.text) if isinstance(event, Closed) else None,
        details=details if course.details != "off" else None,
        again=Again(
            lambda text, lowest, whole: CONFIDENCE[text[:3]],
            lambda text: text.count(" ") >= 2,
            start_again,
            lambda send: tell(send, ServedBy.NOTICE, "none"),
        )
        if course.again != "off"
        else None,
    )
    allowance = Allowance(0.15, _balance=course.balance)
    promise = Deadline.after(PROMISE_S, loop.time)
    task = asyncio.create_task(race(runners, Timing(course.arm_s, course.patience_s, 1.0), promise, allowance, hear))
    try:
        async with asyncio.timeout(course.leaves_s if course.leaves_s is not None else HARD_S):
            seen.result = await task
    except GatewayError as error:
        seen.error = error
    except TimeoutError:
        pass
    seen.ended_at = loop.time()
    seen.left_running = tuple(seen.running)
    await asyncio.gather(*seen.background, return_exceptions=True)
    return seen


courses = st.builds(
    Course,
    draft_s=seconds,
    draft=st.sampled_from(["passed", "usable", "failed", "refused", "error", "none"]),
    first_token_s=seconds,
    token_s=st.floats(0.01, 1.0).map(lambda s: round(s, 2)),
    tokens=st.integers(0, 30),
    big=st.sampled_from(["ok", "ok", "refused", "broken"]),
    ladder=st.sampled_from([(), ("stale",), ("quote",), ("stale", "quote")]),
    on_expiry=st.sampled_from([("draft", "stale", "quote"), ("quote", "draft"), ("stale",), ()]),
    arm_s=st.none() | st.sampled_from([0.0, 0.7, 1.3, 2.6]),
    patience_s=st.sampled_from([0.5, 1.0, 2.6, 8.0]),
    room=st.booleans(),
    balance=st.sampled_from([0.0, 10.0]),
    leaves_s=st.none() | seconds,
    again=st.sampled_from(["off", "off", "better", "bad", "broken", "dear"]),
    details=st.sampled_from(["off", "off", "ok", "silent", "unsupported", "broken", "refused"]),
)
every_course = settings(max_examples=150, deadline=None)


@every_course
@given(courses)
def test_i1_i2_one_commit_and_only_its_own_words(course: Course) -> None:
    seen = play(course)
    assert len(seen.opened) <= 1
    if seen.opened:
        assert seen.events[0] is seen.opened[0]
    pieces = min(course.tokens, 3) if course.big == "broken" else course.tokens
    big = "".join(f"big{n} " for n in range(pieces))
    bad = big.replace("big", "bad")
    answers = {"off": (big,), "better": (big, bad)}.get(course.again, (bad,))
    whole = {"", *answers, "draft", "quick: draft", "stale", "quote"}
    said = {"off": 0, "ok": 4, "silent": 0, "unsupported": 2, "broken": 2, "refused": 0}[course.details]
    detailed = [f"draft{HEADING}{''.join(SENTENCES[:n])}" for n in range(1, said + 1)]
    if seen.result is not None and seen.result.committed == "draft" and detailed:
        assert seen.text.strip() == detailed[-1].strip()  # appended to, sentence by sentence, and nothing retracted
    elif seen.result is not None:
        assert seen.text in whole
    else:  # cut short, by an error or by the caller's leaving
        cut = any(text.startswith(seen.text) for text in answers)
        assert cut or seen.text.strip() in {*whole, *(text.strip() for text in detailed)}
    if seen.closed and course.details != "off" and seen.opened[0].served_by is ServedBy.DRAFT:
        closed = seen.events[-1]
        assert isinstance(closed, Closed)
        assert seen.opened[0].labelled or closed.answer.text == seen.text


@every_course
@given(courses)
def test_i3_what_was_started_has_ended_or_is_owned_by_the_background(course: Course) -> None:
    seen = play(course)
    assert set(seen.left_running) <= ({"big"} if seen.background else set())
    assert not seen.running
    assert sorted(set(seen.started)) == sorted(seen.started)


@every_course
@given(courses)
def test_i4_no_guess_without_an_allowance(course: Course) -> None:
    seen = play(course)
    if course.balance == 0 and seen.result is not None:
        assert not seen.result.guessed


@every_course
@given(courses)
def test_i5_exactly_one_end(course: Course) -> None:
    seen = play(course)
    if course.leaves_s is not None and seen.result is None and seen.error is None:
        assert seen.closed <= 1
        return
    assert (seen.closed == 1) != (seen.error is not None)
    if seen.closed:
        assert isinstance(seen.events[-1], Closed)


@every_course
@given(courses)
def test_i6_no_draft_without_the_gates_word_or_the_label(course: Course) -> None:
    seen = play(course)
    for opened in seen.opened:
        if opened.served_by is ServedBy.DRAFT:
            assert course.draft == "passed" or (course.draft == "usable" and opened.labelled)
        assert opened.labelled == (seen.text.startswith("quick") or seen.text in {"stale", "quote"})


@every_course
@given(courses)
def test_i7_what_does_not_stream_by_then_ends_by_the_promise(course: Course) -> None:
    seen = play(course)
    could_tell = (set(course.ladder) & set(course.on_expiry)) or (
        "draft" in course.on_expiry and course.draft == "usable" and course.draft_s < PROMISE_S - RESERVE_S - GRAIN_S
    )
    if seen.result is not None and seen.result.committed == "ladder":
        assert seen.ended_at <= PROMISE_S - RESERVE_S + GRAIN_S
    if could_tell and course.leaves_s is None and seen.error is None:
        assert seen.at[0] <= PROMISE_S - RESERVE_S + GRAIN_S  # somebody speaks by then


@every_course
@given(courses)
def test_an_error_is_given_only_where_there_was_nothing_better(course: Course) -> None:
    seen = play(course)
    if seen.error is not None and not seen.opened:
        assert not set(course.ladder) & set(course.on_expiry)
        assert course.draft != "passed" or course.draft_s > HARD_S


@every_course
@given(courses)
def test_the_big_models_answer_is_kept_only_where_it_was_given_or_nothing_was_that_may_be_kept(course: Course) -> None:
    seen = play(course)
    given = seen.result is not None and seen.result.committed == "big"
    assert seen.kept in ([], ["big"])
    if course.leaves_s is None:
        assert not seen.kept or given or seen.background
        assert seen.kept or not given


def test_the_table_has_a_move_for_every_state() -> None:
    assert set(MOVES) == {(t, d, b) for t in Time for d in Draft for b in Big}


@pytest.mark.parametrize("draft", [Draft.RUNNING, Draft.LATE, Draft.FAILED])
def test_an_unchecked_draft_is_never_committed(draft: Draft) -> None:
    assert Move.DRAFT not in {MOVES[time, draft, big] for time in Time for big in Big}


def test_a_cascade_asks_the_big_model_only_after_the_verdict() -> None:
    assert play(Course(draft="passed")).started == ["draft"]
    failed = play(Course(draft="failed"))
    assert (failed.started, failed.text) == (["draft", "big"], "big0 big1 big2 big3 big4 ")


def test_an_armed_big_model_starts_when_a_draft_takes_its_time() -> None:
    seen = play(Course(draft_s=2.0, arm_s=1.3, draft="failed", first_token_s=1.0))
    assert seen.at[0] == pytest.approx(2.3)


def test_a_draft_that_hangs_does_not_hold_up_a_big_model_that_talks() -> None:
    assert play(Course(draft_s=30, arm_s=0.0, patience_s=2.0)).at[0] == pytest.approx(1.5)  # its last word is at 1.5
    assert play(Course(draft_s=30, arm_s=0.0, patience_s=2.0, tokens=30)).at[0] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("again", "text", "at"),
    [("better", "big", 3.2), ("bad", "bad", 3.2), ("broken", "bad", 3.1), ("dear", "bad", 2.1)],
)
def test_an_answer_that_begins_badly_is_asked_for_once_more(again: str, text: str, at: float) -> None:
    seen = play(Course(draft="error", again=again))
    assert seen.started == ["draft", "big", *(["again"] if again != "dear" else [])]
    assert seen.text == "".join(f"{text}{n} " for n in range(5))
    assert seen.at[0] == pytest.approx(at)


def test_an_answer_more_likely_wrong_than_right_is_not_given() -> None:
    seen = play(Course(draft="error", again="lie", first="lie"))
    assert (seen.started, seen.text, seen.kept) == (["draft", "big", "again"], "none", [])
    assert play(Course(draft="error", again="better", first="lie")).text.startswith("big0")
    assert play(Course(draft="error", again="dear", first="lie")).text == "none"


def test_that_there_is_no_answer_is_not_said_while_a_draft_may_have_one() -> None:
    course = Course(draft="passed", draft_s=3.5, arm_s=0.0, first_token_s=0.5, again="lie", first="lie")
    assert play(course).text == "draft"
    assert play(replace(course, draft="failed")).text == "none"


def test_what_has_only_begun_goes_before_an_answer_that_is_not_given() -> None:
    late = Course(draft_s=2.5, draft="failed", arm_s=0.0, first_token_s=2.0, token_s=0.5, again="better", first="lie")
    assert play(late).text.startswith("big0")


def test_after_a_draft_that_does_not_pass_an_answer_is_asked_for_twice_and_judged_by_its_first_sentence() -> None:
    course = Course(draft="failed", draft_s=1.0, arm_s=0.0, first_token_s=2.0, again="better")
    seen = play(course)
    assert (seen.started, seen.text[:4]) == (["draft", "big", "again"], "big0")
    assert seen.at[0] == pytest.approx(3.1)  # the second began at 1.0; its first token at 3.0 does not tell yet
    fine = play(replace(course, first="big"))
    assert fine.text.startswith("big0")
    assert fine.at[0] == pytest.approx(2.1)  # the first is fine, and given once that is seen


def test_after_a_draft_that_finds_nothing_it_is_asked_for_once_and_judged_by_its_first_sentence() -> None:
    seen = play(Course(draft="refused", draft_s=1.0, arm_s=0.0, first_token_s=2.0, again="better", first="big"))
    assert (seen.started, seen.text[:4]) == (["draft", "big"], "big0")
    assert seen.at[0] == pytest.approx(2.1)


def test_a_draft_that_passes_goes_before_a_big_answer_that_is_not_fine() -> None:
    seen = play(Course(draft="passed", draft_s=1.4, arm_s=0.0, first_token_s=0.5, again="better"))
    assert (seen.started, seen.text) == (["draft", "big", "again"], "draft")
    assert seen.at[0] == pytest.approx(1.4)


def test_an_answer_that_is_sure_does_not_wait_for_a_draft_and_one_that_is_not_does() -> None:
    course = Course(draft="passed", draft_s=1.4, arm_s=0.0, first_token_s=0.5, tokens=30, again="better", first="big")
    sure = play(course)
    assert (sure.started, sure.text[:4]) == (["draft", "big"], "big0")
    assert sure.at[0] == pytest.approx(0.6)
    assert play(replace(course, first="bad")).text == "draft"


def test_a_second_answer_that_is_late_leaves_the_first_to_be_given() -> None:
    seen = play(Course(draft_s=2.5, draft="failed", arm_s=0.0, first_token_s=2.4, again="better"))
    assert seen.text.startswith("bad0")
    assert seen.at[0] == pytest.approx(PROMISE_S - RESERVE_S)


def test_a_late_answer_goes_on_in_the_background_while_there_is_room() -> None:
    late = Course(draft="none", first_token_s=8, ladder=("quote",))
    assert len(play(late).background) == 1
    assert play(Course(draft="none", first_token_s=8, ladder=("quote",), room=False)).background == []


def test_without_anything_to_give_it_waits() -> None:
    seen = play(Course(draft="none", first_token_s=8))
    assert seen.at[0] == pytest.approx(8)
    assert seen.result == Result("big", "", Draft.FAILED, False)
