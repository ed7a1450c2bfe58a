"""Several worker processes on one port: one dies, the configuration changes, all drain. Real processes and sockets."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.flows.house import FINE, Scripted, scripted, streams
from tests.redis_server import free_port

BODY = {"model": "m", "messages": [{"role": "user", "content": "연차휴가는 며칠인가요?"}], "stream": True}

NET = Path("/proc/net/tcp")  # local address in the second column, state in the fourth; 0A listens


def write_config(folder: Path, upstream: Scripted, model: str = "m", workers: int = 2) -> Path:
    path = folder / "ocho.yaml"
    path.write_text(
        f"""server: {{host: 127.0.0.1, workers: {workers}, drain_s: 5}}
models: [{{name: {model}, deployments: [{{name: one, base_url: "{upstream.base_url}"}}]}}]
cache: {{semantic: {{embedder: "off"}}}}
data_dir: {folder / "data"}
""",
        encoding="utf-8",
    )
    return path


@asynccontextmanager
async def supervised(config: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", "--config", str(config), "--port", str(port),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in text.split() if Path(f"/proc/{child}/cmdline").read_bytes()}


async def ask(url: str) -> int:
    """One chat over a connection of its own, so that the kernel picks a worker each time."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=BODY) as response:
        await response.read()
        return response.status


async def page(url: str, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{url}{path}") as response:
        return await response.text()


def listeners(port: str) -> int:
    sockets = [line.split() for line in NET.read_text().splitlines()[1:]]
    return sum(fields[1].endswith(port) and fields[3] == "0A" for fields in sockets)


async def up(url: str, pid: int, workers: int = 2) -> set[int]:
    """Wait until so many workers run and listen."""
    port = f":{int(url.rsplit(':', 1)[1]):04X}"
    async with asyncio.timeout(90):
        while True:
            if len(running := children(pid)) == workers == listeners(port):
                return running
            await asyncio.sleep(0.05)


def total(metrics: str, series: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{series}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE))


async def test_a_worker_that_dies_is_replaced_and_the_metrics_are_those_of_all(tmp_path: Path) -> None:
    async with (
        scripted(streams(*FINE)) as upstream,
        supervised(write_config(tmp_path, upstream)) as (process, url),
    ):
        before = await up(url, process.pid)
        assert [await ask(url) for _ in range(20)] == [200] * 20
        for _ in range(3):  # whichever worker is asked
            metrics = await page(url, "/metrics")
            assert total(metrics, "ocho_request_duration_seconds_count") == 20
            assert total(metrics, "ocho_redis_up") == 1
        os.kill(min(before), signal.SIGKILL)
        assert process.stdout is not None
        while b"worker died" not in await process.stdout.readline():
            pass
        assert [await ask(url) for _ in range(10)] == [200] * 10  # by the other one
        after = await up(url, process.pid)
        assert max(before) in after
        assert min(before) not in after
        metrics = await page(url, "/metrics")
        assert total(metrics, "ocho_request_duration_seconds_count") == 30  # what the dead one counted still counts


async def test_sighup_replaces_the_workers_one_by_one_unless_the_configuration_is_wrong(tmp_path: Path) -> None:
    async with (
        scripted(streams(*FINE)) as upstream,
        supervised(config := write_config(tmp_path, upstream)) as (process, url),
    ):
        before = await up(url, process.pid)
        config.write_text("models: 7\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        while b"reload refused" not in await process.stdout.readline():
            pass
        assert children(process.pid) == before
        write_config(tmp_path, upstream, "renamed")
        process.send_signal(signal.SIGHUP)
        while b'"reloaded"' not in await process.stdout.readline():
            pass
        assert not children(process.pid) & before
        assert "renamed" in await page(url, "/v1/models")


async def test_sigterm_lets_the_streams_of_all_workers_finish(tmp_path: Path) -> None:
    async with (
        scripted(streams(*FINE, every_s=0.1)) as upstream,
        supervised(write_config(tmp_path, upstream)) as (process, url),
    ):
        await up(url, process.pid)
        running = [asyncio.create_task(ask(url)) for _ in range(6)]
        while len(upstream.asked) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        process.terminate()
        assert await asyncio.gather(*running) == [200] * 6
        await process.communicate()
        assert process.returncode == 0


async def test_a_pinned_answer_is_given_by_every_worker_once_the_pin_returned(tmp_path: Path) -> None:
    async with scripted(streams(*FINE)) as upstream:
        config = write_config(tmp_path, upstream)
        config.write_text(config.read_text() + "auth: {admin_key: admin-key-1}\n")
        async with supervised(config) as (process, url):
            await up(url, process.pid)
            body = {"model": "m", "question": "연차휴가는 며칠인가요?", "answer": "15일입니다."}
            async with (
                aiohttp.ClientSession(headers={"authorization": "Bearer admin-key-1"}) as http,
                http.post(f"{url}/admin/answers", json=body) as reply,
            ):
                assert reply.status == 200
            served = [await served_by(url) for _ in range(20)]
            assert served == ["reviewed"] * 20


async def served_by(url: str) -> str:
    """Over a connection of its own, so that the kernel picks a worker each time."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=BODY) as response:
        await response.read()
        return response.headers.get("x-ocho-served-by", "")
