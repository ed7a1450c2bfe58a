"""The figures on a terminal and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, rows: Mapping[str, Mapping[str, list[float]]], result: Mapping[str, Any]) -> None:
    figures = dict.fromkeys(figure for each in rows.values() for figure in each)
    table = Table(title="one worker on one core; mock and load on the other; medians of interleaved rounds")
    table.add_column("")
    for name in rows:
        table.add_column(name, justify="right")
    for figure in figures:
        cells = [f"{statistics.median(f[figure]):,.3f}" if f.get(figure) else "" for f in rows.values()]
        table.add_row(figure, *cells)
    Console(stderr=True, width=max(console.width, 30 + 22 * len(rows))).print(table)
    for name, value in result.items():
        if isinstance(value, float):
            console.print(f"{name}: {value:.3f}")
    console.print(
        "The mock is a raw uvloop protocol on the core of the load; mock_vs_relay says how much faster it is. "
        "Two workers share both cores with the load. An open-loop figure that is missing: it could not take the rate."
    )
    console.print("On a busy machine the ratios by CPU seconds are the ones to trust.")
    console.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")


def draw(result: Mapping[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows: Mapping[str, Mapping[str, float]] = result["rows"]
    shown = (
        ("rps_c32", "requests/s at 32 connections"),
        ("cpu_s_per_1000", "CPU seconds per 1,000 requests"),
        ("first_chunk_p99_ms", "first chunk of 64 paced streams, p99, ms"),
    )
    figure, axes = pyplot.subplots(1, 3, figsize=(17, 0.9 + 0.36 * len(rows)), layout="constrained")
    for axis, (key, title) in zip(axes, shown, strict=True):
        names = [name for name in rows if key in rows[name] and (key != "rps_c32" or name != "direct")]
        values = [rows[name][key] for name in names]
        colours = ["#1f77b4" if name.startswith("Ocho") else "#bbbbbb" for name in names]
        bars = axis.barh(names, values, color=colours)
        axis.bar_label(bars, [f" {value:,.3g}" if value < 100 else f" {value:,.0f}" for value in values], fontsize=7)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.invert_yaxis()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
