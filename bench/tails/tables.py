"""The figures of a run as tables, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.tails import figures


def tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) of everything that was run."""
    way = figures.GOALS
    goals = [
        [name, f"{value:g}", f"{way[name][0]} {way[name][1]:g}", "met" if figures.met(name, value) else "missed"]
        for name, value in result["summary"].items()
    ]
    found = [("Against the goals", ["", "measured", "goal", ""], goals)]
    if faults := result.get("faults"):
        rows = [
            [phase, path, *(f"{value:g}" for value in figures_of.values())]
            for path, each in faults.items()
            for phase, figures_of in each["phases"].items()
        ]
        columns = ["d1 is", "path", *next(iter(faults["ocho"]["phases"].values()))]
        found.append(("One of four deployments falls ill, at half of the capacity", columns, rows))
    if loads := result.get("load"):
        rows = [
            [f"{float(load):.0%}", path, *(f"{value:g}" for value in each.values())]
            for load, paths in loads.items()
            for path, each in paths.items()
        ]
        columns = ["load", "path", *loads["2"]["ocho"]]
        found.append((f"Load, in shares of the capacity ({result['capacity_per_s']:g} answers/s)", columns, rows))
    if cancel := result.get("cancel"):
        rows = [[f"{value:g}" for value in cancel.values()]]
        found.append(("Callers that left: until the provider was hung up on", list(cancel), rows))
    return found
