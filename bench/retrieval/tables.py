"""The figures as people read them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_quality(console: Console, result: dict[str, Any]) -> None:
    corpus = result["corpus"]
    table = Table(
        title=f"{corpus['questions']} questions, {corpus['documents']} documents, {corpus['passages']} passages"
    )
    for column in ("", "leg", "R@1", "R@3", "R@5", "R@10", "MRR", "nDCG", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column in {"", "leg"} else "right", no_wrap=True)
    parts = {"all": result, **result["by_lang"], **result["by_kind"]}
    for name, part in parts.items():
        for leg in ("lexical", "dense", "fused"):
            if figures := part.get(leg):
                table.add_row(name, leg, *(f"{value:.4g}" for value in figures.values()))
                name = ""
    console.print(table)
    for lang, found in result["consistency"].items():
        console.print(f"{lang}: rewordings share {found['jaccard']:.1%} of their evidence ({found['pairs']} pairs)")


def print_sizes(console: Console, sizes: dict[str, Any]) -> None:
    table = Table(title="latency by passages")
    columns = (
        "passages", "words p50", "p99", "CPU p50", "with vectors p50", "p99", "CPU p50", "load s", "change seen ms",
        "stored/s",
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right")
    for size, found in sizes.items():
        lexical, fused = found["lexical"], found["fused"]
        legs = (leg[name] for leg in (lexical, fused) for name in ("p50_ms", "p99_ms", "cpu_p50_ms"))
        rest = (found["fused_load_s"], found["change_to_search_ms"], found["store_passages_per_s"])
        table.add_row(size, *map(str, (*legs, *rest)))
    console.print(table)


def print_faults(console: Console, faults: dict[str, Any]) -> None:
    for name in ("fast three", "all five"):
        console.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in faults[name].items()))
    console.print(f"added by the slow and the hung one: {faults['added_p50_ms']} ms p50")
