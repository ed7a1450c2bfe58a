"""Keeps what scopes learned beyond this process: in Redis, shared by replicas, or in files beside the data.

A value is sealed like every other and read back only for its own scope; damaged, foreign or outdated, it is as if there
were none. Replicas put their labels together: each reads before it writes, and what a race loses stays with its owner,
who writes it again.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import structlog

from gateway.cache.keys import mac
from gateway.cache.redis_link import Client, RedisLink
from gateway.chat import Scope
from gateway.errors import StoreUnavailable
from gateway.stages import ended

log = structlog.get_logger()
EVERY_S = 10.0
LIFE_S = 30 * 86_400.0  # after which what nobody used is forgotten
MAX_FILES = 2_000  # up to 40 kB each
LOAD_BUDGET_S = 0.02  # of the first lookup in a scope, beside the search
_SEAL = 16


class Learner(Protocol):
    """A rule that learns per scope."""

    def knows(self, scope: Scope) -> bool: ...

    def changed(self) -> list[Scope]:
        """Scopes that learned something since the last call."""

    def dump(self, scope: Scope) -> bytes: ...

    def take(self, scope: Scope, data: bytes) -> None:
        """Add what the scope learned elsewhere; damaged data adds nothing."""


class Shelf(Protocol):
    """Keeps sealed bytes by scope. Raises ``StoreUnavailable`` only."""

    async def load(self, scope: Scope) -> bytes | None: ...

    async def save(self, scope: Scope, data: bytes) -> None: ...


class Remembering:
    """Recalls a scope when it is first met, and writes what changed every ``every_s`` seconds and at the end."""

    def __init__(self, learner: Learner, shelf: Shelf, secret: bytes, *, every_s: float = EVERY_S) -> None:
        self._learner = learner
        self._shelf = shelf
        self._secret = secret
        self._every_s = every_s
        self._away = False

    async def recall(self, scope: Scope) -> None:
        """Before the first decision in a scope. A store that is away or slow: it starts anew, and is merged later."""
        if self._learner.knows(scope):
            return
        self._learner.take(scope, b"")  # known from now on: no second lookup waits
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LOAD_BUDGET_S):
                await self._read(scope)

    async def flush(self) -> None:
        """Write every scope that changed, with what others wrote of it."""
        for scope in self._learner.changed():
            try:
                await self._read(scope)
                if data := self._learner.dump(scope):
                    await self._shelf.save(scope, self._sealed(scope, data))
            except StoreUnavailable as error:  # lost until the scope changes again
                if not self._away:
                    log.info("what was learned is not kept", error=str(error))
                self._away = True
                return
            self._away = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await ended(task)
            await self.flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.flush()
            except Exception:
                log.warning("what was learned is not kept", exc_info=True)

    async def _read(self, scope: Scope) -> None:
        data = await self._shelf.load(scope)
        if data is None:
            return
        seal, body = data[:_SEAL], data[_SEAL:]
        if hmac.compare_digest(seal, self._seal(scope, body)):
            self._learner.take(scope, body)

    def _sealed(self, scope: Scope, body: bytes) -> bytes:
        return self._seal(scope, body) + body

    def _seal(self, scope: Scope, body: bytes) -> bytes:
        return mac(self._secret, b"learned", (scope.tenant_id, scope.digest, body))


class RedisShelf:
    """One string per scope, in the slot of its scope."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def load(self, scope: Scope) -> bytes | None:
        async def read(redis: Client) -> bytes | None:
            data = await redis.get(_name(scope))
            return data if isinstance(data, bytes) else None

        return await self._link.run(read)

    async def save(self, scope: Scope, data: bytes) -> None:
        async def write(redis: Client) -> None:
            await redis.set(_name(scope), data, px=int(LIFE_S * 1000))

        await self._link.run(write, write=True)


class FileShelf:
    """One small file per scope. The longest unwritten go first."""

    def __init__(self, directory: Path, *, max_files: int = MAX_FILES) -> None:
        self._directory = directory
        self._max_files = max_files
        self._written = 0

    async def load(self, scope: Scope) -> bytes | None:
        try:
            return await asyncio.to_thread(self._path(scope).read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(str(error)) from error

    async def save(self, scope: Scope, data: bytes) -> None:
        try:
            await asyncio.to_thread(self._write, self._path(scope), data)
        except OSError as error:
            raise StoreUnavailable(str(error)) from error

    def _write(self, path: Path, data: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
        partial.replace(path)
        self._written += 1
        if self._written % 100 == 1:
            self._tidy()

    def _tidy(self) -> None:
        files = sorted(((file.stat().st_mtime, file) for file in self._directory.iterdir()), reverse=True)
        oldest = time.time() - LIFE_S
        for number, (written, file) in enumerate(files):
            if number >= self._max_files or written < oldest:
                file.unlink(missing_ok=True)

    def _path(self, scope: Scope) -> Path:
        return self._directory / f"{scope.digest}.learned"


def _name(scope: Scope) -> str:
    return f"ocho:{{{scope.digest}}}:l"
