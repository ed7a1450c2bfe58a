"""When requests arrive: moments read from trace files of several shapes, fitted to a number of requests and a rate.

Read are CSV files, plain or gzipped: one row a request with its time (``t_s``, ``timestamp``, …, else the first column;
seconds or a date and time), or one row a window with its rate (``window_start_s``, ``total_rate_rps``).
"""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate, groupby, islice, pairwise
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "traces" / "office-hour.csv"
TIME_NAMES = ("t_s", "timestamp", "time", "time_s", "arrival", "arrival_s", "arrival_time", "start_time")
WINDOW, RATE = "window_start_s", "total_rate_rps"
DAY_S = 86_400.0


class BadTrace(ValueError):
    """The file is no trace that can be read; the message says why."""


def moments(path: Path, requests: int, rate: float, seed: int) -> list[float]:
    """Seconds from the start, the first at 0. ``rate``: the mean wanted, 0 keeps the pace of the trace."""
    with _opened(path) as lines:
        rows = csv.reader(lines)
        names = [name.strip().lower() for name in next(rows, [])]
        if not names:
            raise BadTrace(f"{path} is empty")
        if WINDOW in names and RATE in names:
            return _from_windows(rows, names, requests, rate, random.Random(seed))
        times = _times(path, rows, names, requests + 1)
    gaps = [later - earlier for earlier, later in pairwise(_apart(times))] or [1.0]
    gaps = (gaps * (requests // len(gaps) + 1))[:requests]  # a short trace begins again
    stretch = requests / rate / (sum(gaps) or 1.0) if rate else 1.0
    return [moment - gaps[0] * stretch for moment in accumulate(gap * stretch for gap in gaps)]


def _opened(path: Path):  # type: ignore[no-untyped-def]
    try:
        return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8")
    except OSError as error:
        raise BadTrace(f"cannot read {path}: {error.strerror}") from error


def _times(path: Path, rows: Iterator[list[str]], names: Sequence[str], most: int) -> list[float]:
    column = next((names.index(name) for name in TIME_NAMES if name in names), 0)
    first = _seconds(names[column])
    try:
        times = [found for row in islice(rows, most) if row and (found := _seconds(row[column])) is not None]
    except IndexError as error:
        raise BadTrace(f"{path} has rows with fewer than {column + 1} columns") from error
    times = sorted([*([] if first is None else [first]), *times])[:most]
    if not times:
        raise BadTrace(f"{path} holds no times in column {names[column]!r}; expected seconds or dates with times")
    return times


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()[:26]).timestamp()
    except ValueError:
        return None


def _apart(times: Sequence[float]) -> list[float]:
    """Equal times come from a coarse clock: they are spread evenly up to the next one."""
    ticks = [(at, len(list(same))) for at, same in groupby(times)]
    ends = [at for at, _ in ticks[1:]] + [ticks[-1][0]]
    return [at + (end - at) * n / count for (at, count), end in zip(ticks, ends, strict=True) for n in range(count)]


def _from_windows(
    rows: Iterator[list[str]], names: Sequence[str], requests: int, rate: float, rng: random.Random
) -> list[float]:
    """The curve of the first day, squeezed into the run, as a Poisson process with that rate."""
    at, per_s = names.index(WINDOW), names.index(RATE)
    windows = [(float(row[at]), float(row[per_s])) for row in rows if row]
    windows = [(start, busy) for start, busy in windows if start - windows[0][0] < DAY_S]
    mean = sum(busy for _, busy in windows) / len(windows) if windows else 0.0
    if not mean:
        raise BadTrace("the windows of the trace hold no requests")
    length_s = requests / (rate or mean)
    drawn = rng.choices(range(len(windows)), [busy for _, busy in windows], k=requests)
    times = sorted((window + rng.random()) * length_s / len(windows) for window in drawn)
    return [time - times[0] for time in times]
