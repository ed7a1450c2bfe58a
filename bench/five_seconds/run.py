"""One run: servers up, the same arrivals both ways, each with a provider of its own, servers down."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from openai import AsyncOpenAI

from bench import servers
from bench.corpora import CORPORA
from bench.five_seconds.arrivals import Arrival
from bench.handbook import Question
from bench.paths import DirectPath, GatewayPath, Outcome
from bench.provider import PROFILES
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource

PATIENCE_S = 120.0
JUDGE_NOISE = 0.05  # share of the stand-in's verdicts that are wrong, where it was told which questions are one
# USD per million tokens (input, output): list prices of gpt-4 and gpt-3.5-turbo-1106 in November 2023,
# of gpt-4o-2024-08-06 and of gpt-4.1-mini in 2025.
PRICES = {
    "azure-gpt4-2023": (30.0, 60.0),
    "gpt35-2023": (1.0, 2.0),
    "gpt4o-2024": (2.5, 10.0),
    "mini-2025": (0.4, 1.6),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run came to: an outcome per arrival and path, and what each provider was asked."""

    arrivals: Sequence[Arrival]
    direct: Sequence[Outcome]
    ocho: Sequence[Outcome]
    direct_spend: dict[str, float]
    ocho_spend: dict[str, float]
    told: dict[str, float]  # the gateway's own counters

    @property
    def spend_ratio(self) -> float:
        return self.ocho_spend["usd"] / (self.direct_spend["usd"] or 1.0)


class Path_(Protocol):
    async def ask(self, question: Question) -> Outcome: ...


async def measure(options: argparse.Namespace, arrivals: Sequence[Arrival], work: Path) -> Measured:
    """Start everything, ask everything. Raises ServerFailed."""
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    flags = _provider_flags(options)
    with ExitStack() as stack:
        urls = [
            stack.enter_context(servers.provider(work / f"provider-{name}.log", *flags)) for name in ("direct", "ocho")
        ]
        config = configure(options, urls[1], work)
        await asyncio.to_thread(ingest, options.documents, config)
        gateway = stack.enter_context(servers.gateway(config, work / "gateway.log"))
        record = Record.open(work / "data" / "documents.db")
        stack.callback(record.close)
        source = EmbeddedSource("handbook", record)
        direct_client = AsyncOpenAI(base_url=urls[0], api_key="bench", timeout=PATIENCE_S)
        ocho_client = AsyncOpenAI(base_url=gateway, api_key="bench", timeout=PATIENCE_S)
        async with direct_client, ocho_client:
            paths: list[Path_] = [
                DirectPath(direct_client, "big", "small", "text-embedding-3-small", source),
                GatewayPath(ocho_client, "handbook"),
            ]
            asking = (ask_all(path, arrivals, options.time_scale, options.patience) for path in paths)
            direct, ocho = await asyncio.gather(*asking)
        await source.close()
        await asyncio.sleep(0.5)  # background work may still reach the provider
        spent = [spend_of(url, options) for url in urls]
        metrics = _get(f"{gateway.removesuffix('/v1')}/metrics")
    return Measured(arrivals, direct, ocho, spent[0], spent[1], told(metrics))


def _provider_flags(options: argparse.Namespace) -> list[str]:
    flags = ["--model", f"big={PROFILES[options.profile].name}", "--model", f"small={options.draft_profile}"]
    flags += ["--faults", options.faults, "--seed", str(options.seed), "--time-scale", str(options.time_scale)]
    if options.slots:
        flags += ["--slots", str(options.slots)]
    flags += ["--reader", options.reader, "--judge-noise", str(JUDGE_NOISE)]
    return [*flags, "--questions", *map(str, options.questions)]


