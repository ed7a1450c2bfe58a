"""The figures of a run as tables, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.soak.watch import AFTER


def tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) of what was held."""
    held = [
        [name, *(f"{each[key]:g}" for key in ("median", "max", "grown", "per_hour")), "yes" if each["flat"] else "NO"]
        for name, each in result["verdicts"].items()
    ]
    left = [
        [name, f"{result['before'][name]}", f"{result['after'][name]}", f"{count:+d} (at most +{AFTER[name]})"]
        for name, count in result["left_behind"].items()
    ]
    return [
        ("After the warm-up", ["", "median", "max", "grown", "per hour", "flat"], held),
        ("Before the load and after it", ["", "before", "after", "left behind"], left),
    ]
