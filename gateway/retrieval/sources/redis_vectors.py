"""Redis 8 vector sets as a source: by meaning only. Passages are kept in hashes beside the set.

    {prefix}:{name}:vectors     vector set, element = passage id "document#position"
    {prefix}:{name}:p:{id}      hash: document, version, position, title, section, text, groups (JSON)

A hash is the truth about a passage: an element whose hash is gone is not returned. Documents are replaced by writing
the new hashes and vectors first and dropping the rest after; elements are never removed from a set that is being
searched (VREM beside VSIM crashes servers before 8.2.9, 8.4.6 and 8.6.6), their hashes are, so rebuild the set under
a new name now and then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import numpy as np
from redis.asyncio import Redis

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.documents import Document, may_see
from gateway.retrieval.sources.rest import SourceError

_FIELDS = ("document", "version", "position", "title", "section", "text", "groups")
_DEPTH = 4  # elements asked for each passage wanted: those of other groups and of replaced documents fall out


class RedisVectorSource:
    """Searches the vector set of collection ``name``. ``redis`` must not decode replies."""

    def __init__(self, name: str, redis: Redis, *, prefix: str = "ocho:docs") -> None:
        self.name = name
        self._redis = redis
        self._prefix = f"{prefix}:{{{name}}}"  # one hash slot: works on a cluster

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        vector = await search.vector()
        if vector is None:
            raise SourceError(f"{self.name}: no vector for the question, and a vector set is searched by meaning only")
        wanted = search.k * _DEPTH
        command: Any = self._redis.execute_command  # untyped in redis-py
        reply = await command("VSIM", f"{self._prefix}:vectors", "FP32", _blob(vector), "WITHSCORES", "COUNT", wanted)
        near = [(id, 2 * float(score) - 1) for id, score in _pairs(reply)]  # Redis scores (1 + cosine) / 2
        async with self._redis.pipeline(transaction=False) as pipe:
            for id, _ in near:
                pipe.hmget(self._hash(id), list(_FIELDS))
            rows = await pipe.execute() if near else []
        found = []
        for (_, similarity), row in zip(near, rows, strict=True):
            if row[0] is None:
                continue
            document, version, position, title, section, text, groups = (value.decode() for value in row)
            if may_see(groups, search.groups):
                found.append(Passage(self.name, document, version, int(position), title, section, text, similarity))
        return found[: search.k]

    async def put(self, document: Document, version: str) -> None:
        """Write or replace one document. Its new passages can be found before the old ones are gone, never neither."""
        vectors = [vector for vector in document.vectors or () if vector is not None]
        if len(vectors) != len(document.pieces):
            raise ValueError(f"{document.document}: a vector set needs a vector for every passage")
        groups = json.dumps(sorted(set(document.groups)), ensure_ascii=False)
        members, ids = self._members(document.document), []
        async with self._redis.pipeline(transaction=False) as pipe:
            for position, (piece, vector) in enumerate(zip(document.pieces, vectors, strict=True)):
                ids.append(id := f"{document.document}#{position}@{version}".encode())
                values = (document.document, version, position, document.title, piece.section, piece.text, groups)
                pipe.hset(self._hash(id), mapping=dict(zip(_FIELDS, values, strict=True)))
                pipe.sadd(members, id)
                pipe.execute_command("VADD", f"{self._prefix}:vectors", "FP32", _blob(vector), id)
            await pipe.execute()
        await self._forget(members, keep=ids)

    async def delete(self, document: str) -> None:
        await self._forget(self._members(document), keep=())

    async def _forget(self, members: str, keep: Sequence[bytes]) -> None:
        there: set[bytes] = await cast("Awaitable[set[bytes]]", self._redis.smembers(members))
        old = sorted(there.difference(keep))
        if old:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.unlink(*(self._hash(id) for id in old))
                pipe.srem(members, *old)
                await pipe.execute()

    def _members(self, document: str) -> str:
        return f"{self._prefix}:d:{hashlib.sha256(document.encode()).hexdigest()[:32]}"

    def _hash(self, id: bytes) -> bytes:
        return f"{self._prefix}:p:".encode() + id


def _blob(vector: Vector) -> bytes:
    return np.asarray(vector, "<f4").tobytes()


def _pairs(reply: Any) -> list[tuple[bytes, float]]:
    """WITHSCORES: a map on RESP3 (and as redis-py shows it), a flat list on RESP2."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
