"""What a process has used, from /proc."""

from __future__ import annotations

from pathlib import Path


def cpu_s(pid: int | None) -> float:
    """Seconds all its threads ran on a CPU (proc(5) schedstat: nanoseconds)."""
    if pid is None:
        return 0.0
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def rss_mb(pid: int | None) -> float:
    if pid is None:
        return 0.0
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
