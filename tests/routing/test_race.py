"""The race's invariants I1–I7, over all courses that hypothesis can think of, on a virtual clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat import Closed, ServedBy
from gateway.routing.race import RESERVE_S
from tests.routing.courses import GRAIN_S, HARD_S, HEADING, PROMISE_S, SENTENCES, Course, piece, play

seconds = st.floats(0.0, 12.0).map(lambda s: round(s, 2))

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
    due_s=st.sampled_from([0.0, 0.8, 3.0]),
    room=st.booleans(),
    balance=st.sampled_from([0.0, 10.0]),
    leaves_s=st.none() | seconds,
    again=st.sampled_from(["off", "off", "better", "bad", "broken", "dear"]),
    contradicts=st.booleans(),
    unanswered=st.booleans(),
    refuses=st.booleans(),
    details=st.sampled_from(["off", "off", "ok", "silent", "unsupported", "broken", "refused"]),
)
every_course = settings(max_examples=150)


@every_course
@given(courses)
def test_i1_i2_one_commit_and_only_its_own_words(course: Course) -> None:
    seen = play(course)
    assert len(seen.opened) <= 1
    if seen.opened:
        assert seen.events[0] is seen.opened[0]
    pieces = min(course.tokens, 3) if course.big == "broken" else course.tokens
    big = "".join(piece(course, "big", n) for n in range(pieces))
    bad = big.replace("big", "bad")
    answers = {"off": (big,), "better": (big, bad)}.get(course.again, (bad,))
    whole = {"", *answers, "draft", "quick: draft", "stale", "quote", "none"}
    if seen.text == "none":
        assert course.unanswered
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
    assert set(seen.left_running) <= ({"big", "again"} if seen.background else set())
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
