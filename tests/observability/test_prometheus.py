"""A real Prometheus scrapes a gateway under traffic, and every recording rule has a value."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bench.provider import ProviderConfig, running_provider
from bench.servers import free_port, process
from tests.flows.house import house, model, refuses, scripted

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="NOT TESTED: rules against a real Prometheus (install the package prometheus)",
)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@needs_prometheus
def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    for check in (["config", "prometheus.yml"], ["rules", "rules.yml"]):
        done = subprocess.run(["promtool", "check", *check], cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
async def test_every_rule_evaluates_on_real_traffic(tmp_path: Path) -> None:
    async with running_provider(ProviderConfig(profile="instant")) as provider, scripted(refuses(400)) as broken:
        models = [model("gpt-4", provider.base_url, cache=True), model("bad", broken.base_url)]
        async with house(tmp_path, *models) as it:
            config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
            config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
            config["rule_files"] = [str(FOLDER / "rules.yml")]
            config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{it.port}"]}]
            (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
            port = free_port()
            command = [
                "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]  # fmt: skip
            with process(command, tmp_path / "prometheus.log"):
                empty = [rule["record"] for rule in rules() if "record" in rule]
                for number in range(40):
                    for question in ("again", f"new {number}"):
                        await it.chat(question, body={"stream": number % 2 == 0})
                    await it.chat("again", cache_control="no-cache")
                    await it.chat("no", "bad")
                    await asyncio.sleep(0.25)
                    try:
                        empty = [name for name in empty if not await _query(it.http, port, name)]
                    except aiohttp.ClientError:
                        continue  # not up yet
                    if not empty:
                        break
                assert not empty, f"no data: {empty}"
                for rule in rules():
                    await _query(it.http, port, rule["expr"])


async def _query(http: aiohttp.ClientSession, port: int, expression: str) -> list[Any]:
    async with http.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression}) as response:
        reply = await response.json()
        if response.status == 503:
            return []
        assert reply["status"] == "success", reply
        return [row for row in reply["data"]["result"] if row["value"][1] != "NaN"]
