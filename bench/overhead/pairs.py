"""Two gateways against each other in many short rounds: what metrics cost, and what a second worker brings."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.overhead.asking import ask, semantic_hits
from bench.overhead.load import closed_loop
from bench.overhead.proc import cpu_s
from bench.overhead.targets import (
    ASKED,
    Starter,
    Target,
    config_file,
    python,
    served,
    two_workers,
    typed_with_other_marks,
    url,
)

WARM_S = 1.0
FEWEST_HITS = 0.95  # of a target with wordings
ANSWERED = 20  # times that a question is asked first: each worker keeps its own answers


@dataclass(frozen=True, slots=True)
class Segment:
    """One target in one round."""

    rps: float
    cpu_ms: float  # of the target, a request
    hits: float  # share that the gateway counted as hits by meaning
    cores: float  # that the target had
    load_cores: float  # that the load and the mock had


@dataclass(frozen=True, slots=True)
class Pair:
    one: Target
    other: Target
    mock: int  # process id
    told: str
    connections: int


def metrics(stack: ExitStack, work: Path) -> Pair:
    """The relay as it is, and without its metrics and ``Server-Timing``."""
    start, mock, mock_pid = _mocked(stack, work)
    config = config_file(work, mock)
    silent = config_file(work, mock, "unmeasured", telemetry="{server_timing: false}")
    (first, *_) = _cores()
    full = start("gateway", {first}, {}, lambda port: python("gateway", *served(config, port)))
    bare = start("unmeasured", {first}, {}, lambda port: python("bench.overhead.unmeasured", *served(silent, port)))
    return Pair(
        Target("without metrics", url(bare[0]), "mock", *bare[1:]), Target("as it is", url(full[0]), "mock", *full[1:]),
        mock_pid, "metrics and Server-Timing: a relayed request", 32,
    )  # fmt: skip


def workers(stack: ExitStack, work: Path) -> Pair:
    """One worker on one core and two on two, with requests that are dear to the gateway alone: hits of questions that
    are worded anew each time, so that each is embedded."""
    start, mock, mock_pid = _mocked(stack, work)
    config = config_file(work, mock)
    cores = _cores()
    one = start("gateway", {cores[0]}, {}, lambda port: python("gateway", *served(config, port)))
    two = start("two-workers", {cores[0], cores[-1]}, {}, lambda port: two_workers(work, mock, port))
    found = [
        Target(name, url(at[0]), "cached", *at[1:], wording=typed_with_other_marks, warm=ASKED + "?")
        for name, at in (("one worker", one), ("two workers", two))
    ]
    return Pair(found[0], found[1], mock_pid, "one worker on one core, two on two: a hit by meaning, embedded anew", 8)


PAIRS: dict[str, Callable[[ExitStack, Path], Pair]] = {"metrics": metrics, "workers": workers}


async def measure(pair: Pair, rounds: int, for_s: float, console: Console) -> dict[str, list[Segment]]:
    """By target, one segment a round; who comes first changes. Raises RuntimeError where a call fails."""
    os.sched_setaffinity(0, {_cores()[-1]})
    found: dict[str, list[Segment]] = {pair.one.name: [], pair.other.name: []}
    both = [pair.one, pair.other]
    for target in both:
        for _ in range(ANSWERED if target.warm else 0):
            await asyncio.to_thread(ask, target, target.warm)
        await closed_loop(target.url, target.requests(), pair.connections, WARM_S)
    for number in track(range(rounds), description="rounds", console=console):
        for target in both if number % 2 else reversed(both):
            found[target.name].append(await _segment(target, pair, for_s))
    return found


def compared(pair: Pair, found: dict[str, list[Segment]]) -> dict[str, Any]:
    """Medians of each, and of the rounds' ratios: the other's to the one's."""
    rows = {
        name: {
            figure: statistics.median(getattr(s, figure) for s in segments) for figure in Segment.__dataclass_fields__
        }
        for name, segments in found.items()
    }
    meant = all(rows[t.name]["hits"] >= FEWEST_HITS for t in (pair.one, pair.other) if t.wording is not None)
    rounds = list(zip(found[pair.one.name], found[pair.other.name], strict=True))
    by_rps = [other.rps / one.rps for one, other in rounds]
    by_cpu = [other.cpu_ms / one.cpu_ms for one, other in rounds]
    return {
        "what": pair.told,
        "as_meant": meant,
        "rows": rows,
        "requests_ratio": _spread(by_rps),
        "cpu_per_request_ratio": _spread(by_cpu),
    }


def show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=result["what"])
    for column in ("", "requests/s", "CPU ms a request", "hits", "cores used", "cores used by load and mock"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in result["rows"].items():
        formats = {"rps": ",.0f", "cpu_ms": ".4f", "hits": ".2f", "cores": ".2f", "load_cores": ".2f"}
        table.add_row(name, *(format(row[figure], spec) for figure, spec in formats.items()))
    console.print(table)
    if not result["as_meant"]:
        console.print("[red]not what was meant:[/] vectors came too late for hits; the machine is too busy")
    first, second = result["rows"]
    for figure, title in (("requests_ratio", "requests/s"), ("cpu_per_request_ratio", "CPU a request")):
        low, middle, high = result[figure]
        console.print(f"{title}, {second} / {first}: {middle:.3f} (middle half of the rounds {low:.3f} to {high:.3f})")
    console.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")


async def _segment(target: Target, pair: Pair, for_s: float) -> Segment:
    hits = semantic_hits(target)
    spent, others, began = cpu_s(target.pid), _load_s(pair.mock), time.perf_counter()
    sample = await closed_loop(target.url, target.requests(), pair.connections, for_s)
    took = time.perf_counter() - began
    spent, others = cpu_s(target.pid) - spent, _load_s(pair.mock) - others
    count = max(1, len(sample.seconds))
    hits = (semantic_hits(target) - hits) / count
    return Segment(sample.rps, spent / count * 1000, hits, spent / took, others / took)


def _load_s(mock: int) -> float:
    return time.process_time() + cpu_s(mock)


def _spread(ratios: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _mocked(stack: ExitStack, work: Path) -> tuple[Callable[..., tuple[int, int, float]], str, int]:
    """Starts servers, among them the mock: its address and process id."""
    work.mkdir(parents=True, exist_ok=True)
    start = Starter(stack, work).start
    port, pid, _ = start("mock", {_cores()[-1]}, {}, lambda port: python("bench.overhead.mock", str(port)))
    return start, url(port, ""), pid
