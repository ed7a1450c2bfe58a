from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.provider.judge import is_verdict, verdict
from bench.provider.truths import Gold, Truths, squeezed
from gateway.chat import ChatRequest, Evidence, Message, Passage
from gateway.routing.answerability import ASKED, CLEAR, MOST_SAID, Answerability, Spread, before, prompt, unasked
from gateway.routing.doubting import ALONE_IN_REFUSING, GIVEN, SURE, Doubts, Heard
from gateway.routing.gate import Draft, judge

PASSAGES = tuple(
    Passage("hb", f"{name}.md", "1", 0, name, "", text, score)
    for name, text, score in (
        ("fees", "위약금은 3만 원이다.", 0.2),
        ("pause", "정지 기간은 90일이다.", 0.9),
        ("plans", "라이트 요금제는 월 2만 원이다.", 0.5),
    )
)
FOUND = Evidence(PASSAGES)
ASKS = "일시정지는 며칠까지 되나요?"
RIGHT, OTHER, REFUSAL = "정지 기간은 90일입니다 [doc2].", "위약금은 3만 원입니다 [doc1].", "문서에서 찾을 수 없습니다."


class Model:
    """Says what it is told to of each passage, and remembers what it was asked about."""

    def __init__(self, **margins: float | None) -> None:
        self.margins = margins
        self.asked: list[int] = []

    async def __call__(self, number: int, passage: Passage) -> float | None:
        self.asked.append(number)
        await asyncio.sleep(0)
        return self.margins.get(passage.title)


def question(model: Model) -> Answerability:
    return Answerability(FOUND, Spread(), model)


async def told(model: Model) -> Answerability:
    it = question(model)
    it.begin()
    await it.known()
    return it


async def test_the_likeliest_passages_are_asked_about_and_then_those_that_answers_rest_on() -> None:
    model, news = Model(fees=0.0, pause=1.6, plans=0.0), []
    it = question(model)
    it.begin(lambda: news.append(dict(it.margins)))
    await it.known()
    assert sorted(model.asked) == [2, 3]
    assert len(news) == ASKED
    assert it.of(OTHER) == 0.0  # not known yet
    await it.known()
    assert model.asked[ASKED:] == [1]
    assert it.of(OTHER) < -CLEAR < CLEAR < it.of(RIGHT)
    assert it.best() == it.of(RIGHT)
    it.of(OTHER)
    await it.known()
    assert len(model.asked) == 3  # once each


async def test_an_answer_that_cites_nothing_rests_on_the_nearest_passage() -> None:
    it = await told(Model(pause=1.6, plans=0.0))
    assert it.sources("정지 기간은 최대 90일입니다.") == (2,)
    assert it.sources("라이트 요금제는 월 2만 원입니다. 정지는 [doc2]") == (3,)  # the first sentence counts
    assert it.sources("[doc7]") == ()


async def test_no_verdict_says_nothing_and_a_closed_question_asks_nothing() -> None:
    model = Model(pause=None)
    it = await told(model)
    assert (it.best(), it.of(RIGHT), it.margins) == (0.0, 0.0, {})
    await it.close()
    asked = len(model.asked)
    it.of(OTHER)
    await it.known()
    assert len(model.asked) == asked
    assert (unasked().best(), unasked().of(RIGHT)) == (0.0, 0.0)


async def test_closing_ends_what_is_being_asked() -> None:
    async def never(number: int, passage: Passage) -> float | None:
        await asyncio.Event().wait()
        return None

    it = Answerability(FOUND, Spread(), never)
    it.begin()
    await asyncio.sleep(0)
    await it.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_margins_are_read_by_what_this_model_says_of_passages_that_answer() -> None:
    fresh, lenient, guessing = Spread(), Spread(), Spread()
    for n in range(200):
        wobble = 0.2 * (n % 3 - 1)
        lenient.saw({1: 6.0 + wobble, 2: 4.0 - wobble}, [1])  # says Yes to everything
        guessing.saw({1: 1.0 + wobble, 2: 1.0 + wobble}, [1])
    assert fresh.read(1.4) > CLEAR > -CLEAR > fresh.read(0.3)
    assert lenient.read(4.0) == -MOST_SAID
    assert lenient.read(6.0) == MOST_SAID
    assert abs(guessing.read(1.2)) < 0.1
    assert guessing.read(-5.0) == pytest.approx(0.0, abs=0.1)


def test_a_question_whose_answer_rests_on_no_asked_passage_teaches_nothing() -> None:
    taught, untaught = Spread(), Spread()
    for _ in range(50):
        taught.saw({1: 9.0, 2: -9.0}, [3])
    assert taught.read(0.5) == untaught.read(0.5)


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), max_size=30),
    st.floats(-100, 100),
    st.floats(-100, 100),
)
def test_a_higher_margin_never_says_less(seen: list[tuple[float, float]], one: float, other: float) -> None:
    spread = Spread()
    for answers, passed_over in seen:
        spread.saw({1: answers, 2: passed_over}, [1])
    low, high = sorted((one, other))
    assert -MOST_SAID <= spread.read(low) <= spread.read(high) <= MOST_SAID


