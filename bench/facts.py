"""What a run was made with: for every table and every file that holds figures."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def machine() -> dict[str, str | int | float]:
    """Python, processor, cores, load and commit; "+" after a commit: with changes that it does not hold."""
    return {
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 2),
        "commit": _commit(),
    }


def command(name: str, argv: list[str]) -> str:
    return " ".join(["python -m bench", name, *argv])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    found = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "") or "unknown"
    except OSError:
        print("git is not here: the commit is not known", file=sys.stderr)
        return "unknown"
