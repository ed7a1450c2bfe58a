from __future__ import annotations

from gateway.cache.reviews import Review, ReviewKind, Reviews
from tests.cache.makers import Wall, entry, key


def test_reviews_are_listed_newest_first_and_bounded() -> None:
    heard: list[Review] = []
    reviews = Reviews(2, on_add=heard.append, wall_clock=Wall())
    for name in "abc":
        reviews.add(ReviewKind.FLIP, entry(key(name)), entry(key(name), "11일입니다."), "numbers")
    assert [r.entry.key.digest for r in reviews.waiting()] == ["c", "b"]
    assert len(heard) == 3


def test_the_same_disagreement_is_one_review_that_was_seen_again() -> None:
    reviews = Reviews(wall_clock=Wall())
    for _ in range(3):
        review = reviews.add(ReviewKind.FLIP, entry(key("a")), entry(key("a"), "11일입니다."), "numbers")
    assert (len(reviews), review.seen) == (1, 3)
    assert reviews.counts()[ReviewKind.FLIP] == 1


def test_a_settled_review_is_gone_and_tenants_see_their_own() -> None:
    reviews = Reviews(wall_clock=Wall())
    mine = reviews.add(ReviewKind.FLIP, entry(key("a")), entry(key("b")), "names")
    reviews.add(ReviewKind.FLIP, entry(key("a", tenant="globex")), entry(key("b", tenant="globex")), "names")
    assert len(reviews.waiting("acme")) == len(reviews.waiting("globex")) == 1
    assert reviews.settle(mine.id) == mine
    assert reviews.settle(mine.id) is None
    assert len(reviews) == 1
