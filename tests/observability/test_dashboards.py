"""Every panel of every dashboard shows data when a real Prometheus scrapes a gateway under traffic."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from itertools import count
from pathlib import Path

import aiohttp
import pytest
import yaml

from bench.dashboards.main import FOLDER, files
from bench.dashboards.panels import DASHBOARDS, Panel
from bench.dashboards.scene import query, scene, traffic
from bench.metrics_doc import series

DEPLOY = FOLDER.parents[1]
PATIENCE_S = 60.0


def test_provisioned_dashboards_are_those_of_the_code() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == files(), (
        "run: python -m bench dashboards"
    )


def test_panels_have_their_own_place() -> None:
    for text in files().values():
        dashboard = json.loads(text)
        cells = [
            (x, y)
            for panel in dashboard["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells)), dashboard["title"]
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_panels_ask_only_for_series_that_exist() -> None:
    exported = {next(iter(metric.describe())).name for metric in series()}
    labels = {label for metric in series() for label in metric._labelnames}
    recorded = {
        rule["record"]
        for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for dashboard in DASHBOARDS:
        for asked in (q.expr for panel in dashboard.panels for q in panel.queries):
            for name in re.findall(r"ocho:[\w:]+|(?:ocho|gen_ai)_\w+(?=[\[{)])", asked):
                base = re.sub(r"_(bucket|count|sum|total)$", "", name)
                assert name in recorded or name in labels or base in exported, f"{name} in {asked}"


def test_compose_mounts_what_is_here() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    for path in (DEPLOY / m for m in mounted if m.startswith("./") and m != "./ocho.yaml"):
        assert path.is_dir(), path
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/ocho.yaml").read_text())["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="NOT TESTED: panels against a real Prometheus")
async def test_every_panel_shows_data(tmp_path: Path) -> None:
    empty: list[tuple[str, Panel]] = [(d.title, panel) for d in DASHBOARDS for panel in d.panels]
    with scene(tmp_path, time_scale=0.2) as it:
        async with aiohttp.ClientSession() as http:
            end = asyncio.get_running_loop().time() + PATIENCE_S
            for burst in count():
                if not empty or asyncio.get_running_loop().time() > end:
                    break
                await traffic(it.gateway, seconds=3, per_second=8, seed=burst)
                empty = [
                    (title, panel)
                    for title, panel in empty
                    if not all(
                        [
                            await query(http, it.prometheus, q.expr, 2 * PATIENCE_S, 1, infinite=True)
                            for q in panel.queries
                        ]
                    )
                ]
    assert not empty, [f"{title} / {panel.title}" for title, panel in empty]
