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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import servers
from bench.overhead.load import closed_loop, open_loop, paced_streams, percentile_ms
from bench.overhead.mock import CHUNKS

console = Console()
QUESTION = "정규직 직원의 연차휴가는 며칠인가요? How many days of annual leave do I get? " * 12  # about 1 KB
CLOSED = (1, 32, 256)
STREAMS = 64
RATES = (100.0, 500.0)


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    url: str
    model: str
    pid: int | None  # of the process under test, for its CPU seconds
    started_s: float = 0.0  # from its start until it took connections


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved; medians are reported")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each segment")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--png", type=Path, help="draw requests per second and CPU per request here")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        targets = _targets(stack, Path(".cache/bench"))
        rows = uvloop.run(_measure(targets, options.rounds, options.seconds, options.seed))
    result = _result(rows, options)
    _show(rows, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if options.png:
        _draw(result, options.png)
    return 0


def _targets(stack: ExitStack, work: Path) -> list[Target]:
    """Servers under test on the first core, the mock on the last, where the load comes from too."""
    work.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    mock = f"http://127.0.0.1:{servers.free_port()}"
    here = "bench.overhead"

    def started(name: str, path: str, environ: Mapping[str, str], *command: str) -> tuple[str, int, float]:
        """``command`` with the free port in place of PORT: its address, process id and seconds until it answered."""
        port, log = servers.free_port(), work / f"{name}.log"
        began = time.perf_counter()
        arguments = [str(port) if word == "PORT" else word for word in command]
        child = stack.enter_context(servers.process([sys.executable, "-m", *arguments], log, environ))
        servers.wait_for_port(port, child, log)
        return f"http://127.0.0.1:{port}{path}", child.pid, time.perf_counter() - began

    with _pinned({cores[-1]}):
        stack.enter_context(servers.process([sys.executable, "-m", f"{here}.mock", _port(mock)], work / "mock.log"))
    gateway = ["gateway", "serve", "--config", str(_config(work, mock)), "--port", "PORT"]
    general = {
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1",
    }  # a proxy in the environment: aiohttp's client
    with _pinned({cores[0]}):
        bare = started("proxy", "/v1", {}, f"{here}.bare_proxy", "PORT", mock)
        hello = started("hello", "/v1", {}, f"{here}.hello", "PORT")
        ocho = started("gateway", "/v1", {}, *gateway)
        other = started("general", "/v1", general, *gateway)
    os.sched_setaffinity(0, {cores[-1]})
    return [
        Target("direct", f"{mock}/v1", "mock", None),
        Target("bare aiohttp proxy", bare[0], "mock", *bare[1:]),
        Target("Ocho relay", ocho[0], "mock", *ocho[1:]),
        Target("Ocho relay, aiohttp client", other[0], "mock", *other[1:]),
        Target("Ocho exact hit", ocho[0], "cached", *ocho[1:]),
        Target("aiohttp hello world", hello[0], "mock", *hello[1:]),
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
            figures = rows[target.name]
            for rate in RATES:
                sample = await open_loop(target.url, plain, rate, for_s, seed + number)
                for percent in (50, 95, 99):
                    figures[f"p{percent}_ms_at_{rate:.0f}"].append(sample.percentile_ms(percent))
            figures["started_s"] = [target.started_s]
            figures["rss_mb"].append(_rss_mb(target.pid))
            if target.name == "aiohttp hello world":
                continue  # it streams nothing
            sample = await closed_loop(target.url, streamed, STREAMS, for_s)
            figures["chunks_per_s"].append(sample.rps * CHUNKS)
            paced = streamed.replace(b'"stream": true', b'"stream": true, "user": "paced"')
            if target.model == "mock":
                firsts, gaps = await paced_streams(target.url, paced, STREAMS, for_s)
                for percent in (50, 99):
                    figures[f"first_chunk_p{percent}_ms"].append(percentile_ms(firsts, percent))
                figures["between_chunks_p99_ms"].append(percentile_ms(gaps, 99))
    return rows


def _body(model: str, stream: bool) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "stream": stream}
    return json.dumps(body, ensure_ascii=False).encode()


def _result(rows: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> dict[str, object]:
    medians = {name: {figure: statistics.median(v) for figure, v in figures.items()} for name, figures in rows.items()}
    relay, direct = medians["Ocho relay"], medians["direct"]

    def by_round(figure: str, one: str, other: str) -> float:
        pairs = zip(rows[one][figure], rows[other][figure], strict=True)
        return statistics.median(a / b for a, b in pairs)

    compared: dict[str, object] = {}
    for name, one, other in (
        ("relay_vs_bare_aiohttp", "Ocho relay", "bare aiohttp proxy"),
        ("general_relay_vs_bare_aiohttp", "Ocho relay, aiohttp client", "bare aiohttp proxy"),
        ("exact_hit_vs_hello", "Ocho exact hit", "aiohttp hello world"),
        ("exact_hit_vs_bare_aiohttp", "Ocho exact hit", "bare aiohttp proxy"),
        ("mock_vs_relay", "direct", "Ocho relay"),
    ):
        compared[name] = by_round("rps_c32", one, other)
        if other != "Ocho relay":
            compared[f"{name}_by_cpu"] = by_round("cpu_s_per_1000", other, one)
    for figure in ("p50_ms_at_100", "p99_ms_at_100", "first_chunk_p99_ms", "between_chunks_p99_ms"):
        compared[f"relay_added_{figure}"] = relay[figure] - direct[figure]
    compared["bare_added_p50_ms_at_100"] = medians["bare aiohttp proxy"]["p50_ms_at_100"] - direct["p50_ms_at_100"]
    return {
        **compared,
        "rows": medians,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "seed": options.seed,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "not_run": "semantic hit, LiteLLM, Portkey, TensorZero",
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
    for name, value in result.items():
        if isinstance(value, float):
            console.print(f"{name}: {value:.3f}")
    console.print(
        "The mock is a raw uvloop protocol on the core of the load; mock_vs_relay says how much faster it is."
    )
    console.print("On a busy machine the ratios by CPU seconds are the ones to trust.")


def _draw(result: dict[str, object], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = cast(dict[str, dict[str, float]], result["rows"])
    names = [name for name in rows if name != "direct"]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.2), constrained_layout=True)
    shown = (("rps_c32", "requests/s at 32 connections"), ("cpu_s_per_1000", "CPU s per 1,000"))
    for axis, (key, title) in zip(axes, shown, strict=True):
        axis.barh(names, [rows[name][key] for name in names])
        axis.set_title(title)
        axis.invert_yaxis()
    figure.savefig(path, dpi=120)


def _cpu_s(pid: int | None) -> float:
    """Seconds all threads of a process ran on a CPU (proc(5) schedstat: nanoseconds)."""
    if pid is None:
        return 0.0
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _rss_mb(pid: int | None) -> float:
    if pid is None:
        return 0.0
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


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
