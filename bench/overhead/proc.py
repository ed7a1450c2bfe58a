"""What a process and its children have used, from /proc."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int | None) -> float:
    """Seconds all their threads ran on a CPU (proc(5) schedstat: nanoseconds)."""
    spent = 0
    for one in family(pid):
        for path in Path(f"/proc/{one}/task").glob("*/schedstat"):
            with suppress(OSError):  # it ended meanwhile
                spent += int(path.read_text().split()[0])
    return spent / 1e9


def rss_mb(pid: int | None) -> float:
    kb = 0
    for one in family(pid):
        line = next(x for x in Path(f"/proc/{one}/status").read_text().splitlines() if x.startswith("VmRSS"))
        kb += int(line.split()[1])
    return kb / 1024


def family(pid: int | None) -> list[int]:
    """The process and its children; none for None."""
    if pid is None:
        return []
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found
