"""Dashboards as pictures, from the answers of a real Prometheus: to look at them without Grafana."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bench.dashboards.panels import Dashboard, Panel

Series = Sequence[tuple[str, Sequence[tuple[float, float]]]]  # (legend, [(seconds, value)])
COLUMNS = 24
CELL = 2  # columns of a cell of the picture: all widths are even, and fewer cells are laid out more surely
UNITS = {"s": "seconds", "reqps": "requests/s", "cps": "per second", "percentunit": "", "short": "", "bytes": "bytes"}


def legend_of(template: str, labels: Mapping[str, str], title: str) -> str:
    """Grafana's ``{{label}}`` marks filled in."""
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: labels.get(mark[1], ""), template).strip() or title


def draw(dashboard: Dashboard, answers: Mapping[str, Series], path: Path, note: str) -> None:
    """One PNG of all panels, rows as in Grafana. ``answers``: panel title → its series."""
    lines = _lines(dashboard)
    heights = [1.0 if all(p.kind == "stat" for p in line) else 2.6 for line in lines]
    figure = plt.figure(figsize=(16, 1.5 + 1.8 * sum(heights)), layout="constrained")
    begin = min((points[0][0] for series in answers.values() for _, points in series), default=0.0)
    seconds = {title: [(name, _since(begin, points)) for name, points in series] for title, series in answers.items()}
    grid = figure.add_gridspec(len(lines), COLUMNS // CELL, height_ratios=heights)
    for y, line in enumerate(lines):
        x = 0
        for panel in line:
            axes = figure.add_subplot(grid[y, x // CELL : (x + panel.width) // CELL])
            axes.set_title(panel.title, fontsize=10, loc="left")
            (_stat if panel.kind == "stat" else _bars if panel.kind == "bars" else _plot)(
                axes, panel, seconds[panel.title]
            )
            x += panel.width
    figure.suptitle(f"{dashboard.title}\n{note}", fontsize=11)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _since(begin: float, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(t - begin, value) for t, value in points]


def _lines(dashboard: Dashboard) -> list[list[Panel]]:
    """Panels as they wrap at the width of the page; a row begins a line."""
    lines: list[list[Panel]] = []
    for row in dashboard.rows:
        lines.append([])
        for panel in row.panels:
            if sum(p.width for p in lines[-1]) + panel.width > COLUMNS:
                lines.append([])
            lines[-1].append(panel)
    return lines


def _stat(axes: Axes, panel: Panel, series: Series) -> None:
    value = series[0][1][-1][1] if series else float("nan")
    text = f"{value:.1%}" if panel.unit == "percentunit" else f"{value:.3g}" + (" s" if panel.unit == "s" else "")
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20)
    axes.set_axis_off()
    axes.set_title(panel.title, fontsize=10, loc="left")


def _bars(axes: Axes, panel: Panel, series: Series) -> None:
    names = [name for name, _ in series]
    values = [points[-1][1] for _, points in series]
    bars = axes.barh(names, values, color="tab:red")
    axes.bar_label(bars, [f" {value:g}" for value in values])
    axes.set_xlim(left=0, right=max(2.2, 1.1 * max(values, default=0.0)))
    axes.tick_params(labelsize=8)


def _plot(axes: Axes, panel: Panel, series: Series) -> None:
    if panel.kind == "stacked" and series:
        times = sorted({t for _, points in series for t, _ in points})
        rows = [[dict(points).get(t, 0.0) for t in times] for _, points in series]
        axes.stackplot(times, rows, labels=[name for name, _ in series], alpha=0.75)
    else:
        for name, points in series:
            axes.plot([t for t, _ in points], [v for _, v in points], label=name, linewidth=1.3)
    for mark in panel.marks:
        if mark <= 1.5 * axes.get_ylim()[1]:
            axes.axhline(mark, color="tab:red", linewidth=0.8, linestyle="--")
    axes.set_ylabel(UNITS[panel.unit], fontsize=8)
    axes.set_xlabel("seconds into the run", fontsize=7)
    if panel.unit == "percentunit":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    if series:
        axes.set_ylim(top=axes.get_ylim()[1] * 1.25 if panel.unit != "percentunit" else 1.02)  # room for the legend
        axes.legend(
            fontsize=7,
            ncols=3 if panel.width >= 8 else 2,
            loc="upper left" if panel.unit != "percentunit" else "lower left",
        )


def series_of(panel: Panel, answered: Sequence[Sequence[Mapping[str, Any]]]) -> Series:
    """What Prometheus answered to each of the panel's queries, with legends."""
    return [
        (legend_of(query.legend, row["metric"], panel.title), row["points"])
        for query, rows in zip(panel.queries, answered, strict=True)
        for row in rows
    ]
