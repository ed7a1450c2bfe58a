from __future__ import annotations

import pytest

from gateway.chat import Answer, Delta, Evidence, Passage
from gateway.routing.contender import Reading
from gateway.routing.doubting import ALONE_IN_REFUSING, GIVEN, SURE, Doubts, Heard, Said, likely
from gateway.routing.gate import Verdict
from gateway.routing.votes import Votes, votes_on
from gateway.routing.weighing import Scale, logprobs_of, unweighed, weighed

FEES = Passage(
    "hb",
    "fees.md",
    "1",
    0,
    "위약금",
    "",
    "- 위약금은 3만 원이다.\n- 정지 기간은 90일이다.\n- 군 입대는 면제 사유가 아니다.",
)
OTHER = Passage("hb", "plans.md", "1", 0, "요금제", "", "라이트 요금제는 월 2만 원이다.")
FOUND = Evidence((FEES, OTHER))
RIGHT, WRONG = "정지는 90일까지 할 수 있습니다 [doc1].", "라이트 요금제는 월 2만 원입니다 [doc2]."
REFUSAL = "문서에서 해당 내용을 찾을 수 없습니다."
ASKED = "일시정지는 며칠까지 되나요?"


def doubts(*drafts: str) -> Doubts:
    return Doubts(ASKED, FOUND, drafts)


def test_answers_that_state_the_same_agree() -> None:
    others = ["정지 기간은 90일입니다 [doc1].", WRONG, REFUSAL]
    assert votes_on(RIGHT, others, FOUND) == Votes(1, 1, 3)
    assert votes_on(REFUSAL, others, FOUND) == Votes(0, 1, 3)
    assert votes_on(RIGHT, [], FOUND) == Votes()


def test_answers_from_one_line_agree_in_other_words() -> None:
    assert votes_on("군 입대는 사유가 아닙니다.", ["아니요, 군 입대는 면제 사유가 아닙니다 [doc1]."], FOUND).agree == 1


def test_a_token_that_was_hardly_chosen_speaks_against_an_answer() -> None:
    agreed = doubts(RIGHT, RIGHT, WRONG)
    assert agreed.confidence(RIGHT, -0.2, True) > SURE
    assert agreed.confidence(RIGHT, -2.5, True) < GIVEN
    assert agreed.confidence(RIGHT, -1.0, True) > doubts(WRONG, REFUSAL, REFUSAL).confidence(RIGHT, -1.0, True)


def test_without_log_probabilities_drafts_ask_again_and_withhold_nothing() -> None:
    assert doubts(RIGHT, RIGHT, WRONG).confidence(RIGHT, None, True) > SURE
    alone = doubts(WRONG, REFUSAL, REFUSAL).confidence(RIGHT, None, True)
    assert GIVEN <= alone < SURE
    assert doubts().confidence(RIGHT, None, True) == 1.0  # nothing is known


def test_numbers_from_nowhere_are_wrong_whatever_else_is_known() -> None:
    invented = "정지는 120일까지 할 수 있습니다 [doc1]."
    assert doubts(invented, invented).confidence(invented, -0.1, True) == 0.0
    assert doubts().confidence("정지는 12", -0.1, False) == 1.0  # half a number


def test_a_number_that_stands_elsewhere_than_cited_is_not_sure_but_given() -> None:
    assert doubts(RIGHT, RIGHT).confidence(RIGHT.replace("doc1", "doc2"), -0.1, True) == GIVEN


@pytest.mark.parametrize(
    ("score", "veto", "believed"),
    [(0.1, "", True), (0.9, "", False), (0.0, "number", True), (0.0, "citation", False)],
)
def test_a_refusal_is_believed_beside_a_draft_that_is_likely_wrong(score: float, veto: str, believed: bool) -> None:
    it = doubts(WRONG)
    assert it.confidence(REFUSAL, -0.2, True) < SURE
    it.judged(Verdict(score, veto, False, False, False))
    assert (it.confidence(REFUSAL, -0.2, True) >= SURE) is believed


