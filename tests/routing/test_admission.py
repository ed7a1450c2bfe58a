"""Who may start, who waits, who is refused: crowds before real routers, on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.chat import Deployment
from gateway.errors import Overloaded
from gateway.metrics import Metrics
from gateway.routing import attempts
from gateway.routing.admission import OVERLOADED_WAIT_S, Line, Slot
from gateway.routing.deployments import SET_ASIDE_S, Health
from tests.routing.crowd import MEAN_S, Ended, Places, Town, goodput, quantile
from tests.virtual_time import run

FOUR = 4
PLACES = 8
CAPACITY = FOUR * PLACES / MEAN_S  # calls a second


def four() -> dict[str, Places]:
    return {name: Places(PLACES) for name in "abcd"}


async def phases(seed: int, *loads: float, for_s: float = 60.0) -> tuple[Town, list[list[Ended]]]:
    """Crowds of ``loads`` times the capacity, one after the other."""
    town = Town(four(), seed)
    found = []
    for load in loads:
        found.append(await town.crowd(load * CAPACITY, for_s))
        await asyncio.sleep(10)
    return town, found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_twice_the_capacity_as_much_is_done_in_time_as_there_is_room_for(seed: int) -> None:
    _, [half, most, double] = run(phases(seed, 0.5, 0.9, 2.0))
    assert not [e for e in half if e.error == "overloaded"]
    assert goodput(most, CAPACITY, 60) >= 0.9 * min(1.0, len(most) / 60 / CAPACITY)
    assert goodput(double, CAPACITY, 60) >= 0.9
    refusals = [e.seconds for e in double if e.error == "overloaded"]
    assert quantile(refusals, 0.99) <= 0.05


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("load", [2.0, 4.0])
def test_a_crowd_at_a_gateway_that_knows_nothing_yet_is_soon_served_as_well(seed: int, load: float) -> None:
    async def play() -> list[Ended]:
        return await Town(four(), seed).crowd(load * CAPACITY, 60)

    last = [e for e in run(play()) if e.at >= 30]
    assert goodput(last, CAPACITY, 30) >= 0.9


@pytest.mark.parametrize("meant", [True, False])
def test_where_all_asked_to_be_left_alone_one_call_tests_that_and_the_others_wait_for_it(meant: bool) -> None:
    async def play() -> tuple[list[Ended], int, float]:
        town = Town({name: Places(50, stall_rate=0.0, refuses=meant) for name in "ab"})
        for health in town.deployments:
            health.failed(asyncio.get_running_loop().time(), 20.0)
        await asyncio.sleep(1.0)
        burst = await asyncio.gather(*(town.ask() for _ in range(10)))
        return burst, town.upstream.calls, max(ended.seconds for ended in burst)

    burst, calls, longest_s = run(play())
    if meant:
        assert {ended.error for ended in burst} == {"upstream_rejected", "overloaded"}
        assert calls == 1
        assert longest_s < 0.2  # as long as the one took to be refused
    else:
        assert not [ended for ended in burst if ended.error]


def test_a_deployment_that_is_dead_is_told_of_at_once_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_WAIT_S", SET_ASIDE_S + 1)  # on a real clock some of those seconds have passed

    async def play() -> list[Ended]:
        town = Town({"a": Places(1, dead=True)}, deadline_s=60.0)
        return [await town.ask() for _ in range(5)]

    asks = run(play())
    assert {ended.error for ended in asks} == {"upstream_unreachable"}
    assert max(ended.seconds for ended in asks) < 1.0  # waits for no end of its being set aside


@pytest.mark.parametrize("seed", [1, 2])
def test_without_limit_and_queue_the_same_crowd_gets_far_less(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Health, "has_room", lambda self, now: self.state(now) == 0)
    _, [double] = run(phases(seed, 2.0))
    assert goodput(double, CAPACITY, 60) < 0.6


@pytest.mark.parametrize("seed", [1, 2])
def test_a_quiet_gateway_never_refuses_and_never_learns_a_limit(seed: int) -> None:
    town, [quiet] = run(phases(seed, 0.3, for_s=200))
    assert not [e for e in quiet if e.error == "overloaded"]
    assert all(h.limit.value == float("inf") for h in town.deployments)


def test_callers_with_too_little_time_for_an_answer_do_not_set_deployments_aside() -> None:
    async def play() -> tuple[Town, list[Ended]]:
        town = Town(four(), 1, deadline_s=1.5)
        return town, await town.crowd(0.3 * CAPACITY, 60)

    town, ended = run(play())
    assert sum(e.error == "upstream_timeout" for e in ended) > 0.5 * len(ended)
    assert all(h.aside_until == 0.0 for h in town.deployments)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_greedy_tenant_does_not_push_out_a_modest_one(seed: int) -> None:
    async def play() -> list[Ended]:
        town = Town(four(), seed)
        await town.crowd({"greedy": 2 * CAPACITY}, 30)  # by then limits are known
        return await town.crowd({"greedy": 2 * CAPACITY, "modest": 0.2 * CAPACITY}, 60)

    ended = run(play())

    def served(tenant: str) -> float:
        mine = [e for e in ended if e.tenant == tenant]
        return sum(e.error != "overloaded" for e in mine) / len(mine)

    assert served("modest") >= 0.95
    assert served("greedy") < 0.7


def line(places: int, *, whole_s: float = 1.0, max_wait_s: float = 5.0) -> Line:
    one = Health(Deployment("d", "openai", "", ""))
    one.limit.learned = float(places)
    one.pace.whole_s = whole_s
    return Line("m", [one], asyncio.get_running_loop().time, Metrics(("m",)), max_wait_s)


async def enter(here: Line, tenant: str = "t", left_s: float = 60.0) -> Slot:
    one = here.pool[0]
    clock = asyncio.get_running_loop().time
    return await here.enter(lambda: one if one.has_room(clock()) else None, tenant, left_s)


def test_one_that_cannot_be_done_in_time_is_refused_at_once_with_a_time_to_come_back() -> None:
    async def play() -> float:
        here = line(4, whole_s=4.0)
        for _ in range(4):
            await enter(here)
        with pytest.raises(Overloaded) as refused:
            await enter(here, left_s=3.0)  # shorter than a call takes
        assert refused.value.retry_after_s is not None
        assert refused.value.retry_after_s >= 1
        return asyncio.get_running_loop().time()

    assert run(play()) == 0.0


def test_a_caller_who_leaves_the_line_takes_no_room_with_him() -> None:
    async def play() -> None:
        here = line(4)
        slots = [await enter(here) for _ in range(4)]
        hasty, patient = asyncio.create_task(enter(here)), asyncio.create_task(enter(here))
        await asyncio.sleep(0.1)
        assert here.length == 2
        hasty.cancel()
        await asyncio.wait([hasty])
        assert here.length == 1
        here.leave(slots[0])
        await patient
        assert (here.length, here.pool[0].in_flight) == (0, 4)

    run(play())


def test_room_that_comes_at_the_moment_its_caller_leaves_is_not_lost() -> None:
    async def play() -> None:
        here = line(4)
        slots = [await enter(here) for _ in range(4)]
        hasty = asyncio.create_task(enter(here))
        await asyncio.sleep(0.1)
        here.leave(slots[0])  # granted
        hasty.cancel()  # and gone, before it could look
        await asyncio.wait([hasty])
        assert here.pool[0].in_flight == 3

    run(play())


def test_in_an_overload_whoever_has_his_share_is_sent_away_soon_and_others_are_not() -> None:
    async def play() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        here = line(4, whole_s=0.1)
        for _ in range(4):
            await enter(here, "greedy")
        first = asyncio.create_task(enter(here, "greedy"))
        await asyncio.sleep(2)
        began = loop.time()
        with pytest.raises(Overloaded):
            await enter(here, "greedy")
        took = loop.time() - began
        modest = asyncio.create_task(enter(here, "modest"))
        await asyncio.sleep(1)
        waiting = not modest.done()
        for task in (first, modest):
            task.cancel()
        await asyncio.wait([first, modest])
        return took, waiting

    took, waiting = run(play())
    assert took <= OVERLOADED_WAIT_S + 1e-6
    assert waiting


def test_room_goes_to_the_tenant_with_the_fewest_calls_first_come_first() -> None:
    async def play() -> list[str]:
        here = line(4)
        slots = [await enter(here, "greedy") for _ in range(4)]
        order: list[str] = []

        async def want(tenant: str, name: str) -> None:
            await enter(here, tenant)
            order.append(name)

        tasks = [asyncio.create_task(want(*who)) for who in
                 (("greedy", "g1"), ("greedy", "g2"), ("modest", "m1"), ("modest", "m2"))]  # fmt: skip
        await asyncio.sleep(0.01)
        for slot in slots:
            here.leave(slot)
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        return order

    assert run(play()) == ["m1", "m2", "g1", "g2"]


@settings(max_examples=60)
@example(4, [(0.0, "a", 1.0, 0.5, False)] * 6)  # room comes free in the very instant in which the patience of two ends
@given(
    st.integers(4, 9),
    st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from("abc"), st.floats(0.05, 8), st.floats(0.01, 2), st.booleans()),
        min_size=1, max_size=40,
    ),
)  # fmt: skip
def test_whatever_comes_there_are_never_more_than_the_limit_and_nobody_is_forgotten(
    places: int, callers: list[tuple[float, str, float, float, bool]]
) -> None:
    """Callers: when they come, who, how long they may take, how long their call takes, whether they leave midway."""

    async def play() -> None:
        here = line(places, whole_s=0.5)
        loop = asyncio.get_running_loop()

        async def call(at: float, tenant: str, left_s: float, takes_s: float, leaves: bool) -> None:
            await asyncio.sleep(at)
            began = loop.time()
            try:
                async with asyncio.timeout(left_s / 3 if leaves else None):
                    slot = await enter(here, tenant, left_s)
                    try:
                        assert here.pool[0].in_flight <= places
                        await asyncio.sleep(takes_s)
                    finally:
                        here.leave(slot)
            except TimeoutError:
                assert leaves
            except Overloaded:
                assert loop.time() - began <= min(left_s, here.max_wait_s) + 1e-6

        await asyncio.gather(*(call(*caller) for caller in callers))
        assert (here.length, here.pool[0].in_flight, dict(here.running), here.waiting) == (0, 0, {}, {})

    run(play())
