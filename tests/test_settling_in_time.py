"""Settling where a time is promised: what is given when it is nearly up before all is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from gateway.chat import Answer, AnswerEvent, CacheOutcome, Delta, Opened, Send, ServedBy
from gateway.clock import Deadline
from gateway.metrics import Metrics
from gateway.settling import LAST_CALL_S, Matter, Settler
from tests.test_settling import CARRIED, OTHER, REFUSAL, RIGHT, WRONG, Model, Text, matter
from tests.virtual_time import run

PROMISE_S = 5.0


def played(of: Callable[[Deadline], Matter], model: Callable[[int, Send], Awaitable[Answer]]) -> tuple[str, float, str]:
    """What was given by half a minute, when it began, and how it was settled; "" and 0 where nothing was."""

    async def play() -> tuple[str, float, str]:
        clock = asyncio.get_running_loop().time
        heard: list[tuple[str, float]] = []

        def hear(event: AnswerEvent) -> None:
            if isinstance(event, Delta) and event.text:
                heard.append((event.text, clock()))

        held = of(Deadline.after(PROMISE_S, clock))
        settling = asyncio.create_task(Settler(Metrics()).settle(model, held, hear))
        await asyncio.sleep(30)
        settling.cancel()
        await asyncio.wait([settling])
        return ("".join(text for text, _ in heard), heard[0][1], held.result) if heard else ("", 0.0, "")

    return run(play())


@pytest.mark.parametrize(
    ("begun", "given"), [("연차휴가는 1년에 16일이며", True), ("연차휴가는 1년에 19일이며 ", False), ("", False)]
)
def test_what_is_borne_out_so_far_goes_and_nothing_else(begun: str, given: bool) -> None:
    async def model(number: int, send: Send) -> Answer:
        if number == 0:
            send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"))
            send(Delta(begun, {}, b""))
        await asyncio.Event().wait()
        raise AssertionError

    text, at, result = played(lambda due: matter(due=due), model)
    assert (text, result) == ((begun, "unfinished") if given else ("", ""))
    assert at == pytest.approx(PROMISE_S - LAST_CALL_S if given else 0.0)


@pytest.mark.parametrize(
    ("earlier", "contested", "told", "given", "result"),
    [
        (RIGHT, False, [OTHER], RIGHT, "earlier"),  # whether the other one outweighs it is not known yet
        (WRONG, False, [(CARRIED, -0.3)], CARRIED, "unfinished"),  # the documents refute it
        (OTHER, True, [RIGHT, REFUSAL], RIGHT, "unfinished"),
        (OTHER, True, [WRONG], "", ""),  # what no passage states waits for more
        (OTHER, True, [], "", ""),
    ],
)
def test_the_likeliest_so_far_is_given(
    earlier: str, contested: bool, told: Sequence[Text], given: str, result: str
) -> None:
    async def model(number: int, send: Send) -> Answer:
        if number in range(len(told)):
            return await Model(*told)(number, send)
        await asyncio.Event().wait()
        raise AssertionError

    text, at, settled = played(lambda due: replace(matter(earlier, witnesses=2, due=due), contested=contested), model)
    assert (text.split("\n\n")[0], settled) == (given, result)
    assert at == pytest.approx(PROMISE_S - LAST_CALL_S if given else 0.0)
