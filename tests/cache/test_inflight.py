from __future__ import annotations

import asyncio

import pytest

from gateway.cache.inflight import Inflight, Joined
from gateway.chat import AnswerEvent, CacheOutcome, Closed, Delta, Opened, Produce, Send, ServedBy
from gateway.errors import Overloaded, UpstreamBroken
from tests.cache.makers import answer

WORDS = ["연차는 ", "15", "일", "입니다. ", "\u1112\u1161\u11ab"]


class Provider:
    """Counts its calls and answers word by word, each when ``step`` is released."""

    def __init__(self, error: Exception | None = None, patient: bool = False) -> None:
        self.calls = 0
        self.cancelled = 0
        self.step = asyncio.Semaphore(0 if patient else 1_000)
        self.error = error

    async def __call__(self, send: Send) -> None:
        self.calls += 1
        try:
            send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"))
            for word in WORDS:
                await self.step.acquire()
                send(Delta(word, {}, b""))
            if self.error is not None:
                raise self.error
            send(Closed(answer("".join(WORDS))))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def listen(inflight: Inflight, key: str | None, produce: Produce) -> str:
    async with inflight.join(key, produce) as joined:
        return await text_of(joined)


async def text_of(joined: Joined) -> str:
    return "".join([e.text async for batch in joined.batches for e in batch if isinstance(e, Delta)])


async def test_a_thousand_twins_cost_one_call() -> None:
    inflight, provider = Inflight(), Provider()
    texts = await asyncio.gather(*(listen(inflight, "k", provider) for _ in range(1_000)))
    assert set(texts) == {"".join(WORDS)}
    assert provider.calls == 1
    assert len(inflight) == 0


async def test_a_late_joiner_hears_everything_from_the_start() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    first = asyncio.create_task(listen(inflight, "k", provider))
    provider.step.release()
    provider.step.release()
    await asyncio.sleep(0.01)
    late = asyncio.create_task(listen(inflight, "k", provider))
    await asyncio.sleep(0.01)
    for _ in WORDS:
        provider.step.release()
    assert await first == await late == "".join(WORDS)
    assert provider.calls == 1


async def test_only_those_who_join_a_flight_are_told_so() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    async with inflight.join("k", provider) as leader, inflight.join("k", provider) as follower:
        assert (leader.coalesced, follower.coalesced) == (False, True)


async def test_a_cancelled_task_within_is_no_shutdown() -> None:
    async def produce(send: Send) -> None:
        inner = asyncio.create_task(asyncio.sleep(10))
        inner.cancel()
        await inner

    with pytest.raises(RuntimeError) as told:
        await listen(Inflight(), "k", produce)
    assert isinstance(told.value.__cause__, asyncio.CancelledError)


async def test_no_key_is_never_shared() -> None:
    inflight, provider = Inflight(), Provider()
    await asyncio.gather(*(listen(inflight, None, provider) for _ in range(5)))
    assert provider.calls == 5


async def test_the_flight_outlives_its_leader() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    leader = asyncio.create_task(listen(inflight, "k", provider))
    await asyncio.sleep(0.01)
    follower = asyncio.create_task(listen(inflight, "k", provider))
    await asyncio.sleep(0.01)
    leader.cancel()
    for _ in WORDS:
        provider.step.release()
    assert await follower == "".join(WORDS)
    assert provider.cancelled == 0


async def test_the_last_to_leave_cancels_at_once() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    listeners = [asyncio.create_task(listen(inflight, "k", provider)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for listener in listeners:
        listener.cancel()
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*listeners, return_exceptions=True)
    assert asyncio.get_running_loop().time() - began < 0.1
    assert provider.cancelled == 1
    assert len(inflight) == 0


async def test_a_failure_reaches_every_reader_where_the_stream_stands() -> None:
    inflight, error = Inflight(), UpstreamBroken("the answer stopped in the middle")
    provider = Provider(error)
    heard: list[list[AnswerEvent]] = []

    async def reader() -> None:
        events: list[AnswerEvent] = []
        heard.append(events)
        async with inflight.join("k", provider) as joined:
            async for batch in joined.batches:
                events += batch

    results = await asyncio.gather(*(reader() for _ in range(20)), return_exceptions=True)
    assert all(result is error for result in results)
    assert {len(events) for events in heard} == {1 + len(WORDS)}
    assert provider.calls == 1


async def test_a_failed_flight_is_not_joined_again() -> None:
    inflight = Inflight()
    with pytest.raises(UpstreamBroken):
        await listen(inflight, "k", Provider(UpstreamBroken("x")))
    assert await listen(inflight, "k", Provider()) == "".join(WORDS)


async def test_a_finished_flight_is_not_joined_even_while_someone_still_reads_it() -> None:
    inflight, provider = Inflight(), Provider()
    async with inflight.join("k", provider) as slow:
        await asyncio.sleep(0.01)
        assert await listen(inflight, "k", provider) == "".join(WORDS)
        assert await text_of(slow) == "".join(WORDS)
    assert provider.calls == 2


async def test_a_reader_that_stops_early_leaves_the_rest_to_others() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    other = asyncio.create_task(listen(inflight, "k", provider))
    async with inflight.join("k", provider) as joined:
        async for _ in joined.batches:
            break
    for _ in WORDS:
        provider.step.release()
    assert await other == "".join(WORDS)


async def test_closing_tells_the_listeners() -> None:
    inflight, provider = Inflight(), Provider(patient=True)
    listener = asyncio.create_task(listen(inflight, "k", provider))
    await asyncio.sleep(0.01)
    await inflight.close()
    with pytest.raises(Overloaded):
        await listener
    assert provider.cancelled == 1
