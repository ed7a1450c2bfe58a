"""`python -m bench overhead`: requests per second, added latency and chunks per second of one worker on one core.

Against the mock directly, a bare aiohttp proxy and, with --peers, other gateways: the same load, in the same rounds.
With --of two gateways alone in many short rounds: what metrics cost, or what a second worker brings.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import track

from bench import facts, servers
from bench.as_json import add_json, give_json, tables_aside
from bench.overhead import pairs
from bench.overhead.asking import ask, semantic_hits
from bench.overhead.load import closed_loop, open_loop, paced_streams, percentile_ms
from bench.overhead.mock import CHUNKS
from bench.overhead.output import draw, show
from bench.overhead.peers import PEERS
from bench.overhead.proc import cpu_s, rss_mb
from bench.overhead.targets import Target, targets

CLOSED = (1, 32, 256)
STREAMS = 64
RATES = (100.0, 1000.0)
FEWEST = 300  # answers of which a 99th percentile is taken: of 80 it would be the worst
ADDED = ("p50_ms_at_100", "p99_ms_at_100", "p50_ms_at_1000", "first_chunk_p99_ms", "first_chunk_p99_ms_together",
         "between_chunks_p99_ms")  # fmt: skip
TRIES = 3  # of one target in one round: a busy machine makes a gateway refuse at times
ROOM = 1.5  # a rate is only asked of what answered this many times as much in the closed loop
console = Console(stderr=True)
Figures = dict[str, list[float]]  # one value a round
Rows = dict[str, Figures]  # by target
Part = Callable[[Target, Figures, float, int], Awaitable[None]]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, help="interleaved; medians are reported (default 5; with --of 40)")
    parser.add_argument("--seconds", type=float, help="of each segment (default 2; with --of 0.5)")
    parser.add_argument("--of", choices=pairs.PAIRS, help="only that")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=[], help="others, installed under .cache/peers")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="only targets with such a word (or direct)"
    )
    parser.add_argument("--seed", type=int, default=5)
    add_json(parser)
    parser.add_argument("--png", type=Path, help="draw requests per second and CPU per request here")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (40 if options.of else 5)
    options.seconds = options.seconds or (0.5 if options.of else 2.0)
    if options.of:
        return _of(options, list(argv))
    try:
        with ExitStack() as stack:
            found = targets(stack, Path(".cache/bench"), options.peers)
            found = [t for t in found if not options.only or any(w in t.name for w in ("direct", *options.only))]
            rows = uvloop.run(_measure(found, options.rounds, options.seconds, options.seed))
    except servers.ServerFailed as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    result = _result(rows, options, list(argv))
    with tables_aside(options.json):
        show(console, rows, result)
    give_json(result, options.json)
    if options.png:
        draw(result, options.png)
    return 0


def _of(options: argparse.Namespace, argv: list[str]) -> int:
    """One pair."""
    try:
        with ExitStack() as stack:
            pair = pairs.PAIRS[options.of](stack, Path(".cache/bench"))
            found = uvloop.run(pairs.measure(pair, options.rounds, options.seconds, console))
    except (servers.ServerFailed, RuntimeError) as error:
        console.print(f"[red]the bench could not run:[/] {error}")
        return 1
    result = {**pairs.compared(pair, found), "run": _told(options, argv)}
    with tables_aside(options.json):
        pairs.show(result)
    give_json(result, options.json)
    return 0


def _told(options: argparse.Namespace, argv: list[str]) -> dict[str, object]:
    return {"command": facts.command("overhead", argv), "rounds": options.rounds, "seconds": options.seconds,
            "seed": options.seed, **facts.machine()}  # fmt: skip


async def _measure(found: Sequence[Target], rounds: int, for_s: float, seed: int) -> Rows:
    """Every figure of every round. Plain requests, or streams, of which one failed count not at all, and are tried
    again; a peer may go without the figures of either."""
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for target in found:
        for text in (target.warm, f"{target.warm}?") if target.warm else ():  # the first may be too early for a vector
            await asyncio.to_thread(ask, target, text)
    for number in track(range(rounds), description="rounds", console=console):
        for target in found:
            for part in (_plain, _streams):
                done = await _tried(part, target, rows[target.name], for_s, seed + number)
                if not (done or target.name.startswith("peer:")):
                    raise servers.ServerFailed(f"{target.name} failed {TRIES} times in one round")
    return rows


async def _tried(part: Part, target: Target, row: Figures, for_s: float, seed: int) -> bool:
    """One part of one target's round, into ``row``; False: it failed each time."""
    for _ in range(TRIES):
        figures: Figures = defaultdict(list)
        try:
            await part(target, figures, for_s, seed)
        except RuntimeError as error:
            console.print(f"[yellow]{target.name} failed in this round:[/] {error}")
            row["failed_rounds"].append(1.0)
            continue
        for name, values in figures.items():
            row[name] += values
        return True
    return False


