"""How long a lookup takes among many questions, and the stores that it is looked up in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from bench.semantic_cache.stream import SECRET, Stores, Tally
from gateway.cache.decision import Rule
from gateway.cache.keys import Keys
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.redis_store import RedisStore
from gateway.cache.semantic import SemanticCache
from gateway.chat import (
    Answer,
    CachedQuestion,
    CacheEntry,
    CacheKey,
    CacheWishes,
    Scope,
)
from gateway.ports import Vector

AT_ONCE = 32  # questions put into the stores: a server that waits for each round trip takes twice as long


@asynccontextmanager
async def opened(store: str) -> AsyncIterator[Stores]:
    """Empty stores; for "redis" on a server of their own."""
    if store == "memory":
        yield MemoryStore(4 << 30), MemoryIndex(200_000, 20_000)
        return
    from tests.redis_server import redis_server

    with redis_server() as server:
        client = redis_client(server.url, timeout_s=10.0)
        link = RedisLink(client, timeout_s=10.0)
        yield RedisStore(link, SECRET), RedisIndex(link, SECRET, max_ttl_s=1e6)
        await client.aclose()


async def _keep(stores: Stores, scope: Scope, number: int, row: Vector) -> None:
    answers, index = stores
    question, key = f"휴가 {number}일은 어떻게 쓰나요?", CacheKey(scope, f"{number:08x}")
    choice = {"index": 0, "message": {"role": "assistant", "content": "15일입니다."}, "finish_reason": "stop"}
    await answers.put(CacheEntry(key, question, Answer((choice,), "m"), "m", time.time(), 1e6))
    await index.add(CachedQuestion(question, key), row, 1e6)


async def latency(entries: int, store: str, rule: Rule, seed: int, lookups: int = 300) -> dict[str, Any]:
    """Lookups in one scope of ``entries`` made-up questions: search, decision and fetch, without embedding."""
    made = np.random.default_rng(seed)
    topics = made.normal(size=(max(1, entries // 10), 384))
    async with opened(store) as (answers, index):
        scope = Scope("bench", "00")
        rows = topics[made.integers(len(topics), size=entries)] + made.normal(scale=0.3, size=(entries, 384))
        rows = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
        for start in range(0, entries, AT_ONCE):
            some = range(start, min(entries, start + AT_ONCE))
            await asyncio.gather(*(_keep((answers, index), scope, number, rows[number]) for number in some))
        cache = SemanticCache(answers, index, rule=rule)
        tally = Tally()
        for number in made.integers(entries, size=lookups + 20):
            asked: Vector = rows[number]

            async def vector(asked: Vector = asked) -> Vector | None:
                return asked

            began = time.perf_counter()
            keys = Keys(CacheKey(scope, "none"), True)
            hit = await cache.lookup(keys, f"휴가  {number}일은 어떻게 쓰나요", vector(), None, CacheWishes())
            tally.count(hit is not None, False, time.perf_counter() - began, False)
        tally.seconds = tally.seconds[20:]
        row = tally.row("")
        return {
            "entries": entries,
            "store": store,
            "hits": tally.hits,
            "p50_ms": row["p50_ms"],
            "p99_ms": row["p99_ms"],
        }
