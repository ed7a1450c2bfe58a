"""Who may follow whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.cache.inflight import Flight, Inflight
from gateway.cache.twins import AFTER_S, Twins
from gateway.chat import Send
from tests.cache.makers import Wall, key, unit


async def never(send: Send) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def flight() -> AsyncIterator[Flight]:
    made = Flight(never)
    yield made
    await made.cancel()


async def test_a_question_follows_only_earlier_ones_of_its_scope(flight: Flight) -> None:
    twins = Twins(Wall())
    with (
        twins.entered("a", key("a"), unit(1, 0), "fa", flight) as a,
        twins.entered("b", key("b"), unit(1, 0.1), "fb", flight) as b,
        twins.entered("x", key("x", "6d"), unit(1, 0), "fx", flight) as x,
        twins.entered("c", key("c"), unit(0, 1), "fc", flight) as c,
    ):
        assert twins.before(a) == twins.before(x) == []
        assert [n.flying for n in twins.before(b)] == [a]
        assert [n.flying for n in twins.before(c)] == [b, a]
        twins.withdraw(b)
        assert [n.flying for n in twins.before(c)] == [a]


async def test_what_has_ended_is_found_a_moment_longer(flight: Flight) -> None:
    clock = Wall(0.0)
    twins = Twins(clock)
    with twins.entered("a", key("a"), unit(1, 0), "fa", flight) as a:
        pass
    with twins.entered("b", key("b"), unit(1, 0), "fb", flight) as b:
        assert [n.flying for n in twins.before(b)] == [a]
        clock.now += AFTER_S + 0.1
        assert twins.before(b) == []


async def test_nothing_is_left_of_a_scope_that_is_never_asked_again(flight: Flight) -> None:
    clock = Wall(0.0)
    twins = Twins(clock)
    for turn in range(10):
        with twins.entered("a", key("a", f"{turn}d"), unit(1, 0), "fa", flight):
            clock.now += AFTER_S
    assert len(twins) == 1


async def test_another_embedders_vectors_are_not_compared(flight: Flight) -> None:
    twins = Twins(Wall())
    with (
        twins.entered("a", key("a"), unit(1, 0), "fa", flight),
        twins.entered("b", key("b"), unit(1, 0, 0), "fb", flight) as b,
    ):
        assert twins.before(b) == []


async def test_a_later_flight_of_the_same_question_is_not_followed() -> None:
    """It may itself follow the one that asks, and the two would wait for each other for ever."""
    flights = Inflight()
    async with flights.join("a", never):
        earlier = flights.under("a")
        assert earlier is not None
    async with flights.join("a", never):
        later = flights.under("a")
        assert later is not None
        async with flights.follow("a", earlier) as batches:
            assert batches is None
        async with flights.follow("a", later) as batches:
            assert batches is not None
            assert later.readers == 2
        assert later.readers == 1
