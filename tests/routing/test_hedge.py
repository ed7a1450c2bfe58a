"""A second call beside a late first one, on a virtual clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gateway.routing.hedge import Claim, Lost, hedged
from tests.virtual_time import run


@dataclass
class Two:
    """Two calls: seconds to the first content (None: an error instead after that long) and from there to the end."""

    first_s: float
    second_s: float
    rest_s: float = 1.0
    first_fails: bool = False
    second_fails: bool = False
    allowed: bool = True
    started: list[str] = field(default_factory=list)
    cut: list[tuple[str, float]] = field(default_factory=list)

    async def play(self) -> tuple[str, float]:
        loop = asyncio.get_running_loop()

        async def call(name: str, wait_s: float, fails: bool, claim: Claim) -> str:
            self.started.append(name)
            try:
                await asyncio.sleep(wait_s)
                if fails:
                    raise ValueError(name)
                if not claim():
                    raise Lost
                await asyncio.sleep(self.rest_s)
                return name
            except asyncio.CancelledError:
                self.cut.append((name, loop.time()))
                raise

        result = await hedged(
            lambda claim: call("first", self.first_s, self.first_fails, claim),
            lambda claim: call("second", self.second_s, self.second_fails, claim),
            2.0,
            lambda: self.allowed,
        )
        return result, loop.time()


def test_a_first_that_is_in_time_stays_alone() -> None:
    two = Two(1.0, 0.1)
    assert run(two.play()) == ("first", 2.0)
    assert two.started == ["first"]


def test_the_second_wins_and_the_first_is_cut_at_once() -> None:
    two = Two(9.0, 0.5)
    assert run(two.play()) == ("second", 3.5)
    assert two.cut == [("first", 2.5)]


def test_the_first_may_still_win() -> None:
    two = Two(2.5, 3.0)
    assert run(two.play()) == ("first", 3.5)
    assert two.cut == [("second", 2.5)]


def test_both_at_the_same_instant_is_one_winner() -> None:
    two = Two(3.0, 1.0)
    result, seconds = run(two.play())
    assert result in {"first", "second"}
    assert seconds == 4.0


def test_no_allowance_no_second() -> None:
    two = Two(9.0, 0.5, allowed=False)
    assert run(two.play()) == ("first", 10.0)
    assert two.started == ["first"]


def test_one_that_fails_leaves_it_to_the_other() -> None:
    assert run(Two(4.0, 3.0, first_fails=True).play()) == ("second", 6.0)
    assert run(Two(4.0, 0.5, second_fails=True).play()) == ("first", 5.0)


def test_where_both_fail_the_first_error_counts() -> None:
    with pytest.raises(ValueError, match="first"):
        run(Two(4.0, 0.5, first_fails=True, second_fails=True).play())


def test_an_early_failure_is_not_hedged() -> None:
    two = Two(0.5, 0.5, first_fails=True)
    with pytest.raises(ValueError, match="first"):
        run(two.play())
    assert two.started == ["first"]
