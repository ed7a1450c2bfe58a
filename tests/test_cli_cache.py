"""What an operator learns of cached answers whose documents changed, each command in its own process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.provider import ProviderConfig, running_provider
from gateway.cli.operating import void_answers
from gateway.settings import Settings
from tests.flows.house import house, model
from tests.test_cli import ocho

LEAVE = "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 {days}일이다.\n"
CONFIG = """\
documents: [{name: hr}]
data_dir: "%s"
cache: {semantic: {embedder: "off"}}
"""


async def test_an_ingest_tells_how_many_cached_answers_it_made_void(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "leave.md").write_text(LEAVE.format(days=15), encoding="utf-8")
    (folder / "parking.md").write_text("# 주차\n\n주차장은 지하 2층이다.\n", encoding="utf-8")
    async with running_provider(ProviderConfig(profile="instant")) as provider:
        handbook = {"name": "hb", "answers_with": "m", "cache": True, "documents": {"collections": ["hr"], "hard_s": 5}}
        named = (model("m", provider.base_url), handbook)
        async with house(tmp_path, *named, documents=[{"name": "hr"}], auth={"admin_key": "admin-key-1"}) as it:
            (tmp_path / "ocho.yaml").write_text(CONFIG % it.gateway.settings.data_dir, encoding="utf-8")
            reach = {"OCHO_URL": it.url, "OCHO_ADMIN_KEY": "admin-key-1"}

            async def told(*args: str, **environ: str) -> str:
                status, out, err = await ocho(tmp_path, *args, **environ)
                assert status == 0, (out, err)
                return out

            ingest = ("ingest", "docs", "--collection", "hr")
            assert "void" not in await told(*ingest, **reach)
            for question in ("연차휴가는 며칠인가요?", "주차장은 몇 층인가요?"):
                await it.chat(question, "hb")
            await it.kept(2)
            (folder / "leave.md").write_text(LEAVE.format(days=16), encoding="utf-8")
            assert "1 changed" in (said := await told(*ingest, **reach))
            resting = json.loads(await told("cache", "documents", "--json", **reach))["documents"]
            void = {row["document"]: row["void"] for row in resting}
            assert void["hr/leave.md"] >= 1
            assert void["hr/parking.md"] == 0
            found = json.loads(await told("cache", "list", "--void", "--json", **reach))
            assert f"{found['found']} cached answer" in said
            assert {tuple(entry["changed"]) for entry in found["entries"]} == {("hr/leave.md",)}
            listed = await told("cache", "list", "--void", COLUMNS="80", **reach)
            assert all(f"  {entry['entry']}\n" in listed for entry in found["entries"])
            assert "changed: hr/leave.md\n" in listed
            assert "hr/leave.md" in await told("cache", "documents", **reach)
            assert "purged" in await told("cache", "purge", "--document", "hr/leave.md", **reach)
            assert "0 found" in await told("cache", "list", "--void", **reach)
            (folder / "leave.md").write_text(LEAVE.format(days=17), encoding="utf-8")
            assert "void" not in await told(*ingest, OCHO_URL="http://127.0.0.1:1", OCHO_ADMIN_KEY="admin-key-1")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"])
async def test_whoever_else_listens_where_the_gateway_should_is_no_reason_to_fail(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        monkeypatch.setenv("OCHO_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("OCHO_ADMIN_KEY", "admin-key-1")
        assert await asyncio.to_thread(void_answers, Settings(), "hr") is None


@pytest.mark.parametrize("url", ["nonsense", "localhost:8080", "http://[x"])
async def test_what_is_no_address_is_told_so(tmp_path: Path, url: str) -> None:
    status, _, err = await ocho(tmp_path, "cache", "stats", "--url", url, "--key", "k")
    assert status != 0
    assert f"'{url}' is no address of a gateway: give --url" in err
