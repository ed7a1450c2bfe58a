"""A gateway with everything on, traffic through it, and a real Prometheus that scrapes it: what panels are tried on."""

from __future__ import annotations

import asyncio
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench import servers
from bench.handbook import FOLDER, load

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
SCRAPE_S = 0.5  # the real one is 15 s; a short scene needs more points
ADMIN_KEY = "key-of-the-scene"
KEY = {"key": "key-of-a-caller", "tenant": "app", "rpm": 2000}
PINNED = 3  # of the popular questions, by a reviewer
AFRESH = 0.1  # share of the questions that are then asked once more, past the cache
NO_SUCH_MODEL = 0.05  # shares of the traffic
LEAVES = 0.05
RELAYED = 0.1
CAREFUL = 0.1  # asked of a model that promises no time, so that its answers are settled
OTHER_DRESS = 0.3  # of the popular questions: typed a little differently
FOLLOWS = 0.1  # share of the questions that are asked inside a conversation
FOLLOW_UP = "그건 누구에게 신청하나요?"


@dataclass(frozen=True, slots=True)
class Scene:
    gateway: str  # http://127.0.0.1:PORT
    prometheus: str


@contextmanager
def scene(folder: Path, *, seed: int = 5, time_scale: float = 1.0) -> Iterator[Scene]:
    """Servers on loopback, stopped at the end of the block. Raises ServerFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        models = ["--model", "gpt-4=gpt4o-2024", "--model", "fast=mini-2025"]
        flags = [*models, "--faults", "on", "--seed", str(seed), "--time-scale", str(time_scale)]
        provider = stack.enter_context(servers.provider(folder / "provider.log", *flags))
        config = _configured(folder, provider)
        ingest = ["ingest", str(FOLDER), "--collection", "handbook", "--config", str(config), "--include", "*/*"]
        subprocess.run([sys.executable, "-m", "gateway", *ingest], check=True, capture_output=True)
        gateway = stack.enter_context(servers.gateway(config, folder / "gateway.log")).removesuffix("/v1")
        prometheus = stack.enter_context(_prometheus(folder, gateway))
        yield Scene(gateway, prometheus)


def _configured(folder: Path, provider: str) -> Path:
    def reached(name: str, model: str) -> dict[str, str]:
        return {"name": name, "base_url": provider, "api_key": "scene", "model": model}

    settings = {
        "models": [
            {"name": "big", "deployments": [reached("krc", "gpt-4"), reached("swe", "gpt-4")],
             "hedge": {"min_s": 0.1}, "price": {"input": 2.5, "output": 10}},
            {"name": "fast", "deployments": [reached("krc-fast", "fast")], "price": {"input": 0.4, "output": 1.6}},
            {"name": "embeddings", "deployments": [reached("krc-embeddings", "text-embedding-3-small")]},
            {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]},
             "draft": {"model": "fast"}, "sized": True},
            {"name": "careful", "answers_with": "big", "documents": {"collections": ["handbook"]}},
        ],
        "cache": {"semantic": {"embedder": "embeddings"}},
        "documents": [{"name": "handbook"}],
        "auth": {"admin_key": ADMIN_KEY, "keys": [KEY]},
        "data_dir": str(folder / "data"),
    }  # fmt: skip
    path = folder / "ocho.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path


@contextmanager
def _prometheus(folder: Path, gateway: str) -> Iterator[str]:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {
        "scrape_interval": f"{int(SCRAPE_S * 1000)}ms",
        "evaluation_interval": f"{int(SCRAPE_S * 1000)}ms",
    }
    config["scrape_configs"][0]["authorization"] = {"credentials": ADMIN_KEY}
    config["rule_files"] = [str(DEPLOY / "rules.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [gateway.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = servers.free_port()
    command = [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with servers.process(command, log) as child:
        servers.wait_for(f"http://127.0.0.1:{port}/-/ready", child, log)
        yield f"http://127.0.0.1:{port}"


async def traffic(gateway: str, seconds: float, per_second: float, seed: int = 5) -> int:
    """Questions as people ask them, open loop: many again or in other words, some leave, some ask nonsense.

    Returns how many were asked.
    """
    rng = random.Random(seed)
    questions = [q for q in load() if q.kind != "unanswerable"]
    popular = rng.sample(questions, 12)
    loop = asyncio.get_running_loop()
    end, asked = loop.time() + seconds, 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as group:
        for question in popular[:PINNED]:
            await _pin(http, gateway, question.text)
        while loop.time() < end:
            again = rng.random() < 0.4
            text = rng.choice(popular if again else questions).text
            if again and rng.random() < OTHER_DRESS:
                text = f"{text.upper().rstrip('?')} ??"
            afresh = rng.random() < AFRESH
            turns = [text, "그렇습니다.", FOLLOW_UP] if rng.random() < FOLLOWS else [text]
            group.create_task(_ask(http, gateway, turns, rng.random(), rng.random() < 0.5, afresh))
            asked += 1
            await asyncio.sleep(rng.expovariate(per_second))
    return asked


async def _pin(http: aiohttp.ClientSession, gateway: str, question: str) -> None:
    body = {"model": "handbook", "question": question, "answer": f"(reviewed) {question}"}
    sent = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with http.post(f"{gateway}/admin/answers", json=body, headers=sent) as reply:
        assert reply.status == 200, await reply.text()


async def _ask(
    http: aiohttp.ClientSession, gateway: str, turns: list[str], fate: float, stream: bool, afresh: bool
) -> None:
    model, patience_s = "handbook", 15.0
    if fate < NO_SUCH_MODEL:
        model = "no-such-model"
    elif fate < NO_SUCH_MODEL + LEAVES:
        patience_s = 0.1
    elif fate < NO_SUCH_MODEL + LEAVES + RELAYED:
        model = "big"
    elif fate < NO_SUCH_MODEL + LEAVES + RELAYED + CAREFUL:
        model = "careful"
    messages = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(turns)]
    body = {"model": model, "messages": messages, "stream": stream}
    key = {"authorization": f"Bearer {KEY['key']}"}
    with suppress(TimeoutError, aiohttp.ClientError):
        for sent in (key, {**key, "cache-control": "no-cache"})[: 1 + afresh]:
            address = f"{gateway}/v1/chat/completions"
            async with asyncio.timeout(patience_s), http.post(address, json=body, headers=sent) as reply:
                await reply.read()


async def query(
    http: aiohttp.ClientSession, prometheus: str, expr: str, range_s: float, step_s: float | None = None,
    end_s: float | None = None, *, infinite: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """The series of ``expr`` with Grafana's variables filled in: now, or over the last ``range_s`` if a step is given;
    ``end_s``: seen from then.

    Points that are not numbers are left out, infinite ones (no limit) as well if not asked for. Raises AssertionError
    where Prometheus refuses the query.
    """
    filled = expr.replace("$__rate_interval", f"{max(4, round(10 * SCRAPE_S))}s").replace("$model", ".*")
    now_s = await now(http, prometheus) if end_s is None else end_s
    path, given = "query", {"query": filled, "time": str(now_s)}
    if step_s is not None:
        path, given = "query_range", {
            "query": filled, "start": str(now_s - range_s), "end": str(now_s), "step": str(step_s),
        }  # fmt: skip
    async with http.get(f"{prometheus}/api/v1/{path}", params=given) as response:
        reply = await response.json()
        assert reply["status"] == "success", (filled, reply)
    rows = reply["data"]["result"]
    for row in rows:
        values = row.pop("values", None) or [row.pop("value")]
        points = [(float(t), float(v)) for t, v in values]
        row["points"] = [(t, v) for t, v in points if math.isfinite(v) or (infinite and math.isinf(v))]
    return [row for row in rows if row["points"]]


async def now(http: aiohttp.ClientSession, prometheus: str) -> float:
    async with http.get(f"{prometheus}/api/v1/query", params={"query": "time()"}) as response:
        return float((await response.json())["data"]["result"][1])
