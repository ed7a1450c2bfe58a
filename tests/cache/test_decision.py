from __future__ import annotations

from gateway.cache.decision import GREY_SIMILARITY, StrictRule
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import key


def near(*found: tuple[str, str, float]) -> list[Neighbor]:
    return [Neighbor(CachedQuestion(text, key(answer)), cosine) for text, answer, cosine in found]


def test_what_is_neither_certain_nor_refused_is_offered_to_a_judge() -> None:
    kept = near(("연차는 20일인가요?", "20", 0.98), ("연차 며칠 나와요?", "leave", 0.93), ("연차란?", "what", 0.9))
    decision = StrictRule().decide("연차는 며칠인가요?", kept)
    assert (decision.neighbor, decision.grey) == (None, kept[1])


def test_a_judge_is_asked_neither_about_a_veto_nor_about_a_far_question() -> None:
    refused = near(("연차는 20일인가요?", "20", 0.97))
    far = near(("주차권은 어디서 받나요?", "parking", GREY_SIMILARITY - 0.01))
    for neighbors in (refused, far, []):
        assert StrictRule().decide("연차는 15일인가요?", neighbors).grey is None


def test_a_hit_leaves_nothing_to_judge() -> None:
    decision = StrictRule().decide("연차는 며칠 인가요", near(("연차는 며칠인가요?", "leave", 0.99)))
    assert (decision.neighbor is not None, decision.grey) == (True, None)
