"""Optional work may be late or fail; a request never does because of it."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from structlog.testing import capture_logs

from gateway import stages
from gateway.chat import CacheWishes, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.errors import StoreUnavailable, UpstreamBroken, UpstreamUnreachable
from gateway.metrics import Metrics
from gateway.stages import Stages, beside, ended, until
from tests.virtual_time import run


def context(seconds: float = 5.0) -> RequestContext:
    return RequestContext("id", Tenant("t"), Deadline.after(seconds), CacheWishes(), Timings())


async def fine() -> str:
    return "fine"


async def fails() -> str:
    raise RuntimeError("broken")


async def hangs() -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize(
    ("work", "got", "outcome"), [(fine, "fine", "ok"), (fails, "default", "failed"), (hangs, "default", "late")]
)
async def test_how_a_stage_ends_is_told_and_never_raised(work: object, got: str, outcome: str) -> None:
    ctx, stages = context(), Stages(Metrics())
    assert await stages.attempt(ctx, "s", work(), ctx.deadline.within(0.02), "default") == got  # type: ignore[operator]
    assert ctx.timings.stages["s"][1] == outcome


@pytest.mark.parametrize(
    ("error", "traced"),
    [(UpstreamUnreachable("no way"), False), (StoreUnavailable("away"), False), (RuntimeError("a mistake"), True)],
)
async def test_only_what_nobody_expected_is_logged_with_its_traceback(error: Exception, traced: bool) -> None:
    async def work() -> str:
        raise error

    ctx = context()
    with capture_logs() as lines:
        await Stages(Metrics()).attempt(ctx, "s", work(), ctx.deadline, "default")
    [line] = lines
    assert (line["event"], line["error"], line["exc_info"]) == ("stage failed", str(error), traced)


def test_work_at_once_is_told_and_never_raised_either() -> None:
    timings, stages = Timings(), Stages(Metrics())
    assert stages.at_once("id", timings, "s", lambda: "fine", "default") == "fine"
    assert timings.stages["s"][1] == "ok"
    assert stages.at_once("id", timings, "s", lambda: str(1 // 0), "default") == "default"
    assert timings.stages["s"][1] == "failed"


async def test_a_cancelled_request_cancels_its_stages() -> None:
    ctx, stages = context(), Stages(Metrics())
    task = asyncio.create_task(stages.attempt(ctx, "s", hangs(), ctx.deadline, "default"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ctx.timings.stages["s"][1] == "cancelled"


async def test_work_beside_a_block_ends_with_it_however_it_ends() -> None:
    tasks: list[asyncio.Task[str]] = []

    async def block() -> None:
        async with beside() as start:
            tasks.extend([start(hangs()), start(fails()), start(fine())])
            assert await tasks[2] == "fine"
            raise ValueError("out")

    with pytest.raises(ValueError, match="out"):
        await block()
    assert [task.cancelled() for task in tasks] == [True, False, False]


async def test_a_task_that_swallows_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CANCEL_AGAIN_S", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    async def broken() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise RuntimeError("at its end")

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    await ended(*tasks)
    assert swallowed == 3
    assert all(task.done() for task in tasks)


async def _after(seconds: float, value: int) -> int:
    await asyncio.sleep(seconds)
    return value


def test_once_one_is_enough_the_others_are_not_waited_for() -> None:
    async def given(*values: tuple[float, int]) -> tuple[list[int], float]:
        found = await until(lambda value: value < 0, *(_after(*each) for each in values))
        return found, asyncio.get_running_loop().time()

    assert run(given((3.0, 1), (1.0, 2))) == ([1, 2], 3.0)
    assert run(given((3.0, 1), (1.0, -2))) == ([-2], 1.0)
    assert run(given((1.0, 1), (2.0, -2), (3.0, 3))) == ([1, -2], 2.0)


def test_what_fails_before_one_is_enough_is_raised() -> None:
    async def failing() -> int:
        raise UpstreamBroken("judge broke")

    with pytest.raises(UpstreamBroken):
        run(until(lambda value: value < 0, _after(9.0, 1), failing()))


class _Owner:
    """As a race has its tasks: it knows one that works for it."""

    def __init__(self) -> None:
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        await asyncio.sleep(60)


async def test_a_task_that_was_ended_keeps_nobody_alive() -> None:
    """Without the garbage collector, which comes late and looks through all that the cache keeps."""
    gc.disable()
    try:
        owner = _Owner()
        await asyncio.sleep(0)
        await ended(owner.task)
        gone = weakref.ref(owner)
        del owner
        assert gone() is None
    finally:
        gc.enable()
