from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.chat import Evidence, Passage
from gateway.routing.doubting import Said
from gateway.routing.leads import agree, undecided, weights

LEAVE = Passage(
    "hr", "leave.md", "1", 0, "휴가", "",
    "- 정규직의 연차휴가는 1년에 16일이다.\n- 연차는 6일까지 이월된다.\n- 반차는 연차에서 뺀다.",
)  # fmt: skip
FOUND = Evidence((LEAVE,))
ASKED = "정규직 연차는 며칠인가요?"
RIGHT = Said("정규직의 연차휴가는 1년에 16일입니다 [doc1].", -0.3)
AGAIN = Said("1년에 16일의 연차휴가가 정규직에게 주어집니다 [doc1].", -0.3)
UNSURE = Said(AGAIN.text, -1.4)
BESIDE = Said("연차는 6일까지 이월됩니다 [doc1].", -0.1)
NOWHERE = Said("정규직의 연차휴가는 1년에 21일입니다 [doc1].", -0.1)
REFUSAL = Said("문서에서 찾을 수 없습니다.", -0.1)


def best(*said: Said) -> Said:
    found = weights(said, ASKED, FOUND)
    return said[max(range(len(said)), key=found.__getitem__)]


def test_of_answers_that_are_sure_the_one_that_others_agree_with_is_the_likeliest() -> None:
    assert best(BESIDE, RIGHT) == BESIDE
    assert best(BESIDE, RIGHT, AGAIN) == RIGHT
    assert best(NOWHERE, NOWHERE, UNSURE) == UNSURE
    assert best(REFUSAL, RIGHT) == RIGHT


@pytest.mark.parametrize(
    ("said", "opinions", "more"),
    [
        ([RIGHT], 0, False),
        ([RIGHT], 1, True),  # a second opinion is wanted
        ([RIGHT, AGAIN], 1, False),
        ([RIGHT, NOWHERE], 1, True),
        ([UNSURE], 0, True),
        ([REFUSAL], 0, True),  # nobody else finds nothing
        ([REFUSAL, REFUSAL], 1, False),
        ([RIGHT, BESIDE], 0, True),  # both are sure, and they contradict each other
        ([RIGHT, BESIDE, AGAIN], 1, False),
    ],
)
def test_one_more_is_asked_for_while_it_could_change_what_is_given(
    said: Sequence[Said], opinions: int, more: bool
) -> None:
    assert undecided(said, opinions, ASKED, FOUND) is more


def test_answers_agree_by_their_facts_and_without_facts_by_their_line() -> None:
    assert agree(RIGHT.text, AGAIN.text, FOUND)
    assert not agree(RIGHT.text, BESIDE.text, FOUND)
    assert agree("반차는 연차에서 뺍니다.", "반차를 쓰면 연차에서 뺀다고 합니다.", FOUND)
    assert not agree("반차는 연차에서 뺍니다.", RIGHT.text, FOUND)
    vpn = "VPN을 켜려면 온터널 아이콘을 누릅니다.", "VPN '온터널'의 신청 방법을 정합니다."
    assert not agree(*vpn, Evidence((replace(LEAVE, text="\n".join(vpn)),)))  # though words and a code are the same


def test_without_passages_everything_is_sure() -> None:
    assert not undecided([REFUSAL], 0, ASKED, Evidence())
