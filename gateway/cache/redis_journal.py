"""Questions on a Redis without vector sets: written to a journal there, searched in each gateway's own memory.

    ocho:{scope}:j:<dimensions>:<length>:<bucket>   a list of sealed records, oldest first; the key expires

A lookup reads what the journal has grown by since the last one, which is usually nothing: one pipeline, as with
vector sets. Whoever starts later, or lost the thread, reads it from the beginning, a batch per lookup.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import orjson

from gateway.cache.keys import mac
from gateway.cache.memory import Rows
from gateway.cache.redis_link import ADMIN_BUDGET_S, BUCKETS, Client, RedisLink, scanned, unlink_one
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.ports import Vector

BATCH = 500  # records a lookup reads of one bucket at most: some 0.9 MB of 384 dimensions, well within its budget
SEAL = 16  # bytes
MAX_SCOPES = 1_000
MAX_ROWS = 20_000  # questions of a scope in memory; then the oldest goes


@dataclass(frozen=True, slots=True)
class _Record:
    question: CachedQuestion
    ends_at: float
    vector: Vector


@dataclass(slots=True)
class _Copy:
    """One scope's journal as far as it was read here."""

    rows: Rows
    read: dict[str, int] = field(default_factory=dict)  # records by journal key


class JournalIndex:
    """QuestionIndex in memory, shared and made durable by a journal in Redis."""

    def __init__(
        self, link: RedisLink, secret: bytes, *, max_ttl_s: float = 86_400.0, wall_clock: WallClock = time.time
    ) -> None:
        self._link = link
        self._secret = secret
        self._max_ttl_s = max_ttl_s
        self._bucket_s = max(1, round(max_ttl_s / BUCKETS))
        self._now = wall_clock
        self._copies: OrderedDict[tuple[Scope, int], _Copy] = OrderedDict()

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None:
        now = self._now()
        bucket = int(now // self._bucket_s)
        name = self._name(question.key.scope, len(vector), bucket)
        record = self._sealed(_Record(question, now + min(ttl_s, self._max_ttl_s), vector))
        ends_at = int((bucket + 1) * self._bucket_s + self._max_ttl_s) + 1

        async def write(redis: Client) -> None:
            pipeline = redis.pipeline(transaction=False)
            pipeline.rpush(name, record)
            pipeline.expireat(name, ends_at)
            await pipeline.execute()

        await self._link.run(write, write=True)

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        copy = await self._followed(scope, len(vector))
        return [neighbor for neighbor in copy.rows.search(vector, k, self._now()) if neighbor.question.text]

    async def forget(self, entries: Sequence[CacheEntry]) -> None:
        """Blank the questions that ``entries`` were made for, in Redis and here. Other gateways find no answer to
        them any more."""
        doomed = frozenset(entry.key for entry in entries)
        for scope in {key.scope for key in doomed}:
            async for name in scanned(self._link, f"ocho:{{{scope.digest}}}:j:*"):
                await self._link.run(partial(self._blank, name, scope, doomed), write=True, budget_s=ADMIN_BUDGET_S)
            for (known, _), copy in self._copies.items():
                if known == scope:
                    copy.rows.forget(doomed)

    async def clear(self, tenant: str = "") -> None:
        """Delete every question, or those of one tenant."""
        async for name in scanned(self._link, "ocho:*:j:*"):
            if not tenant or await self._belongs(name, tenant):
                await self._link.run(partial(unlink_one, name), write=True, budget_s=ADMIN_BUDGET_S)
        for place in [place for place in self._copies if tenant in ("", place[0].tenant_id)]:
            del self._copies[place]

    async def _followed(self, scope: Scope, dimensions: int) -> _Copy:
        """This scope's copy, brought up to date. Raises StoreUnavailable."""
        newest = int(self._now() // self._bucket_s)
        names = [self._name(scope, dimensions, newest - back) for back in range(BUCKETS, -1, -1)]
        copy = self._copy(scope, dimensions)
        read = {name: copy.read.get(name, 0) for name in names}

        async def grown(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            for name, known in read.items():
                pipeline.llen(name)
                pipeline.lrange(name, known, known + BATCH - 1)
            return list(await pipeline.execute())

        replies = await self._link.run(grown)
        lengths = dict(zip(names, replies[::2], strict=True))
        if any(lengths[name] < known for name, known in read.items()):  # deleted, or a Redis that lost its data
            self._copies.pop((scope, dimensions), None)
            return self._copy(scope, dimensions)
        for name, records in zip(names, replies[1::2], strict=True):
            for record in records:
                self._take(copy, self._opened(scope, record))
            read[name] += len(records)
        copy.read = read
        return copy

    def _copy(self, scope: Scope, dimensions: int) -> _Copy:
        place = (scope, dimensions)
        copy = self._copies.get(place)
        if copy is None:
            copy = self._copies[place] = _Copy(Rows(dimensions, MAX_ROWS))
            if len(self._copies) > MAX_SCOPES:
                self._copies.popitem(last=False)
        self._copies.move_to_end(place)
        return copy

    def _take(self, copy: _Copy, record: _Record | None) -> None:
        if record is not None and record.ends_at > self._now() and len(record.vector) == copy.rows.dimensions:
            copy.rows.add(record.question, record.vector, record.ends_at)

    async def _blank(self, name: bytes, scope: Scope, doomed: frozenset[CacheKey], redis: Client) -> None:
        """Overwrite records in place: the places of all others must not move, for others count them."""
        at = 0
        while records := await redis.lrange(name, at, at + BATCH - 1):
            for offset, data in enumerate(records):
                record = self._opened(scope, data)
                if record is not None and record.question.key in doomed:
                    await redis.lset(name, at + offset, b"")
            at += len(records)

    async def _belongs(self, name: bytes, tenant: str) -> bool:
        """Whether the journal's records were sealed for ``tenant``: nothing else in Redis tells."""
        scope = Scope(tenant, name.decode("ascii", "replace").split(":")[1].strip("{}"))

        async def peek(redis: Client) -> list[bytes]:
            return list(await redis.lrange(name, 0, BATCH - 1))

        records = await self._link.run(peek, budget_s=ADMIN_BUDGET_S)
        return any(self._opened(scope, record) is not None for record in records)

    def _name(self, scope: Scope, dimensions: int, bucket: int) -> str:
        return f"ocho:{{{scope.digest}}}:j:{dimensions}:{self._bucket_s}:{bucket}"

    def _sealed(self, record: _Record) -> bytes:
        fields = {"q": record.question.text, "k": record.question.key.digest, "x": record.ends_at}
        payload = orjson.dumps(fields) + b"\n" + np.ascontiguousarray(record.vector, dtype="<f4").tobytes()
        return self._seal(record.question.key.scope, payload) + payload

    def _opened(self, scope: Scope, data: Any) -> _Record | None:
        """What we did not write ourselves is ``None``."""
        if not isinstance(data, bytes) or not hmac.compare_digest(data[:SEAL], self._seal(scope, data[SEAL:])):
            return None
        head, _, blob = data[SEAL:].partition(b"\n")
        fields = orjson.loads(head)
        question = CachedQuestion(str(fields["q"]), CacheKey(scope, str(fields["k"])))
        return _Record(question, float(fields["x"]), np.frombuffer(blob, "<f4").astype(np.float32))

    def _seal(self, scope: Scope, payload: bytes) -> bytes:
        return mac(self._secret, b"journal", (scope.tenant_id, scope.digest, payload))[:SEAL]
