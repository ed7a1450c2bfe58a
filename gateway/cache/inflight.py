"""Coalescing: identical requests in flight share one production of the answer.

The flight belongs to the registry, not to whoever came first: the first caller may hang up while others listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType

from gateway.cache.exact import Found
from gateway.chat import AnswerEvent, Produce
from gateway.errors import Overloaded
from gateway.stages import ended
from gateway.values import dataclass


@dataclass(frozen=True, slots=True)
class Joined:
    """One listener's view of an answer being made."""

    batches: AsyncIterator[Sequence[AnswerEvent]]  # each all that has come since the last: fit for one write
    coalesced: bool  # True where the flight was already under way
    found: Found | None = None  # where no flight was needed: the exact cache had it


class Flight:
    """One production and the events it has sent so far. Late readers get them all, then follow."""

    def __init__(self, produce: Produce) -> None:
        self._events: list[AnswerEvent] = []
        self._error: Exception | None = None
        self._trace: TracebackType | None = None
        self._done = False
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # one for all readers
        self.readers = 0
        self.task = asyncio.create_task(self._run(produce))

    @property
    def done(self) -> bool:
        return self._done

    async def read(self) -> AsyncGenerator[Sequence[AnswerEvent], None]:
        """Every event from the first; then the producer's own error, if it failed."""
        seen = 0
        while True:
            if seen < len(self._events):
                batch = self._events[seen:]
                seen += len(batch)
                yield batch
            elif self._done:
                break
            else:
                await asyncio.shield(self._news)
        if self._error is not None:
            raise self._error.with_traceback(self._trace)  # one error, many readers: do not pile up their frames

    async def cancel(self) -> None:
        """End the production and wait for its end."""
        await ended(self.task)

    async def _run(self, produce: Produce) -> None:
        try:
            await produce(self._send)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._error = Overloaded("the gateway is shutting down; try again")
                raise
            self._error = RuntimeError("a task that the answer waited for was cancelled")  # a mistake of the gateway's
            self._error.__cause__ = cancelled
        except Exception as error:
            self._error, self._trace = error, error.__traceback__  # every reader raises it where the stream stands
        finally:
            self._done = True
            self._wake()

    def _send(self, event: AnswerEvent) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        if not news.done():
            news.set_result(None)


class Inflight:
    """The flights under way, by exact key."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._alone: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._flights) + len(self._alone)

    @asynccontextmanager
    async def join(self, key: str | None, produce: Produce) -> AsyncIterator[Joined]:
        """Listen to the flight under ``key``, starting it where there is none. ``None`` is never shared.

        The last listener to leave cancels a flight that still runs, and waits until it has stopped.
        """
        flight = self._flights.get(key) if key is not None else None
        coalesced = flight is not None
        if flight is None:
            flight = Flight(produce)
            self._register(key, flight)
        async with self._listening(key, flight) as batches:
            yield Joined(batches, coalesced)

    def under(self, key: str) -> Flight | None:
        """The flight that runs under ``key`` now."""
        return self._flights.get(key)

    @asynccontextmanager
    async def follow(
        self, key: str, flight: Flight | None
    ) -> AsyncIterator[AsyncIterator[Sequence[AnswerEvent]] | None]:
        """Listen to this very ``flight`` as one more listener; None where it is over.

        Another one under the same key is not joined: it may be waiting for the one that asks.
        """
        if flight is None or self._flights.get(key) is not flight or flight.done:
            yield None
            return
        async with self._listening(key, flight) as batches:
            yield batches

    @asynccontextmanager
    async def _listening(self, key: str | None, flight: Flight) -> AsyncIterator[AsyncIterator[Sequence[AnswerEvent]]]:
        flight.readers += 1
        events = flight.read()
        try:
            yield events
        finally:
            await events.aclose()
            flight.readers -= 1
            if flight.readers == 0:  # the last to leave turns off the light
                self._forget(key, flight)
                if not flight.task.done():
                    await flight.cancel()

    async def close(self) -> None:
        """Cancel whatever still runs; its listeners are told. For shutdown, after the drain."""
        flights = [*self._flights.values(), *self._alone]
        self._flights.clear()
        self._alone.clear()
        await ended(*(flight.task for flight in flights))

    def _register(self, key: str | None, flight: Flight) -> None:
        if key is None:
            self._alone.add(flight)
        else:
            self._flights[key] = flight
        flight.task.add_done_callback(lambda _task: self._forget(key, flight))

    def _forget(self, key: str | None, flight: Flight) -> None:
        self._alone.discard(flight)
        if key is not None and self._flights.get(key) is flight:
            del self._flights[key]
