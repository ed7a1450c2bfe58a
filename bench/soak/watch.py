"""What a process holds: memory, open files, sockets; and its tasks, as it tells them in `/metrics`. And verdicts."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import aiohttp

EVERY_S = 2.0
WARM = 1 / 3  # of the run: caches fill, pools open, the allocator finds its size
# growth over the rest of the run that still counts as flat: as a share of the median, and as a number
FLAT = {
    "rss_mb": (0.04, 3.0),
    "private_mb": (0.04, 3.0),
    "tasks": (0.10, 3.0),
    "sockets": (0.10, 4.0),
    "files": (0.10, 4.0),
}
# More than before the load that is still nothing left behind; idle connections to providers are closed with the next
# call that ends, so some of the last burst stay.
AFTER = {"tasks": 3, "sockets": 16, "files": 20}
_TASKS = re.compile(r"^ocho_asyncio_tasks (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    rss_mb: float
    private_mb: float  # of it what is no file: the embedder's weights are read from theirs page by page, as words come
    files: int  # all file descriptors, sockets among them
    sockets: int
    tasks: int  # on the event loop


async def sample(pid: int, http: aiohttp.ClientSession, gateway: str, began: float) -> Sample:
    """Raises OSError where the process is gone."""
    async with http.get(f"{gateway}/metrics") as reply:
        found = _TASKS.search(await reply.text())
    rss_mb, private_mb, files, sockets = await asyncio.to_thread(_held, pid)
    tasks = int(float(found[1])) if found else -1
    return Sample(time.monotonic() - began, rss_mb, private_mb, files, sockets, tasks)


def _held(pid: int) -> tuple[float, float, int, int]:
    """Resident and private memory, files, sockets."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    kb = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if "kB" in rest}
    links: list[str] = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    sockets = sum(link.startswith("socket:") for link in links)
    return kb["VmRSS"] / 1024, kb["RssAnon"] / 1024, len(links), sockets


async def watch(pid: int, gateway: str, for_s: float) -> list[Sample]:
    """A sample every two seconds."""
    samples: list[Sample] = []
    began = time.monotonic()
    async with aiohttp.ClientSession() as http:
        while time.monotonic() - began < for_s:
            samples.append(await sample(pid, http, gateway, began))
            await asyncio.sleep(EVERY_S)
    return samples


def verdicts(samples: Sequence[Sample]) -> dict[str, dict[str, float | bool]]:
    """Per quantity: median, growth over the run after its warm-up by a robust line, and whether that is flat."""
    warm = samples[-1].at_s * WARM
    kept = [s for s in samples if s.at_s >= warm]
    found: dict[str, dict[str, float | bool]] = {}
    for field in fields(Sample)[1:]:
        values = [float(getattr(s, field.name)) for s in kept]
        times = [s.at_s for s in kept]
        grown = slope(times, values) * (times[-1] - times[0])
        median = statistics.median(values)
        share, number = FLAT[field.name]
        found[field.name] = {
            "median": round(median, 2),
            "max": round(max(values), 2),
            "grown": round(grown, 3),
            "per_hour": round(slope(times, values) * 3600, 3),
            "flat": grown <= max(share * median, number),
        }
    return found


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Theil and Sen's: the median of the slopes of all pairs, over at most 300 points; bursts do not bend it."""
    step = max(1, len(times) // 300)
    points = list(zip(times, values, strict=True))[::step]
    slopes = [(v - u) / (t - s) for i, (s, u) in enumerate(points) for t, v in points[i + 1 :] if t > s]
    return statistics.median(slopes) if slopes else 0.0