def test_a_refusal_is_believed_where_a_draft_finds_nothing_either() -> None:
    assert doubts(RIGHT, REFUSAL).confidence(REFUSAL, None, True) == SURE
    assert doubts(RIGHT, WRONG).confidence(REFUSAL, None, True) == ALONE_IN_REFUSING


def test_what_is_not_sure_is_not_given_where_the_same_model_finds_nothing_when_it_is_asked_again() -> None:
    unsure, sure = -0.7, -0.05
    assert GIVEN < doubts().confidence(RIGHT, unsure, True) < SURE
    assert doubts().confidence(RIGHT, unsure, True, Said(REFUSAL, -0.1)) < GIVEN
    assert doubts().confidence(REFUSAL, -0.1, True, Said(RIGHT, unsure)) == GIVEN
    assert doubts(RIGHT).confidence(RIGHT, sure, True, Said(REFUSAL, -0.1)) >= SURE
    assert doubts().confidence(RIGHT, None, True, Said(REFUSAL, None)) >= GIVEN  # nothing else is known of it


def chunk(*logprobs: tuple[str, float]) -> Delta:
    content = [{"token": token, "logprob": value, "top_logprobs": []} for token, value in logprobs]
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": content}, "finish_reason": None}
    return Delta.of({"id": "1", "choices": [choice]})


def test_log_probabilities_are_read_and_not_passed_on() -> None:
    event = weighed(chunk(("a", -0.1), ("b", -1.5), ("<|im_end|>", -9.0)))
    assert event.logprob == -1.5
    assert event.text == "a"
    assert b"-1.5" not in event.raw
    assert event.chunk["choices"][0]["logprobs"] is None
    bare = Delta.of({"choices": [{"index": 0, "delta": {"content": "a"}}]})
    assert weighed(bare) is bare


