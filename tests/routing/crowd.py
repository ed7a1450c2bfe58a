"""Crowds of callers before deployments with a given number of places, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gateway.chat import (
    Answer,
    AnswerEvent,
    CacheOutcome,
    CacheWishes,
    ChatRequest,
    Closed,
    Delta,
    Deployment,
    Message,
    Opened,
    RequestContext,
    ServedBy,
    Tenant,
    Usage,
)
from gateway.clock import Deadline, Timings
from gateway.errors import GatewayError, UpstreamRejected, UpstreamTimeout, UpstreamUnreachable
from gateway.metrics import Metrics
from gateway.ports import Timeouts
from gateway.routing.deployments import Deployments
from gateway.routing.router import Route, Router

PIECE = Delta.of({"choices": [{"index": 0, "delta": {"content": "a"}}]})
TOKENS = 100
PIECES = 5  # in which they come
MEAN_S = 0.55 + 0.02 * 3.8 + TOKENS * 0.0162  # of one call that needs not wait for its place


@dataclass(slots=True)
class Places:
    """A deployment that answers ``places`` calls at once, the next ones in the order they came."""

    places: int
    slow: float = 1.0  # factor of all its times
    stall_rate: float = 0.015
    refuses: bool = False  # with 429
    dead: bool = False  # nobody listens
    free: asyncio.Semaphore = field(init=False)
    busy: int = 0
    most: int = 0  # calls it had at once, waiting ones included

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.places)


class Crowded:
    """The upstream port over ``Places`` (times of the profile gpt4o-2024, answers of 100 tokens)."""

    def __init__(self, places: Mapping[str, Places], seed: int) -> None:
        self.places = places
        self.rng = Random(seed)
        self.calls = 0

    @asynccontextmanager
    async def stream(
        self, deployment: Deployment, request: ChatRequest, ctx: RequestContext, timeouts: Timeouts
    ) -> AsyncIterator[AsyncIterator[AnswerEvent]]:
        yield self._events(self.places[deployment.name], ctx)

    async def _events(self, here: Places, ctx: RequestContext) -> AsyncIterator[AnswerEvent]:
        rng = self.rng
        first_s = 0.5 * rng.lognormvariate(0, 0.45)
        if rng.random() < here.stall_rate:
            first_s += 3.0 * rng.lognormvariate(0, 0.8)
        rest_s = TOKENS * 0.0155 * rng.lognormvariate(0, 0.3)
        self.calls += 1
        if here.dead:
            raise UpstreamUnreachable("nobody listens")
        if here.refuses:
            await asyncio.sleep(0.1)
            raise UpstreamRejected("no quota", status=429, payload=None, retry_after_s=20.0)
        here.busy += 1
        here.most = max(here.most, here.busy)
        try:
            async with asyncio.timeout(ctx.deadline.remaining_s()), here.free:
                await asyncio.sleep(here.slow * first_s)
                yield PIECE
                for _ in range(PIECES):
                    await asyncio.sleep(here.slow * rest_s / PIECES)
                    yield PIECE
        except TimeoutError:
            raise UpstreamTimeout("late") from None
        finally:
            here.busy -= 1
        yield Closed(Answer((), "m", Usage(10, TOKENS, {})))

    async def forward(self, *given: Any) -> Any:
        raise AssertionError("the crowd asks for streams only")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one caller fared. Seconds from its arrival."""

    at: float
    tenant: str
    error: str  # "" where there is an answer
    seconds: float
    first_s: float


@dataclass(slots=True)
class Town:
    """A router before its deployments."""

    places: Mapping[str, Places]
    seed: int = 0
    route: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float = 5.0
    upstream: Crowded = field(init=False)
    router: Router = field(init=False)
    deployments: Deployments = field(init=False)

    def __post_init__(self) -> None:
        clock = asyncio.get_running_loop().time
        self.upstream = Crowded(self.places, self.seed)
        self.deployments = Deployments(tuple(Deployment(n, "openai", "", "") for n in self.places), clock)
        routes = {"m": Route(tuple(self.places), **self.route)}
        self.router = Router(routes, self.deployments, self.upstream, Metrics(("m",)), chance=Random(self.seed))

    async def ask(self, tenant: str = "t") -> Ended:
        clock = asyncio.get_running_loop().time
        began = clock()
        first = began
        deadline = Deadline.after(self.deadline_s, clock)
        ctx = RequestContext("r", Tenant(tenant), deadline, CacheWishes(), Timings(clock))
        message = Message("user", "q" * 40, True, {})
        request = ChatRequest("m", (message,), True, False, {"messages": [{"role": "user", "content": "q" * 40}]})

        def hear(event: AnswerEvent) -> None:
            nonlocal first
            if isinstance(event, Opened):
                first = clock()

        try:
            await self.router.stream(request, ctx, Opened(ServedBy.MODEL, CacheOutcome.MISS, "m"), hear)
        except GatewayError as error:
            return Ended(began, tenant, error.code or "", clock() - began, clock() - began)
        return Ended(began, tenant, "", clock() - began, first - began)

    async def crowd(self, per_s: float | Mapping[str, float], for_s: float) -> list[Ended]:
        """Poisson arrivals, by tenant; everybody's end."""
        rates = per_s if isinstance(per_s, Mapping) else {"t": per_s}
        streams = [self._arrivals(t, rate, for_s, Random(self.seed * 1000 + n)) for n, (t, rate) in
                   enumerate(rates.items())]  # fmt: skip
        return [ended for one in await asyncio.gather(*streams) for ended in one]

    async def _arrivals(self, tenant: str, rate: float, for_s: float, rng: Random) -> list[Ended]:
        clock = asyncio.get_running_loop().time
        end, asked = clock() + for_s, []
        while True:
            await asyncio.sleep(rng.expovariate(rate))
            if clock() >= end:
                break
            asked.append(asyncio.create_task(self.ask(tenant)))
        return list(await asyncio.gather(*asked))


def goodput(ended: Sequence[Ended], capacity_per_s: float, for_s: float, deadline_s: float = 5.0) -> float:
    """Answers in time a second, as a share of capacity."""
    return sum(not e.error and e.seconds <= deadline_s for e in ended) / for_s / capacity_per_s


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else float("nan")
