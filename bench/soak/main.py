"""`python -m bench soak`: a steady mixed load, and what the gateway holds meanwhile and afterwards.

Hits, rephrasings, misses, relayed calls, embeddings, callers that leave and mistakes, after every text was asked once.
Memory, tasks, sockets and files are sampled every two seconds; flat is what does not grow after the first third of the
run, and what is back where it began once the load is over.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from rich.console import Console
from rich.table import Table

from bench import facts, handbook, servers
from bench.as_json import add_json, give_json, tables_aside
from bench.five_seconds.run import ingest
from bench.soak.tables import tables
from bench.soak.traffic import each_once, load
from bench.soak.watch import AFTER, Sample, sample, verdicts, watch

SETTLE_S = 65.0
console = Console(stderr=True)


def main(argv: Sequence[str]) -> int:
    """0 where everything is flat, 1 where something grows or the bench could not run."""
    options = _parser().parse_args(argv)
    options.argv = list(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            result, samples = asyncio.run(_soak(options, Path(options.work or folder)))
    except servers.ServerFailed as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    if options.report:
        from bench.soak.page import write

        write(options.report, __doc__ or "", result, samples)
    with tables_aside(options.json):
        show(result)
    give_json(result, options.json)
    return 0 if result["flat"] else 1


async def _soak(options: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[Sample]]:
    for_s = options.minutes * 60
    with ExitStack() as stack:
        models = ["--model", "big=gpt4o-2024", "--model", "fast=mini-2025"]
        flags = [*models, "--faults", "on", "--seed", str(options.seed), "--time-scale", "0.5"]
        provider = stack.enter_context(servers.provider(work / "provider.log", *flags))
        config = _config(work, provider)
        await asyncio.to_thread(ingest, handbook.FOLDER, config)
        port = servers.free_port()
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port)]
        child = stack.enter_context(servers.process(command, work / "gateway.log"))
        gateway = f"http://127.0.0.1:{port}"
        await asyncio.to_thread(servers.wait_for, f"{gateway}/readyz", child, work / "gateway.log")
        async with aiohttp.ClientSession() as http:
            before = await sample(child.pid, http, gateway, time.monotonic())
        questions = [q for q in handbook.load() if q.document]
        began = time.monotonic()
        asked = await each_once(gateway, questions, options.seed)
        console.print(f"{asked} texts asked once in {time.monotonic() - began:.0f} s")
        samples, counts = await asyncio.gather(
            watch(child.pid, gateway, for_s), load(gateway, questions, for_s, options.rate, options.seed)
        )
        await asyncio.sleep(SETTLE_S)
        async with aiohttp.ClientSession() as http:
            after = await sample(child.pid, http, gateway, time.monotonic())
    found = verdicts(samples)
    left = {name: getattr(after, name) - getattr(before, name) for name in AFTER}
    flat = all(each["flat"] for each in found.values()) and all(left[name] <= most for name, most in AFTER.items())
    return {
        "flat": flat,
        "verdicts": found,
        "before": asdict(before),
        "after": asdict(after),
        "left_behind": left,
        "traffic": _sorted(counts),
        "run": {
            "command": facts.command("soak", options.argv), "minutes": options.minutes, "rate_per_s": options.rate,
            "seed": options.seed, **facts.machine(),
        },
    }, samples  # fmt: skip


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _config(work: Path, provider: str) -> Path:
    """Everything on; answers expire soon, so that the same questions miss again and again."""

    def reached(name: str, model: str) -> dict[str, str]:
        return {"name": name, "base_url": provider, "api_key": "soak", "model": model}

    settings = {
        "models": [
            {"name": "big", "deployments": [reached("one", "big"), reached("two", "big")], "hedge": {"min_s": 0.1}},
            {"name": "fast", "deployments": [reached("fast", "fast")]},
            {"name": "embeddings", "deployments": [reached("embeddings", "text-embedding-3-small")]},
            {"name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]},
             "draft": {"model": "fast"}, "sized": True},
        ],
        "cache": {"store": "memory", "max_mb": 2, "ttl_s": 30},
        "documents": [{"name": "handbook"}],
        "data_dir": str(work / "data"),
    }  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    path = work / "ocho.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path


def show(result: Mapping[str, Any]) -> None:
    out = Console()
    for title, columns, rows in tables(result):
        table = Table(title=title)
        for column in columns:
            table.add_column(column, justify="left" if column == columns[0] else "right")
        for row in rows:
            table.add_row(*row)
        out.print(table)
    out.print(" · ".join(f"{kind} {count}" for kind, count in result["traffic"].items()))
    out.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")
    out.print("flat" if result["flat"] else "[red]not flat[/]")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=20.0)
    add("--rate", type=float, default=6.0, help="requests a second (default 6)")
    add("--seed", type=int, default=5)
    add("--work", help="keep configuration and logs here")
    add("--report", type=Path, metavar="DIR", help="write an HTML page and a PNG there")
    add_json(parser)
    return parser