def ingest(documents: Path, config: Path) -> None:
    """Read all documents of the folder; of a corpus not the README and the questions beside its folders."""
    corpora = {corpus.documents for corpus in CORPORA.values()}
    chosen = ["--include", "*/*"] if documents in corpora else ["--exclude", "*.jsonl"]
    command = [sys.executable, "-m", "gateway", "ingest", str(documents), "--collection", "handbook", *chosen]
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True)
    if done.returncode:
        raise servers.ServerFailed(f"the documents could not be read: {done.stderr.strip() or done.stdout.strip()}")


async def ask_all(path: Path_, arrivals: Sequence[Arrival], time_scale: float, patience_s: float) -> list[Outcome]:
    """Open loop: each question at its moment, whether or not the earlier ones are answered."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    scale = time_scale or 1.0

    async def one(arrival: Arrival) -> Outcome:
        await asyncio.sleep(max(0.0, began + arrival.at_s * scale - loop.time()))
        try:
            async with asyncio.timeout(patience_s * scale):
                return await path.ask(arrival.question)
        except TimeoutError:
            gave_up_s = patience_s * scale
            return Outcome(arrival.question, "", f"gave up after {patience_s:g} s", gave_up_s, gave_up_s)

    return list(await asyncio.gather(*(one(arrival) for arrival in arrivals)))


def configure(options: argparse.Namespace, url: str, work: Path) -> Path:
    """The configuration a user would write for this pair of models."""

    def deployments(model: str) -> list[dict[str, str]]:
        return [{"name": f"{model}-{n}", "base_url": url, "api_key": "bench"} for n in (1, 2)]

    def price(profile: str) -> dict[str, float]:
        cost = PRICES.get(profile, (0.0, 0.0))
        return {"input": cost[0], "output": cost[1]}

    big, small = options.profile, options.draft_profile
    chatbot: dict[str, Any] = {
        "name": "handbook",
        "answers_with": "big",
        "documents": {"collections": ["handbook"]},
        "deadline": {"seconds": options.deadline * (options.time_scale or 1.0)},
        "sized": options.sized == "on",
    }
    if options.mode != "off":
        chatbot["draft"] = {"model": "small", "mode": options.mode, "max_extra_spend": options.extra_spend}
    config = {
        "models": [
            {"name": "big", "deployments": deployments("big"), "price": price(big), "hedge": {"after": "p95"}},
            {"name": "small", "deployments": deployments("small"), "price": price(small)},
            chatbot,
        ],
        "documents": [{"name": "handbook"}],
        "data_dir": str(work / "data"),
        "cache": {"disk_mb": 0},  # a folder that was used before gives no hits
    }
    path = work / "ocho.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return path


def spend_of(url: str, options: argparse.Namespace) -> dict[str, float]:
    """What the provider bills. Of a call that was hung up on: its prompt and what had been sent. Refused: nothing."""
    calls = json.loads(_get(f"{url.removesuffix('/v1')}/bench/calls"))["calls"]
    prices = {"big": PRICES.get(options.profile, (0, 0)), "small": PRICES.get(options.draft_profile, (0, 0))}
    billed = [c for c in calls if c["status"] == 200 or c["cancelled"]]
    usd = sum(
        (prices[c["model"]][0] * c["prompt_tokens"] + prices[c["model"]][1] * c["output_tokens"]) / 1e6
        for c in billed
        if c["model"] in prices
    )
    return {
        "usd": round(usd, 4),
        "calls_big": sum(c["model"] == "big" for c in calls),
        "calls_small": sum(c["model"] == "small" for c in calls),
        "calls_embedding": sum(c["path"].endswith("/embeddings") for c in calls),
        "cancelled_big": sum(c["model"] == "big" and c["cancelled"] for c in calls),
    }


def told(metrics: str) -> dict[str, float]:
    """The gateway's own count of drafts and promises."""
    wanted = ("ocho_drafts_total", "ocho_deadline_total", "ocho_spend_total")
    lines = [line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith(wanted)]
    return {name: round(float(value), 4) for name, value in lines}


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())
