"""`python -m bench tails`: four deployments, one falls ill; then more is asked than can be answered.

Against taking the deployments in turn, with the next one on an error (what a plain load balancer does). First one of
them is 8 times slower, then refuses with 429, then stops in the middle of its answers, at half of the capacity; then
all are well and 50, 90 and 200 % of the capacity is asked; then callers leave early, and the provider's records tell
when it was hung up on.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from bench import facts, servers
from bench.as_json import add_json, give_json, tables_aside
from bench.tails import figures
from bench.tails.client import Ask, Gateway, Heard, RoundRobin
from bench.tails.scene import DEPLOYMENTS, PROFILE, Phase, Scene, capacity, played, question, scene
from bench.tails.tables import tables

PARTS = ("faults", "load", "cancel")
LOADS = (0.5, 0.9, 2.0)
WARM_S = 10.0
LEAVERS = 30
console = Console(stderr=True)


def main(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    options.argv = list(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="tails-") as folder:
            result, asks = asyncio.run(_measure(options, Path(options.work or folder)))
    except servers.ServerFailed as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    if options.report:
        from bench.tails.page import write

        write(options.report, __doc__ or "", result, asks)
    with tables_aside(options.json):
        show(result)
    give_json(result, options.json)
    return 0


async def _measure(options: argparse.Namespace, work: Path) -> tuple[dict[str, Any], dict[str, list[Ask]]]:
    parts = options.only or PARTS
    capacity_per_s = await _capacity(options, work)
    console.print(f"capacity: {capacity_per_s:.1f} answers/s", style="dim")
    result: dict[str, Any] = {"capacity_per_s": round(capacity_per_s, 2)}
    asks: dict[str, list[Ask]] = {}
    if "faults" in parts:
        phases = _phases(options, capacity_per_s * 0.5)
        result["faults"] = {}
        for path in ("round_robin", "ocho"):
            console.print(f"one falls ill: {path}", style="dim")
            asks[path], calls = await _play(path, phases, options, work / f"faults-{path}")
            answers = sum(ask.complete for ask in asks[path])
            result["faults"][path] = {
                "phases": figures.by_phase(asks[path], options.deadline),
                "extra_tokens": figures.extra_tokens(calls, answers),
            }
    if "load" in parts:
        result["load"] = {f"{load:g}": await _loaded(load, capacity_per_s, options, work) for load in LOADS}
    if "cancel" in parts:
        result["cancel"] = await _cancelled(options, work)
    result["summary"] = figures.summary(result)
    result["run"] = {
        "command": facts.command("tails", options.argv), "profile": PROFILE, "deployments": len(DEPLOYMENTS),
        "slots_each": options.slots, "seconds": options.seconds, "deadline_s": options.deadline,
        "patience_s": options.patience, "seed": options.seed, **facts.machine(),
    }  # fmt: skip
    return result, asks


def _phases(options: argparse.Namespace, per_s: float) -> list[Phase]:
    """One deployment falls ill in three ways, one after the other."""
    ill = DEPLOYMENTS[0]
    return [
        Phase("well", 2 * options.seconds, per_s, {}),  # deployments are well for longer than they are ill
        Phase("slow", options.seconds, per_s, {ill: {"slow": 8}}),
        Phase("refuses", options.seconds, per_s, {ill: {"refuses": True}}),
        Phase("hangs", options.seconds, per_s, {ill: {"hangs": True}}),
    ]


async def _play(
    path: str, phases: Sequence[Phase], options: argparse.Namespace, work: Path
) -> tuple[list[Ask], list[dict[str, Any]]]:
    with scene(work, options.slots, options.seed) as it:
        async with _http() as http:
            client = _client(path, it, http, options)
            asks = await played(it, client, http, phases, options.patience, options.seed)
        return asks, await asyncio.to_thread(it.calls)


def _client(path: str, it: Scene, http: aiohttp.ClientSession, options: argparse.Namespace) -> Gateway | RoundRobin:
    if path == "ocho":
        return Gateway(http, it.gateway, options.deadline)
    return RoundRobin(http, it.provider, DEPLOYMENTS)


async def _capacity(options: argparse.Namespace, work: Path) -> float:
    with scene(work / "capacity", options.slots, options.seed) as it:
        async with _http() as http:
            client = RoundRobin(http, it.provider, DEPLOYMENTS)
            return await capacity(client, options.slots, options.seconds, options.seed)


async def _loaded(load: float, capacity_per_s: float, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both ways at one load; the first seconds warm up and do not count."""
    phases = [
        Phase("warm", WARM_S, capacity_per_s * load, {}),
        Phase("load", options.seconds, capacity_per_s * load, {}),
    ]
    found: dict[str, Any] = {}
    for path in ("round_robin", "ocho"):
        console.print(f"{load:.0%} of the capacity: {path}", style="dim")
        asks, _ = await _play(path, phases, options, work / f"load-{load:g}-{path}")
        mine = [ask for ask in asks if ask.phase == "load"]
        found[path] = figures.load(mine, options.deadline, options.seconds, capacity_per_s)
    return found


async def _cancelled(options: argparse.Namespace, work: Path) -> dict[str, float]:
    """Callers leave one after the other; seconds until the provider saw the end of their call."""
    rng = random.Random(options.seed)
    late: list[float] = []
    with scene(work / "cancel", options.slots, options.seed) as it:
        async with _http() as http:
            for number in range(LEAVERS):
                client = Gateway(http, it.gateway, 30.0)
                asking = asyncio.create_task(_left(client, question(rng), rng.uniform(0.1, 1.0)))
                if (left := await asking) is not None:
                    late.append(await _until_ended(it, number) - left)
    return {"left": len(late), "max_s": round(max(late), 4), "p50_s": round(sorted(late)[len(late) // 2], 4)}


async def _left(client: Gateway, text: str, after_s: float) -> float | None:
    """The instant at which the caller hung up; None where the answer was there before."""
    try:
        async with asyncio.timeout(after_s):
            await client.ask(text, Heard())
    except TimeoutError:
        return time.monotonic()
    return None


async def _until_ended(it: Scene, number: int) -> float:
    """When the provider's call ``number`` ended; its clock is this machine's. Raises TimeoutError after 5 s."""
    async with asyncio.timeout(5):
        while True:
            calls = await asyncio.to_thread(it.calls)
            if len(calls) > number and (ended := calls[-1]["ended"]) is not None:
                return float(ended)
            await asyncio.sleep(0.02)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers={"content-type": "application/json"}, read_bufsize=2**20
    )


def show(result: Mapping[str, Any]) -> None:
    out = Console()
    for title, columns, rows in tables(result):
        table = Table(title=title)
        for column in columns:
            table.add_column(column, justify="left" if column == columns[0] else "right")
        for row in rows:
            table.add_row(*row)
        out.print(table)
    out.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench tails", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, help="run only these parts (default: all)")
    add("--seconds", type=float, default=25.0, help="of each phase (default 25)")
    add("--slots", type=int, default=6, help="calls each deployment works on at once; more wait in line (default 6)")
    add("--deadline", type=float, default=5.0, help="seconds for a whole answer (default 5)")
    add("--patience", type=float, default=20.0, help="seconds until a caller gives up (default 20)")
    add("--seed", type=int, default=5)
    add("--work", help="keep configuration and logs here")
    add("--report", type=Path, metavar="DIR", help="write an HTML page and a PNG there")
    add_json(parser)
    return parser
