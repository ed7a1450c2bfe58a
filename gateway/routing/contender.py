"""One answer of the big model that takes part in a race: kept back until it may speak."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

from gateway.chat import AnswerEvent, Closed, Delta, Send
from gateway.errors import GatewayError, UpstreamBroken


class Big(StrEnum):
    IDLE = "idle"
    RUNNING = "running"
    TALKING = "talking"  # its first content token is here
    SURE = "sure"  # its first sentence is whole and likely enough right
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"  # the provider says that the request is wrong: so it would be at any time


class Reading(StrEnum):
    """What is known of an answer by as much of it as is there."""

    OPEN = "open"
    DOUBTFUL = "doubtful"  # it will not be sure, whatever it says yet
    UNLIKELY = "unlikely"  # it will be more likely wrong than right, whatever it says yet
    AGREED = "agreed"  # it is sure, before its first sentence is whole
    WHOLE = "whole"  # its first sentence is: it can be judged


class Contender:
    """The big model's events: kept back until it may speak, then passed straight on."""

    def __init__(
        self,
        news: asyncio.Event,
        read: Callable[[str, float | None], Reading] = lambda text, lowest: Reading.OPEN,
    ) -> None:
        """``read``: a text that has begun, and its lowest log-probability. What changes is news."""
        self.state = Big.RUNNING
        self.error: GatewayError | None = None
        self.told = ""  # its text until its first sentence was whole: as much as is judged
        self.lowest: float | None = None  # log-probability of these tokens, where that is known
        self.reading = Reading.OPEN
        self.task: asyncio.Task[None] | None = None
        self._reads = read
        self._news = news
        self._held: list[AnswerEvent] = []
        self._out: Send | None = None

    def start(self, ask: Callable[[Send], Awaitable[object]]) -> None:
        """Whoever starts it ends it."""
        self.task = asyncio.create_task(self.run(ask))

    async def over(self) -> None:
        """Until it has ended; its error is not raised."""
        if self.task is not None:
            await asyncio.wait([self.task])

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def run(self, ask: Callable[[Send], Awaitable[object]]) -> None:
        try:
            await ask(self._hear)
        except GatewayError as error:
            self.error = error
        finally:
            self.reading = Reading.WHOLE
            self._out = None  # which may know this contender: together they would wait for the garbage collector
            if self.state is not Big.DONE:
                self.error = self.error or UpstreamBroken("the answer stopped in the middle")
                self.state = Big.FAILED if getattr(self.error, "retryable", True) else Big.REFUSED
            self._news.set()

    def speak(self, out: Send) -> None:
        if self.state in {Big.RUNNING, Big.TALKING}:
            self._out = out
        for event in self._held:
            out(event)
        self._held.clear()

    def _hear(self, event: AnswerEvent) -> None:
        if self._out is not None:
            self._out(event)
        else:
            self._held.append(event)
            if isinstance(event, Delta) and self.reading is not Reading.WHOLE:
                self._read(event)
            elif isinstance(event, Closed):
                self.reading = Reading.WHOLE
        state = Big.DONE if isinstance(event, Closed) else Big.TALKING
        if state is not self.state:
            self.state = state
            self._news.set()

    def _read(self, event: Delta) -> None:
        self.told += event.text
        if event.logprob is not None:
            self.lowest = min(event.logprob, self.lowest or 0.0)
        reading = self._reads(self.told, self.lowest)
        if reading is not self.reading:
            self.reading = reading
            self._news.set()
