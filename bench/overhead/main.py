"""`python -m bench overhead`: requests per second, added latency and chunks per second of one worker on one core."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import servers
from bench.overhead.load import closed_loop, open_loop
from bench.overhead.mock import CHUNKS

console = Console()
QUESTION = "정규직 직원의 연차휴가는 며칠인가요? How many days of annual leave do I get? " * 12  # about 1 KB
CLOSED = (1, 32, 256)
STREAMS = 64
RATE = 100.0


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    url: str
    model: str
    pid: int | None  # of the process under test, for its CPU seconds


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved; medians are reported")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each segment")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        targets = _targets(stack, Path(".cache/bench"))
        rows = uvloop.run(_measure(targets, options.rounds, options.seconds, options.seed))
    result = _result(rows, options)
    _show(rows, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0


def _targets(stack: ExitStack, work: Path) -> list[Target]:
    """Servers under test on the first core, the mock on the last, where the load comes from too."""
    work.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    mock = f"http://127.0.0.1:{servers.free_port()}"
    proxy = f"http://127.0.0.1:{servers.free_port()}"
    gateway = f"http://127.0.0.1:{servers.free_port()}"
    here = "bench.overhead"
    with _pinned({cores[-1]}):
        stack.enter_context(servers.process([sys.executable, "-m", f"{here}.mock", _port(mock)], work / "mock.log"))
    with _pinned({cores[0]}):
        command = [sys.executable, "-m", f"{here}.bare_proxy", _port(proxy), mock]
        bare = stack.enter_context(servers.process(command, work / "proxy.log"))
        command = [
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--config",
            str(_config(work, mock)),
            "--port",
            _port(gateway),
        ]
        ocho = stack.enter_context(servers.process(command, work / "gateway.log"))
        servers.wait_for(f"{gateway}/readyz", ocho, work / "gateway.log")
    os.sched_setaffinity(0, {cores[-1]})
    time.sleep(0.5)
    return [
        Target("direct", f"{mock}/v1", "mock", None),
        Target("bare aiohttp proxy", f"{proxy}/v1", "mock", bare.pid),
        Target("Ocho relay", f"{gateway}/v1", "mock", ocho.pid),
        Target("Ocho exact hit", f"{gateway}/v1", "cached", ocho.pid),
    ]


def _config(work: Path, mock: str) -> Path:
    """Every default on; one model that is only relayed, one with the exact cache."""
    path = work / "ocho.yaml"
    path.write_text(
        f"""auth: {{keys: [{{key: bench-key, tenant: bench}}]}}
server: {{host: 127.0.0.1}}
models:
  - {{name: mock, deployments: [{{name: mock, base_url: "{mock}/v1"}}]}}
  - {{name: cached, answers_with: mock, cache: true}}
data_dir: {work / "data"}
""",
        encoding="utf-8",
    )
    return path


async def _measure(
    targets: Sequence[Target], rounds: int, for_s: float, seed: int
) -> dict[str, dict[str, list[float]]]:
    """target → figure → one value a round."""
    rows: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in track(range(rounds), description="rounds", console=console):
        for target in targets:
            plain, streamed = _body(target.model, False), _body(target.model, True)
            await closed_loop(target.url, plain, 8, 0.3)  # warm
            for connections in CLOSED:
                cpu = _cpu_s(target.pid)
                sample = await closed_loop(target.url, plain, connections, for_s)
                figures = rows[target.name]
                figures[f"rps_c{connections}"].append(sample.rps)
                if target.pid is not None and connections == 32:
                    figures["cpu_s_per_1000"].append((_cpu_s(target.pid) - cpu) / len(sample.seconds) * 1000)
            sample = await open_loop(target.url, plain, RATE, for_s, seed + number)
            for percent in (50, 95, 99):
                rows[target.name][f"p{percent}_ms"].append(sample.percentile_ms(percent))
            sample = await closed_loop(target.url, streamed, STREAMS, for_s)
            rows[target.name]["chunks_per_s"].append(sample.rps * CHUNKS)
    return rows


def _body(model: str, stream: bool) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "stream": stream}
    return json.dumps(body, ensure_ascii=False).encode()


def _result(rows: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> dict[str, object]:
    medians = {name: {figure: statistics.median(v) for figure, v in figures.items()} for name, figures in rows.items()}
    relay, bare, direct = medians["Ocho relay"], medians["bare aiohttp proxy"], medians["direct"]

    def by_round(figure: str, one: str, other: str) -> float:
        pairs = zip(rows[one][figure], rows[other][figure], strict=True)
        return statistics.median(a / b for a, b in pairs)

    return {
        "rows": medians,
        "relay_vs_bare_aiohttp": by_round("rps_c32", "Ocho relay", "bare aiohttp proxy"),
        "exact_hit_vs_bare_aiohttp": by_round("rps_c32", "Ocho exact hit", "bare aiohttp proxy"),
        "relay_added_p50_ms": relay["p50_ms"] - direct["p50_ms"],
        "relay_added_p99_ms": relay["p99_ms"] - direct["p99_ms"],
        "bare_added_p50_ms": bare["p50_ms"] - direct["p50_ms"],
        "rounds": options.rounds,
        "seconds": options.seconds,
        "seed": options.seed,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def _show(rows: dict[str, dict[str, list[float]]], result: dict[str, object]) -> None:
    figures = list(next(iter(rows.values())))
    figures.append("cpu_s_per_1000")
    table = Table(title="one worker on one core; mock and load on the other; medians of interleaved rounds")
    table.add_column("")
    for name in rows:
        table.add_column(name, justify="right")
    for figure in dict.fromkeys(figures):
        cells = [f"{statistics.median(f[figure]):,.3f}" if figure in f else "" for f in rows.values()]
        table.add_row(figure, *cells)
    console.print(table)
    for name in ("relay_vs_bare_aiohttp", "exact_hit_vs_bare_aiohttp", "relay_added_p50_ms", "relay_added_p99_ms"):
        console.print(f"{name}: {result[name]:.3f}")


def _cpu_s(pid: int | None) -> float:
    """User and system seconds a process has used (proc(5), fields 14 and 15)."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _port(url: str) -> str:
    return url.rsplit(":", 1)[1]


@contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Children started in the block stay on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
