"""The figures on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

SHARES = {"within_5s", "wrong", "refused"}


def show(result: Mapping[str, Any]) -> None:
    out = Console()
    out.print(_both_ways(result))
    who = Table(title="Who answered")
    for column in ("", "share", "right", "wrong", "p50", "p95"):
        who.add_column(column, justify="left" if not column else "right")
    for kind, row in result["ocho_details"]["served_by"].items():
        shares = [f"{row[key]:.1%}" for key in ("share", "right", "wrong")]
        who.add_row(kind, *shares, f"{row['p50_s']:.2f} s", f"{row['p95_s']:.2f} s")
    out.print(who)
    apart = {k: v for k, v in result["ocho_details"].items() if isinstance(v, float)}
    out.print(" · ".join(f"{key} {value:.1%}" for key, value in apart.items()))
    for name, spend in result["spend"].items():
        out.print(f"upstream, {name}: " + " · ".join(f"{key} {value:g}" for key, value in spend.items()))
    if result.get("sweep"):
        out.print(_rows("Share of arrivals that repeat or rephrase", "repeat_share", result["sweep"]))
    if result.get("rising_load"):
        out.print(_rows("Rising load (arrivals a second)", "rate", result["rising_load"]))
    out.print(" · ".join(f"{key} {value}" for key, value in result["run"].items()), style="dim")
    if scaled := scaled_note(result["run"]["time_scale"]):
        out.print(scaled)


def scaled_note(time_scale: float) -> str:
    """What a reader of a scaled run must know; "" for a run in real time."""
    if time_scale == 1.0:
        return ""
    return (
        f"time scale {time_scale:g}: the provider, the arrivals and the promise ran at {time_scale:g} of their real "
        "length and figures are scaled back; the gateway's own times and waits were not scaled"
    )


def formatted(key: str, value: float) -> str:
    formats: dict[str, Callable[[float], str]] = {"spend": "{:.2f}x".format}
    return formats.get(key, "{:.1%}".format if key in SHARES else "{:.2f} s".format)(value)


def _both_ways(result: Mapping[str, Any]) -> Table:
    table = Table(title="Useful answers within 5 s")
    for column in ("", "direct", "through Ocho"):
        table.add_column(column, justify="left" if not column else "right")
    for key, before in result["direct"].items():
        table.add_row(key, formatted(key, before), formatted(key, result["ocho"][key]))
    return table


def _rows(title: str, first: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title)
    wanted = ("within_5s", "goodput_per_s", "p95_s", "wrong", "refused", "spend")
    shown = [key for key in wanted if key in rows[0]["ocho"]]
    for column in (first, *(f"{key}, {path}" for key in shown for path in ("direct", "ocho"))):
        table.add_column(column, justify="right")
    for row in rows:
        cells = [
            f"{row[path][key]:.2f}" if key == "goodput_per_s" else formatted(key, row[path][key])
            for key in shown
            for path in ("direct", "ocho")
        ]
        table.add_row(f"{row[first]:g}", *cells)
    return table