async def test_doubt_hears_whether_the_passage_answers() -> None:
    yes, no = await told(Model(pause=1.8, plans=0.0)), await told(Model(pause=-0.2, plans=-0.2))
    confidence = [Doubts(ASKS, FOUND, (OTHER,), answerability=it).confidence(RIGHT, -0.5, True) for it in (yes, no)]
    assert (
        confidence[0] >= SURE > GIVEN > Doubts(ASKS, FOUND, (REFUSAL,), answerability=no).confidence(RIGHT, -0.5, True)
    )
    assert confidence[0] > Doubts(ASKS, FOUND, (OTHER,)).confidence(RIGHT, -0.5, True) > confidence[1]


async def test_a_refusal_is_believed_where_no_likely_passage_answers_and_doubted_where_one_does() -> None:
    yes, no = await told(Model(pause=1.8, plans=0.0)), await told(Model(pause=-0.2, plans=-0.2))
    astray = Doubts(ASKS, FOUND, answerability=no)
    assert astray.confidence(REFUSAL, -0.1, True) == ALONE_IN_REFUSING  # drafts have not spoken yet
    astray.heard([Heard(OTHER, likely=False)])
    assert astray.confidence(REFUSAL, -0.1, True) == SURE
    assert Doubts(ASKS, FOUND, (OTHER,), answerability=no).confidence(REFUSAL, -0.1, True) == ALONE_IN_REFUSING
    assert Doubts(ASKS, FOUND, (REFUSAL,)).confidence(REFUSAL, -0.1, True) == SURE
    assert Doubts(ASKS, FOUND, (REFUSAL,), answerability=yes).confidence(REFUSAL, -0.1, True) == ALONE_IN_REFUSING


def test_it_only_speaks_against_a_draft() -> None:
    draft = Draft(RIGHT, "stop", [("정지", -0.1), ("90", -0.3)], votes=(1, 0))
    alone, against, for_it = (judge(draft, ASKS, FOUND, None, said) for said in (0.0, -MOST_SAID, MOST_SAID))
    assert against.score < alone.score == for_it.score
    assert alone.accepted
    assert not against.accepted


def test_a_follow_up_is_asked_about_with_the_question_before_it() -> None:
    turns = [("user", "일시정지는\n며칠까지 되나요?"), ("assistant", "90일까지입니다."), ("user", "군인은요?")]
    messages = tuple(Message(role, text, True, {"role": role, "content": text}) for role, text in turns)
    request = ChatRequest("handbook", messages, False, False, {})
    text = prompt(request.question, PASSAGES[1], before(request))[0]["content"]
    assert "\n\nEarlier question: 일시정지는 며칠까지 되나요?\nQuestion: 군인은요?\n\n" in text
    assert before(replace(request, messages=messages[-1:])) == ""
    assert "Earlier" not in prompt(request.question, PASSAGES[1])[0]["content"]
    truths = Truths(
        answers={squeezed("군인은 며칠까지 정지되나요?"): Gold((("90일",),), document="pause.md")},
        rewrites={squeezed("군인은요?"): "군인은 며칠까지 정지되나요?"},
    )
    asked = [prompt(request.question, passage, before(request))[0]["content"] for passage in PASSAGES]
    said = [dict(verdict(text, Random(1), truths).alternatives) for text in asked]
    assert max(range(3), key=lambda n: said[n]["Yes"] - said[n]["No"]) == 1


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_stand_in_knows_which_passage_answers(language: str) -> None:
    asks = ASKS if language == "ko" else "For how long can I pause?"
    truths = Truths(answers={squeezed(asks): Gold((("90일",),), document="pause.md")})
    texts = [prompt(asks, passage)[0]["content"] for passage in PASSAGES]
    assert all(is_verdict({"max_tokens": 1, "logprobs": True}, text) for text in texts)
    said = [dict(verdict(text, Random(1), truths).alternatives) for text in texts]
    margins = [alternatives["Yes"] - alternatives["No"] for alternatives in said]
    assert max(margins) == margins[1]


async def test_a_question_is_unanswered_where_drafts_claim_nothing_likely_and_no_asked_passage_answers() -> None:
    yes, no = await told(Model(pause=1.8, plans=0.0)), await told(Model(pause=-0.2, plans=-0.2))

    def unanswered(answerability: Answerability, *said: Heard) -> bool:
        doubts = Doubts(ASKS, FOUND, answerability=answerability)
        doubts.heard(said)
        return doubts.unanswered()

    refuses, unlikely, claims = Heard(REFUSAL, likely=True), Heard(OTHER, likely=False), Heard(OTHER, likely=True)
    assert unanswered(no, refuses, unlikely)
    assert unanswered(no, unlikely)
    assert not unanswered(no)  # no draft was had
    assert not unanswered(no, refuses, claims)
    assert not unanswered(yes, refuses, unlikely)
    assert not unanswered(unasked(), refuses, unlikely)
