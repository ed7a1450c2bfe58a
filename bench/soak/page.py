"""The run as a page with a picture: what the gateway held, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench.page import Table, page
from bench.soak.tables import tables
from bench.soak.watch import WARM, Sample

TITLES = {"private_mb": "private memory, MB", "tasks": "tasks", "sockets": "sockets", "files": "file descriptors"}


def write(folder: Path, told: str, result: Mapping[str, Any], samples: Sequence[Sample]) -> None:
    """``soak.html`` (whole in itself) and ``soak.png`` in ``folder``; ``told``: its second paragraph is the lead."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "soak.png"
    figure, axes = plt.subplots(2, 2, figsize=(12, 6), layout="constrained", sharex=True)
    for axis, (name, title) in zip(axes.flat, TITLES.items(), strict=True):
        axis.plot([s.at_s / 60 for s in samples], [getattr(s, name) for s in samples], linewidth=1)
        axis.axvspan(0, samples[-1].at_s * WARM / 60, color="#eeeeee")
        if name == "private_mb":
            axis.plot([s.at_s / 60 for s in samples], [s.rss_mb for s in samples], linewidth=1, color="#bbbbbb")
            axis.annotate(
                "with files", (samples[-1].at_s / 60, samples[-1].rss_mb), fontsize=7, ha="right", va="bottom"
            )
        axis.set_title(f"{title}: {result['verdicts'][name]['grown']:+g} after the warm-up", fontsize=10, loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    for axis in axes[1]:
        axis.set_xlabel("minutes")
    figure.savefig(picture, dpi=80)
    plt.close(figure)
    traffic = Table("Asked, and how it ended", ("", "requests"), [(k, str(v)) for k, v in result["traffic"].items()])
    lead = [" ".join(told.split("\n\n", 1)[-1].split()), "Flat." if result["flat"] else "Not flat."]
    text = page("Soak", lead, [*(Table(*table) for table in tables(result)), traffic], [picture], result["run"])
    (folder / "soak.html").write_text(text, encoding="utf-8")
