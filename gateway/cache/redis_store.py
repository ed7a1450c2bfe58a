"""The shared cache in Redis: answers as sealed strings, questions in vector sets (Redis 8).

    ocho:{scope}:e:<key digest>                     one answer; SET … EX, so it ends by itself
    ocho:{purges}:ledger                            what was purged: a generation and its selections (see purging.py)
    ocho:{scope}:v:<dimensions>:<length>:<bucket>   questions first seen in one stretch of time

The braces are a Redis Cluster hash tag: everything of one scope lives in one slot, and a lookup is one pipeline.
Elements of a vector set cannot expire, so questions go into time buckets whose keys do. VREM is never used: it is a
use-after-free while searches run, before 8.2.9 / 8.4.6 / 8.6.6.
"""

from __future__ import annotations

import hmac
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
import structlog
from redis.exceptions import RedisClusterException, RedisError

from gateway.cache import entry_codec
from gateway.cache.keys import mac
from gateway.cache.purging import Cut, Ledger, Selection
from gateway.cache.redis_link import Client, RedisLink
from gateway.chat import CachedQuestion, CacheEntry, CacheKey, Neighbor, Scope
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import Vector

log = structlog.get_logger()
LEDGER = "ocho:{purges}:ledger"  # hash: n = generation of the latest purge; c:<generation> = what it selects
LEDGER_S = 40 * 86_400.0  # seconds after which a cut is forgotten; longer than any entry lives
CUT = """
local now = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
local n = string.format('%.0f', math.max(last + 1, now[1] * 1000 + math.floor(now[2] / 1000)))
redis.call('HSET', KEYS[1], 'n', n, 'c:' .. n, ARGV[1])
for i = 2, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return n
"""  # in milliseconds, so that a ledger that was lost and begun again goes on above the old one
BATCH = 200  # keys per step of what an administrator asks for
BUCKETS = 4  # per time to live: at most five keys to search, at most a quarter of a life too long in memory
ADMIN_BUDGET_S = 5.0  # per step; never in the serving path


class RedisStore:
    """AnswerStore shared by every gateway process on the same Redis."""

    def __init__(self, link: RedisLink, secret: bytes, *, wall_clock: WallClock = time.time) -> None:
        self._link = link
        self._secret = secret
        self._now = wall_clock
        self._ledger = Ledger()

    @property
    def generation(self) -> int:
        return self._ledger.generation

    async def get(self, key: CacheKey) -> CacheEntry | None:
        async def read(redis: Client) -> tuple[Any, Any]:
            pipeline = redis.pipeline(transaction=False)
            pipeline.get(_entry_key(key))
            pipeline.hget(LEDGER, "n")
            data, generation = await pipeline.execute()
            return data, generation

        data, generation = await self._link.run(read)
        await self._follow(generation)
        entry = entry_codec.decode(self._secret, key, data) if isinstance(data, bytes) else None
        return entry if entry is not None and self._stands(entry) else None

    async def put(self, entry: CacheEntry) -> None:
        data = entry_codec.encode(self._secret, entry)
        life_ms = max(1, int((entry.ttl_s - entry.age_s(self._now())) * 1000))

        async def write(redis: Client) -> Any:
            pipeline = redis.pipeline(transaction=False)
            pipeline.set(_entry_key(entry.key), data, px=life_ms)
            pipeline.hget(LEDGER, "n")
            return (await pipeline.execute())[1]

        await self._follow(await self._link.run(write, write=True))

    async def delete(self, key: CacheKey) -> bool:
        gone = await self._link.run(lambda redis: _as_awaitable(redis.unlink(_entry_key(key))), write=True)
        return bool(gone)

    async def find(self, handle: str) -> CacheEntry | None:
        found = [entry async for batch in self._batches(handle) for entry in batch if self._stands(entry)]
        return found[0] if found else None

    async def purge(self, selection: Selection) -> AsyncIterator[Sequence[CacheEntry]]:
        generation = await self._link.run(partial(self._cut, selection), write=True, budget_s=ADMIN_BUDGET_S)
        await self._follow(generation)
        async for batch in self._batches(selection.entry):
            doomed = [e for e in batch if selection.selects(e) and self._ledger.voids(e)]
            if doomed:
                await self._unlink(doomed)
                yield doomed

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

    def _stands(self, entry: CacheEntry) -> bool:
        return entry.age_s(self._now()) < entry.ttl_s and not self._ledger.voids(entry)

    async def _follow(self, generation: Any) -> None:
        """Read the cuts again where the shared ledger has moved on. Raises StoreUnavailable."""
        current = _number(generation)
        if current == self._ledger.generation:
            return
        fields = await self._link.run(lambda redis: _as_awaitable(redis.hgetall(LEDGER)))
        self._ledger.replace(*_ledger_of(fields))

    async def _cut(self, selection: Selection, redis: Client) -> Any:
        oldest = (self._now() - LEDGER_S) * 1000  # generations are milliseconds
        over = [f"c:{cut.generation}" for cut in self._ledger.cuts if cut.generation < oldest]
        return await redis.eval(CUT, 1, LEDGER, orjson.dumps(selection.given), *over)

    async def _batches(self, handle: str = "") -> AsyncIterator[list[CacheEntry]]:
        """Every entry, void ones too, or the one with ``handle``. SCAN in small steps: the server is never held up."""
        if handle:
            scope, _, digest = handle.partition(".")
            yield await self._read([_entry_name(scope, digest).encode()])
            return
        names: list[bytes] = []
        async for name in scanned(self._link, "ocho:*:e:*"):
            names.append(name)
            if len(names) == BATCH:
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
            await pipeline.execute()

        await self._link.run(unlink, write=True, budget_s=ADMIN_BUDGET_S)

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
        self._dimensions: set[int] = set()  # of vectors seen here

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

    async def clear(self, tenant: str = "") -> None:
        """Delete every question, or those of one tenant, wordings of expired entries included."""
        async for name in scanned(self._link, "ocho:*:v:*"):
            if not tenant or await self._belongs(name, tenant):
                unlink = partial(_unlink_one, name)
                await self._link.run(unlink, write=True, budget_s=ADMIN_BUDGET_S)

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
            commands = await redis.execute_command("COMMAND", "INFO", "VSIM")
            has_sets = bool(commands) and commands not in ([None], {})
            sets = "vector sets" if has_sets else "no vector sets: exact hits only (Redis 8 has them)"
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
    return _entry_name(key.scope.digest, key.digest)


def _entry_name(scope: str, digest: str) -> str:
    return f"ocho:{{{scope}}}:e:{digest}"


async def scanned(link: RedisLink, pattern: str) -> AsyncIterator[bytes]:
    """Names of keys, on every node of a cluster. Raises StoreUnavailable."""
    try:
        async for name in link.client.scan_iter(match=pattern, count=BATCH):
            yield name
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


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


def _element(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _blob(vector: Vector) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


async def _unlink_one(name: bytes, redis: Client) -> None:
    await redis.unlink(name)


async def _as_awaitable(call: Any) -> Any:
    return await call