async def _plain(target: Target, figures: Figures, for_s: float, seed: int) -> None:
    """One target's requests without streams in one round."""
    plain = target.requests()
    before = semantic_hits(target)
    asked = len((await closed_loop(target.url, plain, 8, 0.3)).seconds)  # warm
    for connections in CLOSED:
        cpu = cpu_s(target.pid)
        sample = await closed_loop(target.url, plain, connections, for_s)
        asked += len(sample.seconds)
        figures[f"rps_c{connections}"].append(sample.rps)
        if target.pid is not None and connections == 32:
            figures["cpu_s_per_1000"].append((cpu_s(target.pid) - cpu) / max(1, len(sample.seconds)) * 1000)
    for rate in RATES:
        if figures["rps_c32"][-1] < ROOM * rate:
            continue
        sample = await open_loop(target.url, plain, rate, max(for_s, FEWEST / rate), seed)
        asked += len(sample.seconds)
        for percent in (50, 95, 99):
            figures[f"p{percent}_ms_at_{rate:.0f}"].append(sample.percentile_ms(percent))
    if target.wording is not None:
        figures["semantic_hits"].append((semantic_hits(target) - before) / max(1, asked))
    figures["started_s"].append(target.started_s)
    figures["rss_mb"].append(rss_mb(target.pid))


async def _streams(target: Target, figures: Figures, for_s: float, seed: int) -> None:
    """One target's streams in one round."""
    if not target.streams:
        return
    sample = await closed_loop(target.url, target.requests(stream=True), STREAMS, for_s)
    figures["chunks_per_s"].append(sample.rps * CHUNKS)
    if target.model != "cached":  # what is replayed has no pace
        paced = target.requests(stream=True, paced=True)
        firsts, gaps = await paced_streams(target.url, paced, STREAMS, each=FEWEST // STREAMS + 1)
        for percent in (50, 99):
            figures[f"first_chunk_p{percent}_ms"].append(percentile_ms(firsts, percent))
        figures["between_chunks_p99_ms"].append(percentile_ms(gaps, 99))
        together, _ = await paced_streams(target.url, paced, STREAMS, each=1, apart_s=0.0)
        figures["first_chunk_p99_ms_together"].append(percentile_ms(together, 99))


def _result(rows: Rows, options: argparse.Namespace, argv: list[str]) -> dict[str, object]:
    medians = {name: {figure: statistics.median(v) for figure, v in figures.items()} for name, figures in rows.items()}
    for name, figures in rows.items():
        medians[name]["failed_rounds"] = sum(figures.get("failed_rounds", ()))
    compared: dict[str, float] = {}

    def by_round(key: str, figure: str, one: str, other: str) -> None:
        if one not in rows or other not in rows:
            return
        pairs = zip(rows[one].get(figure, ()), rows[other].get(figure, ()), strict=False)
        if ratios := [a / b for a, b in pairs if b]:
            compared[key] = statistics.median(ratios)

    relay = "Ocho relay"
    pairs = [
        ("relay_vs_bare_aiohttp", relay, "bare aiohttp proxy"),
        ("general_relay_vs_bare_aiohttp", "Ocho relay, aiohttp client", "bare aiohttp proxy"),
        ("exact_hit_vs_hello", "Ocho exact hit", "aiohttp hello world"),
        ("exact_hit_vs_bare_aiohttp", "Ocho exact hit", "bare aiohttp proxy"),
        ("two_workers_vs_one", "Ocho relay, 2 workers", relay),
        *((f"relay_vs_{name.split(':')[1].split()[0]}", relay, name) for name in rows if name.startswith("peer:")),
        ("mock_vs_relay", "direct", relay),
    ]
    for key, one, other in pairs:
        by_round(key, "rps_c32", one, other)
        by_round(f"{key}_by_cpu", "cpu_s_per_1000", other, one)
    for name, short in ((relay, "relay"), ("bare aiohttp proxy", "bare")):
        for figure in ADDED:
            added = medians.get(name, {}).get(figure, math.nan) - medians["direct"].get(figure, math.nan)
            if not math.isnan(added):
                compared[f"{short}_added_{figure}"] = added
    return {**compared, "rows": medians, "run": _told(options, argv)}
