"""The page and picture of a run, as they are checked in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.five_seconds.plots import draw
from bench.five_seconds.run import Measured
from bench.five_seconds.tables import formatted, scaled_note
from bench.page import Table, page

NAME = "five-seconds"
WORDS = {
    "within_5s": "useful within 5 s", "p50_s": "complete answer p50", "p95_s": "p95", "p99_s": "p99",
    "ttft_p95_s": "first token p95", "wrong": "wrong", "refused": "refused", "spend": "provider spend",
}  # fmt: skip


def write(folder: Path, result: Mapping[str, Any], measured: Measured) -> None:
    """``five-seconds.html`` (whole in itself) and ``five-seconds.png`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{NAME}.png"
    draw(measured, result, picture)
    run = result["run"]
    lead = [
        "The same arrivals went both ways: directly, as an application of 2023 did it (rewrite, embed, search, answer; "
        "not streamed), and through Ocho; each to a stand-in provider of its own with the same seed and faults. Every "
        "arrival counts. Useful: complete, all gold facts, no sibling's, not labelled as a fallback.",
        scaled_note(run["time_scale"]),
    ]
    tables = [_both(result), _who(result), _spend(result)]
    if result.get("sweep"):
        tables.append(_rows("By share of arrivals that repeat or rephrase", "repeat_share", result["sweep"]))
    if result.get("rising_load"):
        tables.append(_rows("Rising load", "rate", result["rising_load"]))
    text = page("Five seconds", lead, tables, [picture], run)
    (folder / f"{NAME}.html").write_text(text, encoding="utf-8")


def _both(result: Mapping[str, Any]) -> Table:
    rows = [
        (WORDS[key], formatted(key, value), formatted(key, result["ocho"][key]))
        for key, value in result["direct"].items()
    ]
    return Table("Directly and through Ocho", ("", "direct", "Ocho"), rows)


def _who(result: Mapping[str, Any]) -> Table:
    rows = [
        (kind, *(f"{row[key]:.1%}" for key in ("share", "right", "wrong")), f"{row['p50_s']:.2f} s",
         f"{row['p95_s']:.2f} s")
        for kind, row in result["ocho_details"]["served_by"].items()
    ]  # fmt: skip
    return Table("Who answered", ("", "share", "right", "wrong", "p50", "p95"), rows)


def _spend(result: Mapping[str, Any]) -> Table:
    spend = result["spend"]
    rows = [(key, f"{spend['direct'][key]:g}", f"{spend['ocho'][key]:g}") for key in spend["direct"]]
    apart = [(key.replace("_", " "), "", f"{value:.1%}") for key, value in result["ocho_details"].items()
             if isinstance(value, float)]  # fmt: skip
    return Table("Upstream calls, spend, and what is counted apart", ("", "direct", "Ocho"), [*rows, *apart])


def _rows(title: str, first: str, rows: list[Mapping[str, Any]]) -> Table:
    shown = ("within_5s", "goodput_per_s", "p95_s", "wrong", "refused", "spend")
    keys = [(key, path) for key in shown if key in rows[0]["ocho"] for path in ("direct", "ocho")]

    def cell(row: Mapping[str, Any], key: str, path: str) -> str:
        value = row[path][key]
        return f"{value:.2f}" if key == "goodput_per_s" else formatted(key, value)

    columns = [first, "arrivals", *(f"{WORDS.get(key, 'useful/s')}, {path}" for key, path in keys)]
    cells = [[f"{row[first]:g}", str(row["requests"]), *(cell(row, *key) for key in keys)] for row in rows]
    return Table(title, columns, cells)
