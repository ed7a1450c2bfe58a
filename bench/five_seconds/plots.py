"""Pictures of a run: latency over time, distribution, who answered, where the time went; the sweep and rising load."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.five_seconds.figures import kind
from bench.five_seconds.run import Measured
from bench.paths import Outcome

DIRECT, OCHO, MARK = "#999999", "#1f77b4", "tab:red"
COLOURS = {
    "exact": "#2ca02c", "semantic": "#98df8a", "coalesced": "#bcbd22", "draft": "#ff7f0e", "model": "#1f77b4",
    "hedge": "#17becf", "error": "#d62728", "quote": "#8c564b", "stale": "#7f7f7f", "reviewed": "#e377c2",
}  # fmt: skip
LATEST = {"total"}  # stages that hold others


def draw(measured: Measured, result: Mapping[str, Any], path: Path) -> None:
    """One PNG. The promise is the dashed line."""
    run = result["run"]
    more = [key for key in ("sweep", "rising_load") if result.get(key)]
    figure, axes = plt.subplots(2 + bool(more), 2, figsize=(13, 8.5 + 4 * bool(more)), layout="constrained")
    scale, deadline = run["time_scale"] or 1.0, run["deadline_s"]
    _over_time(axes[0][0], measured, scale, deadline)
    _distribution(axes[0][1], measured, scale, deadline)
    _who(axes[1][0], measured, scale)
    _waterfall(axes[1][1], measured, scale)
    if more:
        for axis in axes[2][len(more) :]:
            axis.set_axis_off()
        for axis, key in zip(axes[2], more, strict=False):
            (_sweep if key == "sweep" else _rising)(axis, result[key])
    figure.suptitle(
        f"{run['profile']} with drafts of {run['draft_profile']}: {run['requests']} arrivals, "
        f"{run['repeats']:.0%} repeat or rephrase, mode {run['mode']}, faults {run['faults']}, seed {run['seed']}"
        + (f", time scale {scale:g}" if scale != 1 else "")
    )
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _over_time(axes: Axes, measured: Measured, scale: float, deadline: float) -> None:
    """Each answer at its arrival; direct in grey."""
    at = [arrival.at_s for arrival in measured.arrivals]
    axes.scatter(at, [o.seconds / scale for o in measured.direct], s=9, color=DIRECT, label="direct")
    points: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for when, outcome in zip(at, measured.ocho, strict=True):
        points[kind(outcome)].append((when, outcome.seconds / scale))
    for name, found in sorted(points.items()):
        xs, ys = zip(*found, strict=True)
        axes.scatter(xs, ys, s=12, color=COLOURS.get(name, "#9467bd"), label=f"Ocho: {name}")
    axes.axhline(deadline, color=MARK, linestyle="--", linewidth=1)
    axes.set(title="Complete answer, by arrival", xlabel="seconds into the run", ylabel="seconds", yscale="log")
    axes.legend(fontsize=7, ncols=3, loc="lower right")


def _distribution(axes: Axes, measured: Measured, scale: float, deadline: float) -> None:
    for name, outcomes, colour in (("direct", measured.direct, DIRECT), ("Ocho", measured.ocho, OCHO)):
        for what, style in (("whole answer", "-"), ("first token", ":")):
            seconds = sorted((o.seconds if style == "-" else o.first_token_s) / scale for o in outcomes)
            shares = [(n + 1) / len(seconds) for n in range(len(seconds))]
            axes.step(seconds, shares, where="post", color=colour, linestyle=style, label=f"{name}, {what}")
    axes.axvline(deadline, color=MARK, linestyle="--", linewidth=1)
    axes.set(title="Share answered within …", xlabel="seconds", xscale="log", ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")


def _who(axes: Axes, measured: Measured, scale: float) -> None:
    """Shares of who answered through Ocho over the run, in ten equal parts of it."""
    parts = 10
    end = (measured.arrivals[-1].at_s or 1.0) * 1.0001
    counts = [Counter[str]() for _ in range(parts)]
    for arrival, outcome in zip(measured.arrivals, measured.ocho, strict=True):
        counts[min(parts - 1, int(arrival.at_s / end * parts))][kind(outcome)] += 1
    names = [name for name, _ in Counter(map(kind, measured.ocho)).most_common()]
    bottom = [0.0] * parts
    width = end / parts
    for name in names:
        heights = [count[name] / (count.total() or 1) for count in counts]
        xs = [(n + 0.5) * width for n in range(parts)]
        axes.bar(xs, heights, width * 0.95, bottom=bottom, color=COLOURS.get(name, "#9467bd"), label=name)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set(title="Who answered", xlabel="seconds into the run", ylabel="share", ylim=(0, 1.25))
    axes.legend(fontsize=7, ncols=5, loc="upper center")


def _waterfall(axes: Axes, measured: Measured, scale: float) -> None:
    """Median stages. The direct path's follow one another; Ocho's run side by side, then the answer is written."""
    names: list[str] = []
    row = 0

    def bar(name: str, start: float, length: float, colour: str) -> None:
        nonlocal row
        axes.barh(row, max(length, 0.005), left=start, color=colour)
        axes.text(start + length, row, f" {length:.2f} s", va="center", fontsize=7)
        names.append(name)
        row += 1

    stages = _medians([o for o in measured.direct if not o.error], scale)
    for (name, length), start in zip(stages.items(), accumulate([0.0, *stages.values()]), strict=False):
        bar(f"direct: {name}", start, length, DIRECT)
    for who, _ in Counter(map(kind, measured.ocho)).most_common(4):
        mine = [o for o in measured.ocho if kind(o) == who and not o.error]
        if not mine:
            continue
        colour = COLOURS.get(who, "#9467bd")
        for name, length in _medians(mine, scale).items():
            bar(f"{who}: {name}", 0.0, length, colour)
        first = statistics.median(o.first_token_s / scale for o in mine)
        bar(f"{who}: to first token", 0.0, first, colour)
        bar(f"{who}: to whole answer", 0.0, statistics.median(o.seconds / scale for o in mine), colour)
    axes.set_yticks(range(row), names, fontsize=7)
    axes.invert_yaxis()
    axes.set(title="Where the time goes (medians)", xlabel="seconds")


def _medians(outcomes: Sequence[Outcome], scale: float) -> dict[str, float]:
    """stage → median seconds, over those that had it; stages most of them lack are left out."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for name, length in outcome.stages.items():
            if name not in LATEST:
                seconds[name].append(length / scale)
    return {name: statistics.median(found) for name, found in seconds.items() if 2 * len(found) >= len(outcomes)}


def _sweep(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    shares = [row["repeat_share"] for row in rows]
    for path, colour in (("direct", DIRECT), ("ocho", OCHO)):
        axes.plot(shares, [row[path]["within_5s"] for row in rows], "o-", color=colour, label=f"{path}: useful in time")
        axes.plot(shares, [row[path]["spend"] for row in rows], "s:", color=colour, label=f"{path}: spend")
    axes.set(title="By share of repeats and rephrasings", xlabel="repeat share", ylim=(0, 1.05))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _rising(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rates = [row["rate"] for row in rows]
    for path, colour in (("direct", DIRECT), ("ocho", OCHO)):
        axes.plot(rates, [row[path]["goodput_per_s"] for row in rows], "o-", color=colour, label=path)
    axes.plot(rates, rates, color="#cccccc", linestyle="--", label="all useful in time")
    slots = rows[0]["slots"]
    axes.set(title=f"Rising load, {slots} calls at once per model: useful answers in time", xlabel="arrivals/s",
             ylabel="useful/s", xscale="log", yscale="symlog")  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
