"""`python -m bench metrics-doc`: writes docs/metrics.md from the series that the gateway names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from gateway.metrics import Metrics

PATH = Path(__file__).parents[1] / "docs" / "metrics.md"
HEAD = """# Metrics

Made from `gateway/series.py` with `python -m bench metrics-doc`; a test fails when it is out of date.
`GET /metrics` exposes these series. Seconds everywhere; labels come from the configuration or fixed lists.
Model names that are not configured are `other`.
"""


def main(argv: Sequence[str]) -> int:
    if argv:
        print("usage: python -m bench metrics-doc", file=sys.stderr)
        return 2
    PATH.write_text(text(), encoding="utf-8")
    return 0


def text() -> str:
    """The whole page."""
    return HEAD + "".join(_section(metric) for metric in series())


def series() -> list[MetricWrapperBase]:
    """Every series of a gateway, in the order of ``gateway/series.py``."""
    return [value for value in vars(Metrics()).values() if isinstance(value, MetricWrapperBase)]


def _section(metric: MetricWrapperBase) -> str:
    family = metric.describe()
    collected = next(iter(family))
    name = f"{collected.name}_total" if collected.type == "counter" else collected.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "none"
    lines = [f"\n## `{name}`\n\n{collected.documentation}\n\n- Type: {collected.type}\n- Labels: {labels}\n"]
    if bounds := metric._kwargs.get("buckets"):
        lines.append(f"- Buckets: {', '.join(f'{bound:g}' for bound in bounds)}\n")
    return "".join(lines)
