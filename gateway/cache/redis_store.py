"""The shared cache in Redis: answers as sealed strings, questions in vector sets (Redis 8).

    ocho:{scope}:e:<key digest>                     one answer; SET … EX, so it ends by itself
    ocho:{scope}:b:<key digest>                     the same, for longer: what was answered before (EARLIER_S)
    ocho:{purges}:ledger                            what was purged: a generation and its selections (see purging.py),
                                                    and an id, by which a ledger that was lost and begun again is known
    ocho:{scope}:v:<dimensions>:<length>:<bucket>   questions first seen in one stretch of time

The braces are a Redis Cluster hash tag: everything of one scope lives in one slot, and a lookup is one pipeline.
Elements of a vector set cannot expire, so questions go into time buckets whose keys do. VREM is never used: it is a
use-after-free while searches run, before 8.2.9 / 8.4.6 / 8.6.6.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import structlog

from gateway.cache import entry_codec
from gateway.cache.disk import EARLIER_S, Disk
from gateway.cache.memory import OBJECT_OVERHEAD, Earlier
from gateway.cache.purging import Cut, Ledger, Selection
from gateway.cache.redis_link import ADMIN_BATCH, ADMIN_BUDGET_S, Client, RedisLink, scanned
from gateway.chat import CacheEntry, CacheKey
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable

log = structlog.get_logger()
LEDGER = "ocho:{purges}:ledger"  # hash: n = generation of the latest purge; c:<generation> = what it selects; id
HEAD = ("n", "id")
MEANWHILE_BYTES = 16 << 20  # of answers made while Redis is away
FOLLOW_S = 1.0  # budget of a look at the ledger that no request waits for
LEDGER_S = 40 * 86_400.0  # seconds after which a cut is forgotten; longer than any entry lives
CUT = """
local now = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
local n = string.format('%.0f', math.max(last + 1, now[1] * 1000 + math.floor(now[2] / 1000)))
redis.call('HSET', KEYS[1], 'n', n, 'c:' .. n, ARGV[1])
for i = 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return n
"""  # in milliseconds, so that a ledger that was lost and begun again goes on above the old one


class RedisStore:
    """AnswerStore shared by every gateway process on the same Redis."""

    def __init__(
        self, link: RedisLink, secret: bytes, *, wall_clock: WallClock = time.time, disk: Disk | None = None
    ) -> None:
        self._link = link
        self._disk = disk  # of this machine: what Redis lost
        self._secret = secret
        self._now = wall_clock
        self._ledger = Ledger()
        self._ledger_id: bytes | None = None  # None: not seen yet
        self._meanwhile = Earlier(MEANWHILE_BYTES)  # made here while Redis is away; given until it answers again

    @property
    def generation(self) -> int:
        return self._ledger.generation

    async def get(self, key: CacheKey) -> CacheEntry | None:
        try:
            entry = await self._under(_entry_key(key), key)
        except StoreUnavailable:
            entry = self._meanwhile.get(key)
            if entry is None:
                raise
        return entry if entry is not None and self._stands(entry) else None

    async def earlier(self, key: CacheKey) -> CacheEntry | None:
        entry = await self._under(_earlier_key(key), key)
        if entry is None:
            entry = await self.get(key) or (await self._disk.get(key) if self._disk is not None else None)
        return None if entry is None or self._ledger.voids(entry) else entry

    async def _under(self, name: str, key: CacheKey) -> CacheEntry | None:
        async def read(redis: Client) -> tuple[Any, Any]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.get(name)
            pipeline.hmget(LEDGER, HEAD)
            data, head = await pipeline.execute()
            return data, head

        data, head = await self._link.run(read)
        await self._follow(*head)
        return entry_codec.decode(self._secret, key, data) if isinstance(data, bytes) else None

    async def put(self, entry: CacheEntry) -> None:
        data = entry_codec.encode(self._secret, entry)
        life_ms = max(1, int((entry.ttl_s - entry.age_s(self._now())) * 1000))

        async def write(redis: Client) -> Any:
            pipeline = redis.pipeline(transaction=False)
            pipeline.set(_entry_key(entry.key), data, px=life_ms)
            pipeline.set(_earlier_key(entry.key), data, px=life_ms + int(EARLIER_S * 1000))
            pipeline.hmget(LEDGER, HEAD)
            return (await pipeline.execute())[-1]

        if self._disk is not None and not self._ledger.voids(entry):
            await self._disk.put(entry)  # first: it is kept there also while Redis is away
        try:
            await self._follow(*await self._link.run(write, write=True))
        except StoreUnavailable:
            self._meanwhile.put(entry, int(len(data) * OBJECT_OVERHEAD))
            raise

    async def delete(self, key: CacheKey) -> bool:
        self._meanwhile.drop(key)
        names = (_entry_key(key), _earlier_key(key))
        gone = await self._link.run(lambda redis: _as_awaitable(redis.unlink(*names)), write=True)
        if self._disk is not None:
            await self._disk.delete(key)
        return bool(gone)

    async def find(self, handle: str) -> CacheEntry | None:
        found = [entry async for batch in self._batches(handle) for entry in batch if self._stands(entry)]
        return found[0] if found else None

    async def purge(self, selection: Selection) -> AsyncIterator[Sequence[CacheEntry]]:
        await self._link.run(partial(self._cut, selection), write=True, budget_s=ADMIN_BUDGET_S)
        await self.follow()
        if self._disk is not None:
            await self._disk.purge(selection)
        async for batch in self._batches(selection.entry):
            doomed = [e for e in batch if selection.selects(e) and self._ledger.voids(e)]
            if doomed:
                await self._unlink(doomed)
                yield doomed
        async for batch in self._batches(kind="b") if not selection.entry else _nothing():
            await self._unlink([e for e in batch if selection.selects(e) and self._ledger.voids(e)])

    async def entries(self) -> AsyncIterator[CacheEntry]:
        async for batch in self._batches():
            for entry in batch:
                if self._stands(entry):
                    yield entry

    async def stats(self) -> dict[str, float]:
        """What the server tells of its memory, all its databases together."""

        async def ask(redis: Client) -> dict[str, float]:
            told = [*_per_node(await redis.info("memory")), *_per_node(await redis.info("stats"))]
            names = {"bytes": "used_memory", "max_bytes": "maxmemory", "evictions": "evicted_keys"}
            return {ours: sum(float(node.get(theirs, 0)) for node in told) for ours, theirs in names.items()}

        return await self._link.run(ask, budget_s=ADMIN_BUDGET_S)

    async def follow(self) -> None:
        """Keep up with what is purged elsewhere, also while nobody asks. Raises StoreUnavailable."""
        generation, id = await self._link.run(_head, budget_s=FOLLOW_S)
        await self._follow(generation, id)
        if self._disk is not None:
            self._disk.follow(id or b"")
        if not id:
            with suppress(StoreUnavailable):  # a server that takes no writes
                await self._link.run(_begin, write=True, budget_s=FOLLOW_S)

    def _stands(self, entry: CacheEntry) -> bool:
        return entry.age_s(self._now()) < entry.ttl_s and not self._ledger.voids(entry)

    async def _follow(self, generation: Any, id: bytes | None) -> None:
        """Read the cuts again where the shared ledger has moved on. Raises StoreUnavailable."""
        self._meanwhile.clear()  # Redis is back: what it keeps is what is given
        current, known = _number(generation), self._ledger.generation
        if self._disk is not None and self._ledger_id != (id or b""):
            self._disk.follow(id or b"")
        self._ledger_id = id or b""
        if current == known:
            return
        fields = await self._link.run(lambda redis: _as_awaitable(redis.hgetall(LEDGER)))
        self._ledger.replace(*_ledger_of(fields))
        if self._disk is not None and (cuts := [cut for cut in self._ledger.cuts if cut.generation > known]):
            self._disk.forget(cuts)  # else what was purged at another gateway would come back once Redis lost the cuts

    async def _cut(self, selection: Selection, redis: Client) -> Any:
        oldest = (self._now() - LEDGER_S) * 1000  # generations are milliseconds
        over = [f"c:{cut.generation}" for cut in self._ledger.cuts if cut.generation < oldest]
        return await redis.eval(CUT, 1, LEDGER, orjson.dumps(selection.given), *over)

    async def _batches(self, handle: str = "", kind: str = "e") -> AsyncIterator[list[CacheEntry]]:
        """Every entry, void ones too, or the one with ``handle``. SCAN in small steps: the server is never held up.

        ``kind`` "b" for what is remembered.
        """
        if handle:
            scope, _, digest = handle.partition(".")
            yield await self._read([_entry_name(scope, digest).encode()])
            return
        names: list[bytes] = []
        async for name in scanned(self._link, f"ocho:*:{kind}:*"):
            names.append(name)
            if len(names) == ADMIN_BATCH:
                yield await self._read(names)
                names = []
        if names:
            yield await self._read(names)

    async def _read(self, names: list[bytes]) -> list[CacheEntry]:
        async def read(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for name in names:
                pipeline.get(name)
            return list(await pipeline.execute())

        values = await self._link.run(read, budget_s=ADMIN_BUDGET_S)
        found = (self._open(n, v) for n, v in zip(names, values, strict=True) if isinstance(v, bytes))
        return [entry for entry in found if entry is not None]

    async def _unlink(self, entries: Sequence[CacheEntry]) -> None:
        async def unlink(redis: Client) -> None:
            pipeline = redis.pipeline(transaction=False)
            for entry in entries:
                pipeline.execute_command("UNLINK", _entry_key(entry.key))
                pipeline.execute_command("UNLINK", _earlier_key(entry.key))
            await pipeline.execute()

        await self._link.run(unlink, write=True, budget_s=ADMIN_BUDGET_S)

    def _open(self, name: bytes, data: bytes) -> CacheEntry | None:
        _, scope, _, digest = name.decode("ascii", "replace").split(":", 3)
        return entry_codec.decode_any(self._secret, scope.strip("{}"), digest, data)


async def _head(redis: Client) -> list[Any]:
    return list(await redis.hmget(LEDGER, HEAD))


async def _begin(redis: Client) -> None:
    await redis.hsetnx(LEDGER, "id", secrets.token_hex(8))


def _entry_key(key: CacheKey) -> str:
    return _entry_name(key.scope.digest, key.digest)


def _earlier_key(key: CacheKey) -> str:
    return f"ocho:{{{key.scope.digest}}}:b:{key.digest}"


async def _nothing() -> AsyncIterator[list[CacheEntry]]:
    return
    yield []


def _entry_name(scope: str, digest: str) -> str:
    return f"ocho:{{{scope}}}:e:{digest}"


def _per_node(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A cluster answers INFO with one mapping per node."""
    nodes = [value for value in info.values() if isinstance(value, Mapping)]
    return nodes if nodes and len(nodes) == len(info) else [info]


def _ledger_of(fields: Mapping[bytes, bytes]) -> tuple[int, list[Cut]]:
    """The generation and its cuts; one that cannot be read voids everything before it."""
    cuts = []
    for name, value in fields.items():
        if name.startswith(b"c:") and (generation := _number(name[2:])):
            try:
                selection = Selection.of(orjson.loads(value))
            except (ValueError, TypeError, AttributeError):
                selection = Selection()
            cuts.append(Cut(generation, selection))
    return _number(fields.get(b"n")), cuts


def _number(value: Any) -> int:
    return int(value) if isinstance(value, bytes) and value.isdigit() else 0


async def _as_awaitable(call: Any) -> Any:
    return await call
