"""Who may follow whom."""

from __future__ import annotations

from gateway.cache.twins import AFTER_S, Twins
from tests.cache.makers import Wall, key, unit


def test_a_question_follows_only_earlier_ones_of_its_scope() -> None:
    twins = Twins(Wall())
    with (
        twins.entered("a", key("a"), unit(1, 0), "fa") as a,
        twins.entered("b", key("b"), unit(1, 0.1), "fb") as b,
        twins.entered("x", key("x", "6d"), unit(1, 0), "fx") as x,
        twins.entered("c", key("c"), unit(0, 1), "fc") as c,
    ):
        assert twins.before(a) == twins.before(x) == []
        assert [n.flying for n in twins.before(b)] == [a]
        assert [n.flying for n in twins.before(c)] == [b, a]
        twins.withdraw(b)
        assert [n.flying for n in twins.before(c)] == [a]


def test_what_has_ended_is_found_a_moment_longer() -> None:
    clock = Wall(0.0)
    twins = Twins(clock)
    with twins.entered("a", key("a"), unit(1, 0), "fa") as a:
        pass
    with twins.entered("b", key("b"), unit(1, 0), "fb") as b:
        assert [n.flying for n in twins.before(b)] == [a]
        clock.now += AFTER_S + 0.1
        assert twins.before(b) == []


def test_another_embedders_vectors_are_not_compared() -> None:
    twins = Twins(Wall())
    with (
        twins.entered("a", key("a"), unit(1, 0), "fa"),
        twins.entered("b", key("b"), unit(1, 0, 0), "fb") as b,
    ):
        assert twins.before(b) == []
