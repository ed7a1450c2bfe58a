"""The run as a page with a picture: first token over time, and goodput by load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench.page import Table, page
from bench.tails.client import Ask
from bench.tails.tables import tables

COLOURS = {"round_robin": "#999999", "ocho": "#1f77b4"}


def write(folder: Path, told: str, result: Mapping[str, Any], asks: Mapping[str, Sequence[Ask]]) -> None:
    """``tails.html`` (whole in itself) and ``tails.png`` in ``folder``; ``told``: its second paragraph is the lead."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "tails.png"
    _draw(result, asks, picture)
    lead = [" ".join(told.split("\n\n", 1)[-1].split())]
    text = page("Tails", lead, [Table(*table) for table in tables(result)], [picture], result["run"])
    (folder / "tails.html").write_text(text, encoding="utf-8")


def _draw(result: Mapping[str, Any], asks: Mapping[str, Sequence[Ask]], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(16, 4.5), layout="constrained", width_ratios=[2, 1, 1])
    for name, mine in asks.items():
        axes[0].scatter([a.at_s for a in mine], [a.first_s for a in mine], s=7, color=COLOURS[name], label=name)
        seconds = sorted(a.first_s for a in mine if a.phase != "well")
        shares = [(n + 1) / len(seconds) for n in range(len(seconds))]
        axes[1].step(seconds, shares, where="post", color=COLOURS[name], label=name)
    starts: dict[str, float] = {}
    for ask in next(iter(asks.values()), ()):
        starts.setdefault(ask.phase, ask.at_s)
    for phase, at in starts.items():
        axes[0].axvline(at, color="#cccccc", linewidth=0.8)
        axes[0].text(at, 0.97, f" {phase}", fontsize=8, va="top", transform=axes[0].get_xaxis_transform())
    axes[0].set(title="First token, by arrival", xlabel="seconds into the run", ylabel="seconds", yscale="log")
    axes[1].set(title="First token while one is ill", xlabel="seconds", xscale="log", ylim=(0.5, 1.005))
    loads = result.get("load") or {}
    offered = [float(load) for load in loads]
    for name, colour in COLOURS.items():
        if loads:
            axes[2].plot(offered, [each[name]["goodput"] for each in loads.values()], "o-", color=colour, label=name)
    axes[2].axhline(1.0, color="#cccccc", linestyle="--")
    axes[2].set(
        title="Whole answers in time", xlabel="load (of capacity)", ylabel="goodput (of capacity)", ylim=(0, 1.1)
    )
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)
