"""Joining the second part of an answer to the first: nothing twice, nothing left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat import Delta
from gateway.routing.resume import LEAST_OVERLAP, Diverged, Joint, going_on, text_of

WHOLE = (
    "정규직 직원의 연차휴가는 1년에 16일입니다 [doc1]. "
    "신청은 휴가 시작 3영업일 전까지 온피플에서 합니다 [doc1]. Ask HR."
)


def joined(sent: str, second: str, step: int = 3) -> str:
    joint = Joint(sent)
    pieces = [joint.feed(second[start : start + step]) for start in range(0, len(second), step)]
    return sent + "".join(pieces) + joint.finish()


every = settings(max_examples=300)
cuts, steps = st.integers(1, len(WHOLE) - 1), st.integers(1, 30)


@every
@given(cuts, steps)
def test_a_continuation_is_joined_as_it_comes(cut: int, step: int) -> None:
    assert joined(WHOLE[:cut], WHOLE[cut:], step) == WHOLE


@every
@given(cuts, steps)
def test_an_answer_that_begins_again_is_gone_on_with_where_it_broke_off(cut: int, step: int) -> None:
    assert joined(WHOLE[:cut], WHOLE, step) == WHOLE


@every
@given(st.integers(LEAST_OVERLAP + 1, len(WHOLE) - 1), st.integers(LEAST_OVERLAP, 40), steps)
def test_what_is_said_again_at_the_joint_is_said_once(cut: int, overlap: int, step: int) -> None:
    begins = max(1, cut - overlap)
    assert joined(WHOLE[:cut], WHOLE[begins:], step) == WHOLE


@every
@given(st.integers(1, len(WHOLE) - 6), st.integers(1, len(WHOLE) - 6), steps)
def test_nothing_is_sent_of_an_answer_that_begins_again_in_other_words(cut: int, other: int, step: int) -> None:
    second = WHOLE[:other] + "@@@@@@" + WHOLE[other:]
    if other >= cut or other < min(cut, 48):  # the same up to the joint, or another text from its beginning
        return
    joint, sent, refused = Joint(WHOLE[:cut]), "", False
    try:
        for start in range(0, len(second), step):
            sent += joint.feed(second[start : start + step])
        sent += joint.finish()
    except Diverged:
        refused = True
    assert (refused, sent) == (True, "")


def test_an_answer_that_begins_again_and_stops_short_is_not_a_continuation() -> None:
    with pytest.raises(Diverged):
        joined(WHOLE[:60], WHOLE[:30])


def chunk(**choice: object) -> Delta:
    return Delta.of({"choices": [{"index": 0, **choice}]})


@pytest.mark.parametrize(
    ("deltas", "text"),
    [
        ([chunk(delta={"role": "assistant", "content": ""}), chunk(delta={"content": "연차"})], "연차"),
        ([chunk(delta={"content": "연차"}), chunk(delta={"tool_calls": [{"index": 0}]})], None),
        ([chunk(delta={"content": "연차"}), chunk(delta={"reasoning_content": "흠"})], None),
        ([chunk(delta={"content": "연차"}, logprobs={"content": []})], None),
        ([chunk(delta={"content": "연차"}), chunk(delta={}, finish_reason="stop")], None),
        ([Delta.of({"choices": [{"index": 1, "delta": {"content": "둘째"}}]})], None),
    ],
)
def test_only_plain_unfinished_text_can_be_gone_on_with(deltas: list[Delta], text: str | None) -> None:
    assert text_of(deltas) == text


def test_the_request_for_the_rest_has_the_text_as_the_assistants_own_words() -> None:
    body = going_on({"model": "m", "messages": [{"role": "user", "content": "연차?"}], "seed": 1}, "연차는 1")
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "system"]
    assert body["messages"][1]["content"] == "연차는 1"
    assert body["seed"] == 1
