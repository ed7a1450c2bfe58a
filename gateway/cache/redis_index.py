"""Questions in Redis: vector sets (Redis 8), or a journal followed in memory where the server has none.

    ocho:{scope}:v:<dimensions>:<length>:<bucket>   questions first seen in one stretch of time

The braces are a Redis Cluster hash tag: a lookup is one pipeline. Elements of a vector set cannot expire, so questions
go into time buckets whose keys do. VREM is never used: it is a use-after-free while searches run, before 8.2.9 /
8.4.6 / 8.6.6.
"""

from __future__ import annotations

import hmac
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import structlog
from redis.exceptions import ResponseError

from gateway.cache.keys import mac
from gateway.cache.redis_journal import JournalIndex
from gateway.cache.redis_link import ADMIN_BUDGET_S, BUCKETS, Client, RedisLink, scanned, unlink_one
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import Vector

log = structlog.get_logger()

# Nodes of the graph that a search follows: among 26,500 real questions 99.54 % of the neighbours above 0.93 were found,
# with the server's own 100 99.59 %, in six tenths of the time.
EFFORT = 48


class RedisIndex:
    """QuestionIndex on vector sets; on a server without them, which shows at the first use, on a journal."""

    def __init__(
        self, link: RedisLink, secret: bytes, *, max_ttl_s: float = 86_400.0, wall_clock: WallClock = time.time
    ) -> None:
        self._link = link
        self._secret = secret
        self._max_ttl_s = max_ttl_s
        self._bucket_s = max(1, round(max_ttl_s / BUCKETS))
        self._now = wall_clock
        self._supported = True
        self._journal = JournalIndex(link, secret, max_ttl_s=max_ttl_s, wall_clock=wall_clock)
        self._dimensions: set[int] = set()  # of vectors seen here

    @property
    def supported(self) -> bool:
        """False once the server has said that it has no vector sets."""
        return self._supported

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None:
        if not self._supported:
            return await self._journal.add(question, vector, ttl_s)
        now = self._now()
        ttl_s = min(ttl_s, self._max_ttl_s)
        bucket = int(now // self._bucket_s)
        name = self._set_key(question.key.scope, len(vector), bucket)
        element = _element(question.text)
        self._dimensions.add(len(vector))
        attributes = self._sealed(question, element, now + ttl_s)
        ends_at = int((bucket + 1) * self._bucket_s + self._max_ttl_s) + 1

        async def write(redis: Client) -> None:
            pipeline = redis.pipeline(transaction=False)
            blob = _blob(vector)
            pipeline.execute_command("VADD", name, "FP32", blob, element, "Q8", "SETATTR", attributes)
            pipeline.expireat(name, ends_at)
            await pipeline.execute()

        await self._told(write, write=True)
        if not self._supported:
            await self._journal.add(question, vector, ttl_s)

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        if not self._supported:
            return await self._journal.search(scope, vector, k)
        now = self._now()
        newest = int(now // self._bucket_s)
        names = [self._set_key(scope, len(vector), newest - back) for back in range(BUCKETS + 1)]

        async def read(redis: Client) -> list[Any]:
            pipeline = redis.pipeline(transaction=False)
            blob = _blob(vector)
            for name in names:  # NOTHREAD: a thread per key costs more than the search of a bucket, and its tail
                pipeline.execute_command(
                    "VSIM", name, "FP32", blob, "COUNT", k, "WITHSCORES", "WITHATTRIBS", "EF", EFFORT, "NOTHREAD"
                )
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            if replies and all(isinstance(reply, Exception) for reply in replies):
                raise replies[0]
            return replies

        replies = await self._told(read) or []
        if not self._supported:
            return await self._journal.search(scope, vector, k)
        found: dict[str, Neighbor] = {}  # by text: asked again in a later bucket, the newer one counts
        for reply in replies:
            for element, score, attributes in _rows(reply):
                question = self._opened(scope, element, attributes, now)
                if question is not None:
                    found.setdefault(question.text, Neighbor(question, cosine(score)))
        return sorted(found.values(), key=lambda neighbor: -neighbor.similarity)[:k]

    async def forget(self, entries: Sequence[CacheEntry]) -> None:
        """Blank the questions that ``entries`` were made for. Other wordings lead to nothing until they expire."""
        newest = int(self._now() // self._bucket_s)

        async def blank(redis: Client) -> None:
            pipeline = redis.pipeline(transaction=False)
            for entry in entries:
                element = _element(entry.question)
                over = self._sealed(CachedQuestion("", entry.key), element, 1.0)
                for dimensions in self._dimensions:
                    for back in range(BUCKETS + 1):
                        name = self._set_key(entry.key.scope, dimensions, newest - back)
                        pipeline.execute_command("VSETATTR", name, element, over)
            await pipeline.execute(raise_on_error=False)

        if self._supported and self._dimensions:
            await self._told(blank, write=True, budget_s=ADMIN_BUDGET_S)
        if not self._supported:
            await self._journal.forget(entries)

    async def clear(self, tenant: str = "") -> None:
        """Delete every question, or those of one tenant, wordings of expired entries included."""
        async for name in scanned(self._link, "ocho:*:v:*"):
            if not tenant or await self._belongs(name, tenant):
                unlink = partial(unlink_one, name)
                await self._link.run(unlink, write=True, budget_s=ADMIN_BUDGET_S)
        await self._journal.clear(tenant)

    async def _belongs(self, name: bytes, tenant: str) -> bool:
        """Whether the set's elements were sealed for ``tenant``: nothing else in Redis tells."""
        digest = name.decode("ascii", "replace").split(":")[1].strip("{}")

        async def peek(redis: Client) -> tuple[bytes, bytes] | None:
            element = await redis.execute_command("VRANDMEMBER", name)
            return (element, await redis.execute_command("VGETATTR", name, element)) if element else None

        found = await self._link.run(peek, budget_s=ADMIN_BUDGET_S)
        if found is None or not isinstance(found[1], bytes):
            return False
        return self._opened(Scope(tenant, digest), found[0].decode("ascii", "replace"), found[1], 0.0) is not None

    async def probe(self) -> str:
        """What the server is and can do, for ``ocho check``. Raises StoreUnavailable."""

        async def ask(redis: Client) -> str:
            info = await redis.info("server")
            if info and "redis_version" not in info:  # a cluster answers per node
                info = next(iter(info.values()))
            try:
                await redis.execute_command("VCARD", "ocho:probe")
            except ResponseError as error:
                if "unknown command" not in str(error).lower():
                    raise
                sets = "no vector sets: each gateway keeps a copy of the questions (Redis 8 has them)"
            else:
                sets = "vector sets"
            return f"Redis {info.get('redis_version', '?')}, {sets}"

        return await self._link.run(ask, budget_s=2.0)

    async def _told(self, call: Callable[[Client], Awaitable[Any]], *, write: bool = False, budget_s: float = 0) -> Any:
        """Run ``call``; a server that does not know the command is remembered, and said once."""
        try:
            return await self._link.run(call, write=write, budget_s=budget_s)
        except StoreUnavailable as error:
            if "unknown command" not in str(error).lower():
                raise
            self._supported = False
            log.warning("this Redis has no vector sets: questions are searched in memory (Redis 8 has them)")
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


def _element(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _blob(vector: Vector) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()
