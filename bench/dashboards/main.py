"""`python -m bench dashboards`: writes the Grafana dashboards; with --render, pictures of them under real traffic."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from bench import servers
from bench.dashboards.grafana import dashboard_json
from bench.dashboards.panels import DASHBOARDS, Panel
from bench.dashboards.scene import now, query, scene, traffic

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench dashboards", description=__doc__)
    parser.add_argument("--render", type=Path, metavar="DIR", help="write a PNG of each dashboard there")
    parser.add_argument("--seconds", type=float, default=180.0, help="of traffic for the pictures (default 180)")
    parser.add_argument("--rate", type=float, default=2.0, help="questions per second (default 2)")
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args(argv)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    if options.render is None:
        return 0
    options.render.mkdir(parents=True, exist_ok=True)
    if shutil.which("prometheus") is None:
        print("--render needs Prometheus (Debian package prometheus)", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="dashboards-") as folder:
            asyncio.run(_render(Path(folder), options.render, options.seconds, options.rate, options.seed))
    except servers.ServerFailed as error:
        print(f"the pictures could not be made: {error}", file=sys.stderr)
        return 1
    return 0


def files() -> dict[str, str]:
    """File name → text of each provisioned dashboard."""
    return {f"{d.uid}.json": json.dumps(dashboard_json(d), indent=1) + "\n" for d in DASHBOARDS}


async def _render(folder: Path, target: Path, seconds: float, rate: float, seed: int) -> None:
    from bench.dashboards.render import Series, draw, series_of

    with scene(folder, seed=seed) as it:
        async with aiohttp.ClientSession() as http:
            end_s = await now(http, it.prometheus) + seconds  # when the last question is asked
        asked = await traffic(it.gateway, seconds, rate, seed)
        note = (f"stand-in provider gpt4o-2024 with mini-2025 drafts, faults on, {asked} questions at {rate:g}/s, "
                f"seed {seed}; rates over 5 s")  # fmt: skip
        async with aiohttp.ClientSession() as http:

            async def answered(panel: Panel) -> Series:
                expressions = [q.expr for q in panel.queries]
                return series_of(
                    panel, [await query(http, it.prometheus, e, seconds, seconds / 120, end_s) for e in expressions]
                )

            for dashboard in DASHBOARDS:
                answers = {panel.title: await answered(panel) for panel in dashboard.panels}
                draw(dashboard, answers, target / f"{dashboard.uid}.png", note)
