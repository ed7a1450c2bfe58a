"""The shared cache in Redis: answers as sealed strings, questions in vector sets (Redis 8).

    ocho:{scope}:e:<key digest>                     one answer; SET … EX, so it ends by itself
    ocho:{scope}:v:<dimensions>:<length>:<bucket>   questions first seen in one stretch of time

The braces are a Redis Cluster hash tag: everything of one scope lives in one slot, and a lookup is one pipeline.
Elements of a vector set cannot expire, so questions go into time buckets whose keys do. VREM is never used: it is a
use-after-free while searches run, before 8.2.9 / 8.4.6 / 8.6.6.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import structlog

from gateway.cache import entry_codec
from gateway.cache.keys import mac
from gateway.cache.redis_link import Client, RedisLink
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import Vector

log = structlog.get_logger()
BUCKETS = 4  # per time to live: at most five keys to search, at most a quarter of a life too long in memory
LIST_BUDGET_S = 30.0  # for purge and stats: never in the serving path


class RedisStore:
    """AnswerStore shared by every gateway process on the same Redis."""

    def __init__(self, link: RedisLink, secret: bytes, *, wall_clock: WallClock = time.time) -> None:
        self._link = link
        self._secret = secret
        self._now = wall_clock

    async def get(self, key: CacheKey) -> CacheEntry | None:
        data = await self._link.run(lambda redis: _as_awaitable(redis.get(_entry_key(key))))
        entry = entry_codec.decode(self._secret, key, data) if isinstance(data, bytes) else None
        return entry if entry is not None and entry.age_s(self._now()) < entry.ttl_s else None

    async def put(self, entry: CacheEntry) -> None:
        data = entry_codec.encode(self._secret, entry)
        life_ms = max(1, int((entry.ttl_s - entry.age_s(self._now())) * 1000))
        await self._link.run(
            lambda redis: _as_awaitable(redis.set(_entry_key(entry.key), data, px=life_ms)), write=True
        )

    async def delete(self, key: CacheKey) -> bool:
        gone = await self._link.run(lambda redis: _as_awaitable(redis.unlink(_entry_key(key))), write=True)
        return bool(gone)

    async def purge(self, matches: Callable[[CacheEntry], bool]) -> int:
        """Delete every entry that ``matches``; how many there were. Reads the whole cache: for administration."""

        async def sweep(redis: Client) -> int:
            gone = 0
            async for name in redis.scan_iter(match="ocho:*:e:*", count=500):
                data = await redis.get(name)
                entry = self._open(name, data) if isinstance(data, bytes) else None
                if entry is not None and matches(entry):
                    gone += bool(await redis.unlink(name))
            return gone

        return await self._link.run(sweep, budget_s=LIST_BUDGET_S)

    async def stats(self) -> dict[str, float]:
        async def count(redis: Client) -> dict[str, float]:
            entries = 0
            async for _ in redis.scan_iter(match="ocho:*:e:*", count=1000):
                entries += 1
            return {"entries": entries}

        return await self._link.run(count, budget_s=LIST_BUDGET_S)

    def _open(self, name: bytes, data: bytes) -> CacheEntry | None:
        _, scope, _, digest = name.decode("ascii", "replace").split(":", 3)
        return entry_codec.decode_any(self._secret, scope.strip("{}"), digest, data)


class RedisIndex:
    """QuestionIndex on vector sets. On a server without them it says so once and finds nothing."""

    def __init__(
        self, link: RedisLink, secret: bytes, *, max_ttl_s: float = 86_400.0, wall_clock: WallClock = time.time
    ) -> None:
        self._link = link
        self._secret = secret
        self._max_ttl_s = max_ttl_s
        self._bucket_s = max(1, round(max_ttl_s / BUCKETS))
        self._now = wall_clock
        self._supported = True

    @property
    def supported(self) -> bool:
        """False once the server has said that it has no vector sets."""
        return self._supported

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None:
        if not self._supported:
            return
        now = self._now()
        ttl_s = min(ttl_s, self._max_ttl_s)
        bucket = int(now // self._bucket_s)
        name = self._set_key(question.key.scope, len(vector), bucket)
        element = blake2b(question.text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        attributes = self._sealed(question, element, now + ttl_s)
        ends_at = int((bucket + 1) * self._bucket_s + self._max_ttl_s) + 1

        async def write(redis: Client) -> None:
            pipeline = redis.pipeline(transaction=False)
            blob = _blob(vector)
            pipeline.execute_command("VADD", name, "FP32", blob, element, "Q8", "SETATTR", attributes)
            pipeline.expireat(name, ends_at)
            await pipeline.execute()

        await self._told(write, write=True)

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        if not self._supported:
            return []
        now = self._now()
        newest = int(now // self._bucket_s)
        names = [self._set_key(scope, len(vector), newest - back) for back in range(BUCKETS + 1)]

        async def read(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            blob = _blob(vector)
            for name in names:  # NOTHREAD: a thread per key costs more than the search of a bucket, and its tail
                pipeline.execute_command(
                    "VSIM", name, "FP32", blob, "COUNT", k, "WITHSCORES", "WITHATTRIBS", "NOTHREAD"
                )
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            if replies and all(isinstance(reply, Exception) for reply in replies):
                raise replies[0]
            return replies

        replies = await self._told(read) or []
        found: dict[str, Neighbor] = {}  # by text: asked again in a later bucket, the newer one counts
        for reply in replies:
            for element, score, attributes in _rows(reply):
                question = self._opened(scope, element, attributes, now)
                if question is not None:
                    found.setdefault(question.text, Neighbor(question, cosine(score)))
        return sorted(found.values(), key=lambda neighbor: -neighbor.similarity)[:k]

    async def probe(self) -> str:
        """What the server is and can do, for ``ocho check``. Raises StoreUnavailable."""

        async def ask(redis: Client) -> str:
            info = await redis.info("server")
            if info and "redis_version" not in info:  # a cluster answers per node
                info = next(iter(info.values()))
            commands = await redis.execute_command("COMMAND", "INFO", "VSIM")
            has_sets = bool(commands) and commands not in ([None], {})
            sets = "vector sets" if has_sets else "no vector sets: exact hits only (Redis 8 has them)"
            return f"Redis {info.get('redis_version', '?')}, {sets}"

        return await self._link.run(ask, budget_s=2.0)

    async def _told(self, call: Callable[[Client], Awaitable[Any]], *, write: bool = False) -> Any:
        """Run ``call``; a server that does not know the command is remembered, and said once."""
        try:
            return await self._link.run(call, write=write)
        except StoreUnavailable as error:
            if "unknown command" not in str(error).lower():
                raise
            self._supported = False
            log.warning("this Redis has no vector sets: no semantic hits, exact hits go on (Redis 8 has them)")
            return None

    def _set_key(self, scope: Scope, dimensions: int, bucket: int) -> str:
        return f"ocho:{{{scope.digest}}}:v:{dimensions}:{self._bucket_s}:{bucket}"

    def _sealed(self, question: CachedQuestion, element: str, ends_at: float) -> bytes:
        seal = self._seal(question.key.scope, element, question.text, question.key.digest, ends_at)
        return orjson.dumps({"q": question.text, "k": question.key.digest, "x": ends_at, "m": seal})

    def _opened(self, scope: Scope, element: str, attributes: bytes, now: float) -> CachedQuestion | None:
        """The question behind an element; what we did not write ourselves, or is over, is ``None``."""
        try:
            fields = orjson.loads(attributes)
            text, digest, ends_at, seal = str(fields["q"]), str(fields["k"]), float(fields["x"]), str(fields["m"])
        except (ValueError, TypeError, KeyError):
            return None
        if not hmac.compare_digest(seal.encode(), self._seal(scope, element, text, digest, ends_at).encode()):
            return None
        return CachedQuestion(text, CacheKey(scope, digest)) if ends_at > now else None

    def _seal(self, scope: Scope, element: str, text: str, digest: str, ends_at: float) -> str:
        parts = (scope.tenant_id, scope.digest, element, text, digest, repr(ends_at))
        return mac(self._secret, b"question", parts).hex()


def cosine(score: float) -> float:
    """Redis VSIM score in [0, 1] as cosine similarity in [-1, 1]."""
    return 2 * score - 1  # WITHSCORES returns (1 + cos) / 2: orthogonal vectors score 0.5 (seen on Redis 8.2)


def _rows(reply: Any) -> Iterator[tuple[str, float, bytes]]:
    """(element, score, attributes) of a VSIM reply: a map in RESP3, a flat list in RESP2, an error of one key."""
    if isinstance(reply, Mapping):
        triples = [(element, *value) for element, value in reply.items() if isinstance(value, list | tuple)]
    elif isinstance(reply, list):
        triples = list(zip(reply[::3], reply[1::3], reply[2::3], strict=False))
    else:
        return
    for element, score, attributes in triples:
        if isinstance(element, bytes) and isinstance(attributes, bytes):
            yield element.decode("ascii", "replace"), float(score), attributes


def _entry_key(key: CacheKey) -> str:
    return f"ocho:{{{key.scope.digest}}}:e:{key.digest}"


def _blob(vector: Vector) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


async def _as_awaitable(call: Any) -> Any:
    return await call
