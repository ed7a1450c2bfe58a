"""Load from raw connections: closed loop (as fast as answers come) and open loop (at given times, whatever happens)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import cast
from urllib.parse import urlsplit

POOL = 512  # connections of the open loop
LONGEST_PACED_S = 60.0
Done = Callable[[float], None]  # seconds of one finished answer
Requests = Callable[[], bytes]  # the next request


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._began = 0.0
        self._needed = -1  # bytes of the answer; -1 unknown yet, -2 chunked
        self._done: Done = lambda seconds: None
        self.failed = False
        self.lost = ""  # why the connection ended
        self.pieces: list[float] = []  # when each read of the current answer came
        self.timed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = True
        self.lost = f"closed by the other side ({exc})"

    def send(self, request: bytes, done: Done, began: float | None = None) -> None:
        assert self._transport is not None
        self._done, self._needed = done, -1
        self._began = time.perf_counter() if began is None else began
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.timed:
            self.pieces.append(time.perf_counter())
        if self._needed == -1:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            if not self._buffer.startswith(b"HTTP/1.1 200"):
                self.failed = True
            lower = bytes(self._buffer[:head]).lower()
            at = lower.find(b"content-length:")
            self._needed = head + 4 + int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else -2
        whole = self._buffer.endswith(b"\r\n0\r\n\r\n") if self._needed == -2 else len(self._buffer) >= self._needed
        if whole:
            self._buffer.clear()
            self._done(time.perf_counter() - self._began)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Sample:
    """Answers of one segment: seconds each, and how long the segment took."""

    seconds: list[float]
    elapsed_s: float

    @property
    def rps(self) -> float:
        return len(self.seconds) / self.elapsed_s

    def percentile_ms(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else float("nan")


def request_bytes(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer bench-key\r\n{more}content-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def closed_loop(url: str, requests: Requests, connections: int, for_s: float) -> Sample:
    """Every connection asks again as soon as it is answered."""
    opened = await _open(url, connections)
    seconds: list[float] = []
    end = time.perf_counter() + for_s

    def again(connection: Connection) -> Done:
        def done(took: float) -> None:
            seconds.append(took)
            if time.perf_counter() < end:
                connection.send(requests(), again_of[connection])

        return done

    again_of = {connection: again(connection) for connection in opened}
    began = time.perf_counter()
    for connection in opened:
        connection.send(requests(), again_of[connection])
    await asyncio.sleep(for_s)
    elapsed = time.perf_counter() - began
    _check(opened)
    return Sample(seconds, elapsed)


async def open_loop(url: str, requests: Requests, rate: float, for_s: float, seed: int) -> Sample:
    """Poisson arrivals; an answer's time counts from when it was due, so a stall is not hidden by waiting for it."""
    rng = random.Random(seed)
    free = await _open(url, POOL)
    all_of_them = list(free)
    seconds: list[float] = []
    began = time.perf_counter()
    due = began
    while (due := due + rng.expovariate(rate)) < began + for_s:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if not free:
            raise RuntimeError(f"more than {POOL} answers are outstanding: the target cannot take this rate")
        connection = free.pop()

        def done(took: float, connection: Connection = connection) -> None:
            seconds.append(took)
            free.append(connection)

        connection.send(requests(), done, due)
    elapsed = time.perf_counter() - began
    while len(free) < POOL and time.perf_counter() - began < for_s + 10:  # noqa: ASYNC110  connections tell nobody
        await asyncio.sleep(0.02)
    _check(all_of_them)
    return Sample(seconds, elapsed)


async def paced_streams(
    url: str, requests: Requests, streams: int, each: int, apart_s: float = 0.013
) -> tuple[list[float], list[float]]:
    """So many streams at once, ``each`` times one after the other: seconds to the first bytes, seconds between reads.

    They begin ``apart_s`` after each other and stay so. What each connection asks first is not counted: the target
    opens its own connections then.
    """
    opened = await _open(url, streams)
    firsts: list[float] = []
    gaps: list[float] = []
    running = set(opened)

    def start(connection: Connection, left: int) -> None:
        connection.timed, connection.pieces = True, []
        began = time.perf_counter()

        def done(_: float) -> None:
            pieces = connection.pieces
            if left < each:
                firsts.append(pieces[0] - began)
                gaps.extend(b - a for a, b in pairwise(pieces))
            if left:
                start(connection, left - 1)
            else:
                running.discard(connection)

        connection.send(requests(), done)

    for number, connection in enumerate(opened):
        asyncio.get_running_loop().call_later(number * apart_s, start, connection, each)
    until = time.perf_counter() + LONGEST_PACED_S
    while running and time.perf_counter() < until:  # noqa: ASYNC110  connections tell nobody
        await asyncio.sleep(0.05)
    _check(opened)
    return firsts, gaps


def percentile_ms(seconds: list[float], percent: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000 if ordered else float("nan")


async def _open(url: str, connections: int) -> list[Connection]:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(Connection, host, port) for _ in range(connections)]
    return [protocol for _, protocol in pairs]


def _check(connections: list[Connection]) -> None:
    failed = sum(connection.failed for connection in connections)
    for connection in connections:
        connection.close()
    if failed:
        what = next((c.lost for c in connections if c.lost), "an answer that was not 200")
        raise RuntimeError(f"{failed} of {len(connections)} connections failed: {what}")
