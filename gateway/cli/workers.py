"""``server.workers``: one process per core on one port, under a supervisor that serves nothing itself.

The kernel spreads connections over the workers (SO_REUSEPORT). A worker that dies is replaced; SIGTERM drains them
all; SIGHUP replaces them one after the other, each only when its successor takes requests. ``/metrics`` of any worker
tells for all of them: counters live in files that every worker maps (prometheus_client's multiprocess mode), and
outlive a crash.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from prometheus_client.multiprocess import mark_process_dead

from gateway.settings import Settings, SettingsError

log = structlog.get_logger()

WORKER = "OCHO_WORKER"  # set in a worker: its number
READY_FD = "OCHO_READY_FD"  # set in a worker: where it says that it takes requests
METRICS_DIR = "PROMETHEUS_MULTIPROC_DIR"
READY_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0  # before a worker that died is replaced
SETTLED_S = 30.0  # a worker that lived so long begins again with the first pause
GRACE_S = 5.0  # beyond drain_s


def is_worker() -> bool:
    return WORKER in os.environ


def tell_ready() -> None:
    """Called by a worker once it listens."""
    if fd := os.environ.get(READY_FD):
        with suppress(OSError):
            os.write(int(fd), b"1")
            os.close(int(fd))


class Supervisor:
    """Keeps ``settings.server.workers`` processes running. ``arguments`` are those of ``ocho serve``."""

    def __init__(self, settings: Settings, arguments: Sequence[str], reloaded: Callable[[], Settings]) -> None:
        self._server = settings.server
        self._host = settings.host
        self._arguments = list(arguments)
        self._reloaded = reloaded  # the settings as they are in the file now; raises SettingsError
        self._stopping = asyncio.Event()
        self._reload = asyncio.Event()
        self._slots: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises OSError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        with _reserved(self._host, self._server.port) as port, tempfile.TemporaryDirectory(prefix="ocho-") as folder:
            self._arguments += ["--host", self._host, "--port", str(port)]
            self._environ = {**os.environ, METRICS_DIR: folder}
            self._folder = folder
            for number in range(self._server.workers):
                self._keepers[number] = asyncio.create_task(self._keep(number))
            reloading = asyncio.create_task(self._reload_when_asked())
            await self._stopping.wait()
            log.info("draining", workers=len(self._slots), seconds=self._server.drain_s)
            for task in (reloading, *self._keepers.values()):
                task.cancel()
            await asyncio.gather(reloading, *self._keepers.values(), return_exceptions=True)
            await asyncio.gather(*(self._end(process) for process in self._slots.values()))

    async def _keep(self, number: int) -> None:
        """One worker after the other in this slot, each as soon as the last has died."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            process = self._slots.get(number)
            if process is None or process.returncode is not None:
                process = await self._start(number)
            code = await process.wait()
            mark_process_dead(process.pid, self._folder)  # type: ignore[no-untyped-call]
            if self._slots.get(number) is not process:
                continue  # replaced on purpose
            del self._slots[number]
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > SETTLED_S else min(2 * pause_s, LONGEST_PAUSE_S)
            log.error("worker died", worker=number, pid=process.pid, code=code, again_in_s=pause_s)
            await asyncio.sleep(pause_s)

    async def _start(self, number: int) -> asyncio.subprocess.Process:
        process, ready = await self._spawn(number)
        self._slots[number] = process
        os.close(ready)
        return process

    async def _spawn(self, number: int) -> tuple[asyncio.subprocess.Process, int]:
        """A new worker and the end of a pipe that it writes to when it takes requests."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", *self._arguments,
                env={**self._environ, WORKER: str(number), READY_FD: str(writing)}, pass_fds=[writing],
            )  # fmt: skip
        finally:
            os.close(writing)
        return process, reading

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                self._reloaded()
            except SettingsError as error:
                log.error("reload refused: the running configuration stays", error=str(error))
                continue
            for number in list(self._slots):
                if not await self._replace(number):
                    log.error("reload stopped: a new worker did not start; the others stay", worker=number)
                    break
            else:
                log.info("reloaded", workers=len(self._slots))

    async def _replace(self, number: int) -> bool:
        """A successor for a worker; the old one drains once the new one takes requests."""
        process, ready = await self._spawn(number)
        if not await _readable(ready):
            await self._end(process)
            return False
        old, self._slots[number] = self._slots.get(number), process
        if old is not None:
            await self._end(old)
        return True

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._server.drain_s + GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()


class _reserved:
    """Holds the port for the workers: bound, with SO_REUSEPORT, and never listening."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def __enter__(self) -> int:
        family, kind, proto, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, kind, proto)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.close()


async def _readable(fd: int) -> bool:
    """Whether the worker said that it is ready; False where it ended or took too long."""
    loop = asyncio.get_running_loop()
    said: asyncio.Future[bool] = loop.create_future()

    def read() -> None:
        loop.remove_reader(fd)
        if not said.done():
            said.set_result(os.read(fd, 1) == b"1")

    loop.add_reader(fd, read)
    try:
        return await asyncio.wait_for(said, READY_S)
    except TimeoutError:
        loop.remove_reader(fd)
        return False
    finally:
        os.close(fd)
