from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.fusion import fuse

rankings = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), max_size=4)


def test_agreement_beats_a_single_first_place() -> None:
    assert [item for item, _ in fuse([["a", "b"], ["b", "c"]])] == ["b", "a", "c"]


def test_equal_scores_are_ordered_by_the_tie_rule_else_by_appearance() -> None:
    assert [item for item, _ in fuse([["b"], ["a"]])] == ["b", "a"]
    assert [item for item, _ in fuse([["b"], ["a"]], tie=str)] == ["a", "b"]


def test_weights_move_the_balance() -> None:
    assert fuse([["a"], ["b"]], weights=[1.0, 2.0])[0][0] == "b"


@given(rankings)
def test_every_item_comes_once_and_scores_fall(given: list[list[int]]) -> None:
    fused = fuse(given)
    assert sorted(item for item, _ in fused) == sorted({item for ranking in given for item in ranking})
    assert all(a >= b for (_, a), (_, b) in pairwise(fused))


@given(rankings)
def test_with_a_tie_rule_the_order_of_rankings_does_not_matter(given: list[list[int]]) -> None:
    def rounded(fused: list[tuple[int, float]]) -> dict[int, float]:
        return {item: round(score, 12) for item, score in fused}

    assert rounded(fuse(given, tie=int)) == rounded(fuse(given[::-1], tie=int))
