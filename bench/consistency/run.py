"""The course of one run: the same asks in the same order directly and through Ocho, with what happens in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio as redis_client
from openai import AsyncOpenAI

from bench.consistency.evidence import passages_of
from bench.consistency.figures import Asked
from bench.consistency.groups import Change, Corpus, apply
from bench.handbook import Question
from bench.paths import DirectPath, GatewayPath, Outcome
from bench.provider.passages import Passage
from bench.provider.server import Provider
from gateway.app import serving
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from gateway.settings import Settings
from gateway.wiring.ingesting import ingest_into

WATCHED = (
    "ocho_cache_writes_total", "ocho_cache_requests_total", "ocho_judge_total", "ocho_judge_audits", "ocho_settled",
    "ocho_flips", "ocho_spend",
)  # fmt: skip
PRICES = {"big": {"input": 2.5, "output": 10.0}, "small": {"input": 0.15, "output": 0.6}}  # USD: gpt-4o and its mini
COLLECTION = "handbook"
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    repeats: int
    restarts: int  # of the gateway, spread over the asks
    evict_share: float  # of the cache's keys, deleted in Redis between repeats
    at_once: int  # asks under way at the same time
    evictions: int = 2
    max_tokens: int | None = None  # of an answer; None: the provider's


@dataclass(slots=True)
class Ocho:
    """A gateway that can be restarted; its cache is in Redis, its documents on disk."""

    settings: Settings
    ahead_s: float = 0.0  # its wall clock before the real one: kept answers age as if so much time had passed
    metrics: dict[str, float] = field(default_factory=dict)

    @asynccontextmanager
    async def up(self) -> AsyncIterator[AsyncOpenAI]:
        async with serving(self.settings, lambda: time.time() + self.ahead_s) as (gateway, port):
            async with AsyncOpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key="bench", timeout=PATIENCE_S
            ) as client:
                yield client
                await asyncio.sleep(0.2)  # answers go to the cache after the reply
            for family in gateway.metrics.registry.collect():
                for sample in family.samples:
                    if sample.name.startswith(WATCHED):
                        name = sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items()))
                        self.metrics[name] = self.metrics.get(name, 0.0) + sample.value


@dataclass(frozen=True, slots=True)
class House:
    """How the gateway of a run is set up."""

    provider_url: str
    redis_url: str
    work: Path
    embedder: str
    big: str  # model names at the provider
    small: str = ""
    ttl_s: float = 86_400.0
    judge: bool = False
    margin: float = 2.0
    settle: bool = True
    witnesses: int = 0
    spend: float = 1.0  # at most, on samples beyond the first
    top_k: int = 6  # passages in a prompt
    disk_mb: float = 64.0  # of answers remembered on disk

    def settings(self) -> Settings:
        def model(name: str, upstream: str) -> dict[str, Any]:
            deployment = {"name": f"{name}-1", "base_url": self.provider_url, "api_key": "bench", "model": upstream}
            patient = {"first_token_s": PATIENCE_S, "idle_s": PATIENCE_S}  # a real model on a busy CPU
            return {"name": name, "deployments": [deployment], "price": PRICES[name], "timeouts": patient}

        handbook = {
            "name": "handbook",
            "answers_with": "big",
            "documents": {"collections": [COLLECTION], "hard_s": 5, "top_k": self.top_k},
            "settle": {
                "mode": "on" if self.settle else "off", "witnesses": self.witnesses, "max_extra_spend": self.spend
            },
        }  # fmt: skip
        judge = {"model": "small" if self.judge else "off", "min_margin": self.margin, "patience_s": 60}
        return Settings.model_validate(
            {
                "models": [model("big", self.big), model("small", self.small or self.big), handbook],
                "documents": [{"name": COLLECTION}],
                "data_dir": str(self.work / "data"),
                "telemetry": {"log_level": "error"},
                "server": {"port": 0, "drain_s": 1},
                "cache": {
                    "store": "redis",
                    "redis": {"url": self.redis_url, "timeout_s": 1.0},
                    "ttl_s": self.ttl_s,
                    "disk_mb": self.disk_mb,
                    "semantic": {"embedder": self.embedder, "judge": judge},
                },
            }
        )


async def ingest(settings: Settings, corpus: Corpus) -> None:
    report = await ingest_into(settings, COLLECTION, corpus.documents, (), (), (), True, lambda step: None)
    if report.failed:
        raise RuntimeError(f"documents not ingested: {report.failed}")


def schedule(questions: Sequence[Question], repeats: int, rng: random.Random) -> list[list[tuple[Question, int]]]:
    """Every question ``repeats`` times: one shuffled round per repeat."""
    rounds = []
    for repeat in range(repeats):
        asks = [(question, repeat) for question in questions]
        rng.shuffle(asks)
        rounds.append(asks)
    return rounds


async def directly(
    provider_url: str, big: str, house: House, rounds: Sequence[Sequence[tuple[Question, int]]], plan: Plan
) -> list[Asked]:
    """As an application without a gateway asks: search, prompt, wait. No rewriting call, no embedding call."""
    record = Record.open(house.work / "data" / "documents.db")
    source = EmbeddedSource(COLLECTION, record)
    try:
        async with AsyncOpenAI(base_url=provider_url, api_key="bench", timeout=PATIENCE_S) as client:
            path = DirectPath(client, big, "", "", source, house.top_k)
            path.max_tokens = plan.max_tokens
            return [asked for asks in rounds for asked in await _ask(path, asks, plan.at_once)]
    finally:
        await source.close()
        record.close()


async def through(
    ocho: Ocho, rounds: Sequence[Sequence[tuple[Question, int]]], plan: Plan, redis_url: str, rng: random.Random
) -> list[Asked]:
    """The same asks through a gateway that is restarted, and whose cache loses entries, while they go on."""
    found: list[Asked] = []
    rests = {round((n + 1) * len(rounds) / (plan.restarts + 1)) for n in range(plan.restarts)}
    losses = (
        {round((n + 1) * len(rounds) / (plan.evictions + 1)) for n in range(plan.evictions)}
        if plan.evict_share
        else set()
    )
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ocho.up())
        for number, asks in enumerate(rounds):
            if number in losses:
                await evict(redis_url, plan.evict_share, rng)
            if number in rests:
                await stack.aclose()
                client = await stack.enter_async_context(ocho.up())
            path = GatewayPath(client, "handbook")
            path.max_tokens = plan.max_tokens
            found += await _ask(path, asks, plan.at_once)
    return found


async def evict(redis_url: str, share: float, rng: random.Random) -> int:
    """Delete a share of all the cache's keys, whichever they are."""
    client = redis_client.from_url(redis_url)
    try:
        names = sorted([name async for name in client.scan_iter(match="ocho:*", count=500)])
        doomed = rng.sample(names, int(len(names) * share))
        return int(await client.unlink(*doomed)) if doomed else 0
    finally:
        await client.aclose()


async def change(settings: Settings, corpus: Corpus, wanted: Sequence[Change]) -> Corpus:
    for one in wanted:
        corpus = apply(corpus, one)
    await ingest(settings, corpus)
    return corpus


async def evidence(ocho: Ocho, provider: Provider, questions: Sequence[Question]) -> Mapping[str, tuple[Passage, ...]]:
    """The passages of each question, as its prompt carries them; nothing is read from or written to the cache."""
    async with ocho.up() as client:
        before = len(provider.calls)
        for question in questions:
            await client.chat.completions.create(
                model="handbook",
                messages=[{"role": "user", "content": question.text}],
                extra_headers={"x-ocho-cache": "off"},
                max_tokens=5,
            )
        return dict(passages_of(call) for call in provider.calls[before:])


async def _ask(path: Any, asks: Sequence[tuple[Question, int]], at_once: int) -> list[Asked]:
    gate = asyncio.Semaphore(at_once)

    async def one(question: Question, repeat: int) -> Asked:
        async with gate:
            outcome: Outcome = await path.ask(question)
        return Asked(question, repeat, outcome.answer, outcome.cache, outcome.error)

    return list(await asyncio.gather(*(one(question, repeat) for question, repeat in asks)))