def test_a_whole_answer_without_log_probabilities() -> None:
    choice = {"index": 0, "message": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": -0.5}]}}
    assert logprobs_of(Answer((choice,), "m")) == [("a", -0.5)]
    assert logprobs_of(unweighed(Answer((choice,), "m"))) is None


@pytest.mark.parametrize("given", [None, {}, {"content": None}, {"content": "x"}, {"content": [{"token": "a"}]}])
def test_what_are_no_log_probabilities_is_left_alone(given: object) -> None:
    assert logprobs_of(Answer(({"logprobs": given},), "m")) is None


def test_an_answer_has_agreed_once_it_states_the_figures_of_a_draft() -> None:
    it = doubts("정지 기간은 90일입니다 [doc1].")
    assert it.reading("정지는 ", -0.1) is not Reading.AGREED
    assert it.reading("정지는 9", -0.1) is not Reading.AGREED  # half a number
    assert it.reading("정지는 90일까지 ", -0.1) is Reading.AGREED
    assert it.reading("정지는 90일까지 ", -2.0) is not Reading.AGREED
    assert it.reading("정지는 90일까지 ", None) is not Reading.AGREED
    assert it.reading("정지는 60일까지 ", -0.1) is not Reading.AGREED
    assert doubts().reading("정지는 90일까지 ", -0.1) is not Reading.AGREED
    assert doubts(REFUSAL).reading("정지는 90일까지 ", -0.1) is not Reading.AGREED


def test_an_answer_is_doubtful_once_no_draft_can_make_it_sure() -> None:
    assert doubts().reading("정지는 ", -0.5) is Reading.OPEN
    assert doubts().reading("정지는 ", -1.2) is Reading.DOUBTFUL
    assert doubts().reading("정지는 ", -2.0) is Reading.UNLIKELY
    assert doubts(REFUSAL).reading("정지는 ", -0.8) is Reading.DOUBTFUL
    assert doubts().reading("문서에서 해당 내용을 찾을 수 없", -2.0) is Reading.OPEN  # that is for the drafts to tell
    assert doubts().reading("정지는 ", None) is Reading.OPEN


def test_drafts_are_astray_while_none_of_them_is_likely_right() -> None:
    it = doubts()
    assert not it.astray()
    it.heard([Heard(WRONG, likely=False)])
    assert it.astray()
    it.heard([Heard(WRONG, likely=False), Heard(RIGHT, likely=True)])
    assert not it.astray()


def test_figures_of_the_question_are_no_agreement() -> None:
    it = Doubts("90일 정지는 얼마인가요?", FOUND, ["90일 정지에는 라이트 요금제 월 2만 원이 듭니다 [doc2]."])
    assert it.reading("90일 정지에는 ", -0.1) is not Reading.AGREED
    assert it.reading("90일 정지에는 월 2만 원이 ", -0.1) is Reading.AGREED


def test_a_claim_is_judged_before_its_citation_is_whole() -> None:
    it = doubts("정지 기간은 90일입니다 [doc1].")
    assert it.confidence("정지는 90일까지 할 수 있습니다 [doc", -0.1, True) > SURE
    assert it.confidence("정지는 90일까지 할 수 있습니다 [doc1", -0.1, True) > SURE
    assert it.confidence("정지는 60일까지 할 수 있습니다 [doc1", -0.1, True) == 0.0


def test_one_that_was_unsure_of_the_same_before_is_unsure_of_it() -> None:
    it = doubts()
    assert it.confidence(WRONG, -0.3, True) > SURE
    assert it.confidence(WRONG, -0.3, True, Said(WRONG, -2.5)) < GIVEN
    assert it.confidence(RIGHT, -0.3, True, Said(WRONG, -2.5)) > SURE
    invented = "정지는 90일까지, 그 뒤로는 45일까지 할 수 있습니다 [doc1]."
    assert it.confidence(RIGHT, -0.3, True, Said(invented, -2.5)) > SURE
    assert it.confidence(WRONG, -0.6, True, Said(REFUSAL, -0.1)) < it.confidence(WRONG, -0.6, True)


def test_a_model_that_is_unsure_of_all_it_says_is_taken_as_it_is() -> None:
    scale = Scale()
    assert scale.read(-1.2) == -1.2
    assert scale.read(None) is None
    for _ in range(100):
        scale.saw(-1.2)
        scale.saw(None)
    assert scale.read(-1.2) == pytest.approx(-0.35)
    it = Doubts(ASKED, FOUND, scale=scale)
    assert it.confidence(RIGHT, -1.2, True) > SURE
    assert it.confidence(RIGHT, -6.0, True) < GIVEN
    for _ in range(200):
        scale.saw(-0.01)
    assert scale.read(-1.2) == -1.2  # one that is surer than most is not doubted more


def test_the_question_again_is_no_answer() -> None:
    again = "일시정지는 며칠까지 됩니다. [doc1]"
    assert doubts(again, again).confidence(again, -0.1, True) == 0.0
    assert doubts(again, again).confidence(RIGHT, -0.1, True) > GIVEN
    yes = Doubts("군 입대는 면제 사유가 되나요?", FOUND)
    assert yes.confidence("군 입대는 면제 사유가 됩니다.", -0.1, True) > GIVEN


def test_a_draft_that_is_likely_wrong_bears_nobody_out() -> None:
    it = doubts()
    it.heard([Heard(RIGHT, True)])
    assert it.confidence(RIGHT, -0.7, True) > SURE
    assert it.reading("정지는 90일까지 ", -0.7) is Reading.AGREED
    it.heard([Heard(RIGHT, False)])
    assert GIVEN < it.confidence(RIGHT, -0.7, True) < SURE
    assert it.reading("정지는 90일까지 ", -0.7) is Reading.OPEN
    assert it.confidence(RIGHT, None, True) < SURE  # known of, all the same


@pytest.mark.parametrize(
    ("score", "veto", "expected"), [(0.6, "", True), (0.4, "", False), (0.0, "code", False), (0.0, "uncited", True)]
)
def test_a_veto_for_its_form_does_not_make_a_draft_unlikely(score: float, veto: str, expected: bool) -> None:
    assert likely(Verdict(score, veto, False, False, False)) is expected
