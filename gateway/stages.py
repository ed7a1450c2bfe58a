"""Optional work: side by side, under a deadline, and never able to fail a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import structlog

from gateway.chat import RequestContext
from gateway.clock import Deadline, Timings
from gateway.errors import GatewayError, StoreUnavailable
from gateway.metrics import Metrics

log = structlog.get_logger()
T = TypeVar("T")
CANCEL_AGAIN_S = 2.0


class Stages:
    """Runs optional stages for requests and tells the metrics and the request's timings how each one ended."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def attempt(self, ctx: RequestContext, stage: str, work: Awaitable[T], deadline: Deadline, default: T) -> T:
        """Run an optional stage; a late or failing one yields ``default``.

        A cache or a document source may make an answer slower or plainer, never make it fail.
        """
        began = deadline.clock()
        outcome = "ok"
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                return await work
        except TimeoutError:
            outcome = "late"
            log.info("stage late", stage=stage, request_id=ctx.id)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            outcome = "failed"
            _tell_failed(stage, ctx.id, error)
        finally:
            seconds = deadline.clock() - began
            ctx.timings.record(stage, seconds, outcome)
            self._metrics.stage_ended(stage, outcome, seconds)
        return default

    def at_once(self, id: str, timings: Timings, stage: str, work: Callable[[], T], default: T) -> T:
        """``attempt`` for work that waits for nothing. ``id``: of the request."""
        began = timings.clock()
        outcome = "ok"
        try:
            return work()
        except Exception as error:
            outcome = "failed"
            _tell_failed(stage, id, error)
            return default
        finally:
            seconds = timings.clock() - began
            timings.record(stage, seconds, outcome)
            self._metrics.stage_ended(stage, outcome, seconds)


def _tell_failed(stage: str, id: str, error: Exception) -> None:
    """A provider or a store that does not answer is in no need of a traceback, at every request once more."""
    known = isinstance(error, GatewayError | StoreUnavailable)
    log.warning("stage failed", stage=stage, request_id=id, error=str(error), exc_info=not known)


class Start(Protocol):
    def __call__(self, work: Coroutine[Any, Any, T], /) -> asyncio.Task[T]: ...


@asynccontextmanager
async def beside() -> AsyncIterator[Start]:
    """Work started in the block runs beside it; what still runs at its end is cancelled and waited for."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        tasks.append(task)
        return task

    try:
        yield start
    finally:
        await ended(*tasks)


async def until(enough: Callable[[T], bool], *works: Coroutine[Any, Any, T]) -> list[T]:
    """What ``works`` give, begun at once and in their order; once one is enough, the others are not waited for and
    missing. Raises what the first to fail raises."""
    tasks = [asyncio.create_task(work) for work in works]
    given: dict[asyncio.Task[T], T] = {}
    try:
        running = set(tasks)
        while running and not any(map(enough, given.values())):
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            given |= {task: task.result() for task in done}
    finally:
        await ended(*tasks)
    return [given[task] for task in tasks if task in given]


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until they have stopped; what they raise is theirs.

    A library that is interrupted in the midst of its own timeout can swallow a cancellation (seen with redis-py under
    load), so whoever goes on is told again.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        # Seen: no warning when it is collected. And a cancelled task lets go of its error, by which it keeps all frames
        # that the error went through, often its own owner among them, until the garbage collector comes.
        with suppress(asyncio.CancelledError):
            task.exception()
