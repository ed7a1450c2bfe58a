"""Four deployments of a stand-in provider, each with room for so many calls, and a gateway that knows them."""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench import servers
from bench.tails.client import Ask, Gateway, RoundRobin, timed

DEPLOYMENTS = [f"d{n}" for n in (1, 2, 3, 4)]
PROFILE = "mini-2025"


@dataclass(frozen=True, slots=True)
class Scene:
    provider: str  # http://127.0.0.1:PORT/v1
    gateway: str

    async def ail(self, http: aiohttp.ClientSession, ailments: Mapping[str, object]) -> None:
        async with http.post(f"{self.provider.removesuffix('/v1')}/bench/ailments", json=ailments) as reply:
            reply.raise_for_status()

    def calls(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.provider.removesuffix('/v1')}/bench/calls", timeout=10) as reply:
            return list(json.load(reply)["calls"])


@contextmanager
def scene(work: Path, slots: int, seed: int) -> Iterator[Scene]:
    """Servers on loopback, stopped at the end of the block. Raises ServerFailed."""
    work.mkdir(parents=True, exist_ok=True)
    flags = [word for name in DEPLOYMENTS for word in ("--model", f"{name}={PROFILE}")]
    flags += ["--slots", str(slots), "--seed", str(seed)]
    with servers.provider(work / "provider.log", *flags) as provider:
        deployments = [{"name": d, "base_url": provider, "api_key": "bench", "model": d} for d in DEPLOYMENTS]
        config = {
            "models": [{"name": "pool", "deployments": deployments, "hedge": {"after": "p95"}}],
            "data_dir": str(work / "data"),
        }
        path = work / "ocho.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        with servers.gateway(path, work / "gateway.log") as gateway:
            yield Scene(provider, gateway)


def question(rng: random.Random) -> str:
    """Every one another; two sentences of answer, so that a call takes about a second."""
    return f"사내 규정 {rng.randrange(10**9)}번을 최대 2문장으로 설명해 주세요."


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    seconds: float
    per_s: float
    ailments: Mapping[str, object]


async def played(
    scene: Scene,
    client: Gateway | RoundRobin,
    http: aiohttp.ClientSession,
    phases: Sequence[Phase],
    patience_s: float,
    seed: int,
) -> list[Ask]:
    """Open loop, Poisson arrivals: one phase after the other; all answers awaited at the end."""
    rng = random.Random(seed)
    began = due = time.monotonic()
    end = began
    asks: list[asyncio.Task[Ask]] = []
    async with asyncio.TaskGroup() as group:
        for phase in phases:
            await scene.ail(http, phase.ailments)
            due, end = max(due, end), max(due, end) + phase.seconds
            while (due := due + rng.expovariate(phase.per_s)) < end:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                work = timed(client, question(rng), due, due - began, phase.name, patience_s)
                asks.append(group.create_task(work))
            await asyncio.sleep(max(0.0, end - time.monotonic()))
    await scene.ail(http, {})
    return [ask.result() for ask in asks]


async def capacity(client: RoundRobin, slots: int, for_s: float, seed: int) -> float:
    """Answers a second when every slot is always taken: measured, closed loop, each deployment kept just full."""
    rng = random.Random(seed)
    end = time.monotonic() + for_s
    done: list[float] = []

    async def one() -> None:
        while time.monotonic() < end:
            ask = await timed(client, question(rng), time.monotonic(), 0.0, "", 60.0)
            if ask.complete and time.monotonic() < end:
                done.append(ask.seconds)

    warm_s = for_s / 5
    began = time.monotonic()
    tasks = [asyncio.create_task(one()) for _ in range(round(1.5 * slots * len(DEPLOYMENTS)))]
    await asyncio.sleep(warm_s)
    before = len(done)
    await asyncio.gather(*tasks)
    return (len(done) - before) / (end - began - warm_s)
