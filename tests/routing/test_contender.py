"""An answer that takes part in a race, by itself."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from gateway.chat import Answer, AnswerEvent, Closed, Delta, Send
from gateway.routing.contender import Big, Contender

EVENTS: list[AnswerEvent] = [Delta("15일", {}, b"{}"), Delta("입니다", {}, b"{}"), Closed(Answer((), "m"))]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("spoken_after", range(len(EVENTS) + 1))
async def test_all_is_given_and_nothing_left_to_the_garbage_collector(spoken_after: int, no_collector: None) -> None:
    given: list[AnswerEvent] = []

    def give(_: Contender, event: AnswerEvent) -> None:
        given.append(event)

    async def ask(send: Send) -> None:
        for number, event in enumerate(EVENTS):
            if number == spoken_after:
                spoken.set()
                await asyncio.sleep(0)
            send(event)

    spoken = asyncio.Event()
    contender = Contender(asyncio.Event())
    running = asyncio.create_task(contender.run(ask))
    await (running if spoken_after == len(EVENTS) else spoken.wait())
    contender.speak(partial(give, contender))  # as a race does it: what it says goes by who says it
    await running
    assert (given, contender.state) == (EVENTS, Big.DONE)
    left = weakref.ref(contender)
    del contender, running
    assert left() is None
