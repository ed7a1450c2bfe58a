"""The race: its table, and who answers in one course or another, on a virtual clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.routing.contender import Big
from gateway.routing.moves import MOVES, Draft, Move, Time
from gateway.routing.race import RESERVE_S, Result
from tests.routing.courses import PROMISE_S, Course, play


def test_the_table_has_a_move_for_every_state() -> None:
    assert set(MOVES) == {(t, d, b) for t in Time for d in Draft for b in Big}


@pytest.mark.parametrize("draft", [Draft.RUNNING, Draft.DUE, Draft.LATE, Draft.FAILED])
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
    seen = play(Course(draft="refused", again=again))
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
    assert play(replace(course, draft="failed", due_s=1.2)).at[0] == pytest.approx(1.2)  # so long the draft goes before
    sure = play(course)
    assert (sure.started, sure.text[:4]) == (["draft", "big"], "big0")
    assert sure.at[0] == pytest.approx(0.6)
    assert play(replace(course, first="bad")).text == "draft"


def test_an_answer_that_agrees_with_a_draft_is_given_before_its_first_sentence_is_whole() -> None:
    course = Course(draft="usable", draft_s=1.0, arm_s=0.0, first_token_s=2.0, again="better", first="big")
    assert play(course).at[0] == pytest.approx(2.1)
    assert play(replace(course, agrees=True)).at[0] == pytest.approx(2.0)


def test_an_answer_that_will_not_be_sure_is_asked_for_again_while_the_draft_is_running() -> None:
    course = Course(draft="failed", draft_s=2.0, arm_s=0.0, first_token_s=0.5, token_s=0.5, again="better")
    assert play(course).at[0] == pytest.approx(3.0)  # the second began with the draft's verdict
    early = play(replace(course, doubtful=True))
    assert early.started == ["draft", "big", "again"]
    assert early.at[0] == pytest.approx(2.0)  # it began with the first token
    assert play(replace(course, draft="passed", doubtful=True)).text == "draft"


def test_what_will_not_be_given_is_not_waited_for() -> None:
    course = Course(draft="failed", draft_s=0.5, arm_s=0.0, token_s=0.5, again="lie", first="lie")
    early = play(replace(course, unlikely=True))
    assert play(course).text == early.text == "none"
    assert play(course).at[0] == pytest.approx(2.0)
    assert early.at[0] == pytest.approx(1.5)
    assert play(replace(course, unlikely=True, draft="passed", draft_s=1.8)).text == "draft"


def test_that_there_is_no_answer_is_said_once_the_big_model_has_none_either() -> None:
    course = Course(draft="failed", draft_s=0.5, arm_s=0.0, token_s=0.5, again="lie", first="lie", unanswered=True)
    seen = play(course)
    assert (seen.text, seen.kept) == ("none", [])
    assert seen.at[0] == pytest.approx(1.5)  # its first sentence is whole; the second answer's is at 2.0
    assert play(replace(course, first="bad", again="better")).text.startswith("big0")
    assert play(replace(course, draft="passed")).text == "draft"


def test_that_there_is_no_answer_is_said_where_the_big_model_is_silent_and_its_answer_kept() -> None:
    course = Course(draft="failed", arm_s=0.0, first_token_s=3.5, patience_s=2.0, again="dear", first="big")
    assert play(course).text.startswith("big0")
    seen = play(replace(course, unanswered=True))
    assert (seen.text, seen.kept) == ("none", ["big"])
    assert seen.at[0] == pytest.approx(2.0)
    assert play(replace(course, unanswered=True, room=False)).kept == []
    late = play(replace(course, unanswered=True, draft_s=2.8))  # the big model has had its time by then
    assert late.at[0] == pytest.approx(2.8)
    cascade = play(replace(course, unanswered=True, arm_s=None))
    assert cascade.at[0] == pytest.approx(3.0)  # it begins at 1.0


def test_that_there_is_no_answer_is_said_where_the_big_model_has_only_begun_when_time_is_up() -> None:
    course = Course(draft="failed", arm_s=0.0, first_token_s=4.5, token_s=0.2, patience_s=8.0, again="lie", first="bad")
    assert play(course).text.startswith("bad0")
    assert play(replace(course, unanswered=True)).text == "none"
    assert play(replace(course, unanswered=True, first_token_s=4.3)).text.startswith("bad0")  # a whole sentence


def test_a_refusal_that_nothing_bears_out_waits_for_the_draft() -> None:
    course = Course(draft="passed", draft_s=1.8, arm_s=0.0, again="better", tokens=1, refuses=True)
    seen = play(course)
    assert (seen.text, seen.started) == ("draft", ["draft", "big"])
    failed = play(replace(course, draft="usable"))
    assert failed.started == ["draft", "big", "again"]
    assert failed.at[0] == pytest.approx(2.8)
    hangs = play(replace(course, draft_s=30.0, patience_s=1.5))
    assert hangs.at[0] == pytest.approx(2.5)  # the second began when drafts are late


def test_an_answer_that_may_be_given_hears_what_an_unlikely_one_says() -> None:
    course = Course(draft="failed", draft_s=0.5, arm_s=0.0, token_s=0.5, again="lie", first="bad", unlikely=True)
    assert play(course).at[0] == pytest.approx(2.0)
    assert play(course).text.startswith("bad0")


@pytest.mark.parametrize("big", ["ok", "lost"])
def test_a_second_answer_that_comes_before_the_first_is_given(big: str) -> None:
    course = Course(draft="failed", draft_s=0.5, arm_s=0.0, first_token_s=3.0, again="better", again_s=0.5)
    seen = play(replace(course, big=big))
    assert seen.text.startswith("big0")
    assert seen.at[0] == pytest.approx(1.1)


def test_a_second_answer_is_waited_for_where_the_first_fails() -> None:
    course = Course(draft="failed", draft_s=0.5, arm_s=0.0, big="lost", again="better", again_s=2.0)
    assert play(course).text.startswith("big0")
    assert play(course).at[0] == pytest.approx(2.6)


def test_an_answer_is_asked_for_again_while_all_that_drafts_say_is_likely_wrong() -> None:
    course = Course(draft="failed", draft_s=1.5, arm_s=0.0, first_token_s=1.0, token_s=0.1, again="better")
    assert play(course).at[0] == pytest.approx(2.6)  # the second began with the draft's verdict
    early = play(replace(course, astray_s=0.5))
    assert early.at[0] == pytest.approx(1.6)
    assert play(replace(course, astray_s=0.5, first="big")).started == ["draft", "big", "again"]
    assert play(replace(course, astray_s=0.5, draft="passed", draft_s=1.2)).text == "draft"


def test_where_no_draft_can_be_had_an_answer_is_asked_for_twice_at_once() -> None:
    seen = play(Course(draft="error", draft_s=0.1, arm_s=0.0, first_token_s=1.0, again="better"))
    assert seen.started == ["draft", "big", "again"]
    assert seen.at[0] == pytest.approx(1.2)


def test_a_look_that_agrees_makes_an_answer_sure_before_the_drafts_verdict() -> None:
    course = Course(draft="usable", draft_s=2.0, arm_s=0.0, first_token_s=0.5, tokens=30, again="dear")
    assert play(course).at[0] == pytest.approx(2.0)
    assert play(replace(course, agrees_s=1.2)).at[0] == pytest.approx(1.2)


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


def test_a_draft_that_the_big_model_contradicts_twice_is_not_given() -> None:
    course = Course(
        draft_s=1.4, due_s=2.0, arm_s=0.0, first_token_s=0.5, tokens=30, again="better", first="big", contradicts=True
    )
    seen = play(course)
    assert (seen.started, seen.text[:4], seen.checks) == (["draft", "big", "again"], "big0", ["outvoted"])
    assert seen.at[0] == pytest.approx(2.0)  # asked again at 1.4, and that says enough at 2.0
    agreed = play(replace(course, contradicts=False))
    assert (agreed.text, agreed.started, agreed.checks) == ("draft", ["draft", "big"], ["agreed"])


@pytest.mark.parametrize("again", ["bad", "broken", "dear"])
def test_a_draft_that_is_contradicted_once_is_given(again: str) -> None:
    first = "bad" if again == "broken" else "big"
    course = Course(
        draft_s=1.4, due_s=2.0, arm_s=0.0, first_token_s=0.5, tokens=30, again=again, first=first, contradicts=True
    )
    seen = play(replace(course, big="lost") if again == "broken" else course)
    assert (seen.text, seen.left_running) == ("draft", ())


def test_a_contradicted_draft_is_given_when_the_time_is_up() -> None:
    course = Course(
        draft_s=1.4, due_s=2.0, arm_s=0.0, first_token_s=0.5, tokens=90, again="better", first="big", again_s=9.0
    )
    seen = play(replace(course, contradicts=True))
    assert (seen.text, seen.checks) == ("draft", ["upheld"])
    assert seen.at[0] == pytest.approx(PROMISE_S - RESERVE_S)


def test_what_the_big_model_says_after_a_draft_is_heard_out_and_kept_if_it_outvotes_it() -> None:
    course = Course(draft_s=0.5, arm_s=0.0, first_token_s=1.0, again="better", first="big", contradicts=True)
    seen = play(course)
    assert (seen.text, seen.checks) == ("draft", ["outvoted"])
    assert seen.ended_at == pytest.approx(0.5)
    assert (seen.started, seen.kept, seen.running) == (["draft", "big", "again"], ["big"], {})
    agreed = play(replace(course, contradicts=False))
    assert (agreed.checks, agreed.started, agreed.kept) == (["agreed"], ["draft", "big"], [])
    upheld = play(replace(course, again="bad"))
    assert (upheld.checks, upheld.kept, upheld.running) == (["upheld"], [], {})
    for busy in (replace(course, room=False), replace(course, roomy=False)):
        unheard = play(busy)
        assert (unheard.text, unheard.checks, unheard.left_running) == ("draft", [], ())
