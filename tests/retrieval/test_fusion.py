from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.fusion import blend, fuse

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


scores = st.dictionaries(st.integers(0, 30), st.floats(0.01, 40), max_size=20)


@given(scores, scores)
def test_blended_scores_lie_between_none_and_both(words: dict[int, float], meaning: dict[int, float]) -> None:
    blended = blend(words, meaning)
    assert blended.keys() == words.keys() | meaning.keys()
    assert all(0 <= score <= 1 + 1e-9 for score in blended.values())


def test_far_ahead_by_words_is_not_outvoted_by_a_narrow_order_of_meanings() -> None:
    words = {"fits": 20.0, "b": 6.0, "c": 5.0}
    meaning = {"c": 0.861, "b": 0.86, "fits": 0.858, "d": 0.84}
    blended = blend(words, meaning)
    assert max(blended, key=lambda item: blended[item]) == "fits"


def test_meaning_decides_where_words_do_not() -> None:
    blended = blend({"a": 3.0, "b": 2.9}, {"b": 0.9, "a": 0.8})
    assert blended["b"] > blended["a"]


def test_few_words_in_common_do_not_outvote_meaning() -> None:
    """An English question over Korean documents shares "24" with one of them."""
    words = {"chance": 4.0}
    meaning = {"fits": 0.86, "near": 0.85, "chance": 0.8}
    assert max(blended := blend(words, meaning, share=0.05), key=lambda item: blended[item]) == "fits"
    assert max(blended := blend(words, meaning, share=0.6), key=lambda item: blended[item]) == "chance"


def test_meaning_counts_less_where_the_legs_agree_on_nothing_and_words_are_sure() -> None:
    words = {"fits": 9.0, "b": 5.0, "c": 4.0}
    random, sane = {"x": 0.9, "b": 0.85, "y": 0.8}, {"x": 0.9, "b": 0.85, "c": 0.8}
    assert blend(words, random, share=0.6)["x"] < blend(words, sane, share=0.6)["x"]
    assert blend(words, random, share=0.1)["x"] == blend(words, sane, share=0.1)["x"]


def test_words_alone_keep_their_order_and_meaning_alone_too() -> None:
    assert blend({"a": 3.0, "b": 1.5}, None) == {"a": 1.0, "b": 0.5}
    assert list(blend({}, {"a": 0.9, "b": 0.8})) == ["a", "b"]
    assert blend({}, {}) == {}
