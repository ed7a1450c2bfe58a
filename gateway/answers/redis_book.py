"""The book in Redis, shared by every gateway on it.

    ocho:{answers}:book     hash: n = number of changes so far; <id> = revision:seal:record
    ocho:{answers}:changes  list: seal:line of the history, the latest first

Nothing here expires: the server must not evict what has no expiry, and must persist (see lasting.py).
Values are sealed with the server's secret: what somebody else wrote is not served.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, cast

from gateway.answers import reviewed
from gateway.answers.book import CHANGED, MAX_CHANGES, Conflict
from gateway.answers.reviewed import Change, Reviewed
from gateway.cache.keys import mac
from gateway.cache.redis_link import Client, RedisLink

BOOK, CHANGES = "ocho:{answers}:book", "ocho:{answers}:changes"
BUDGET_S = 5.0  # never in the serving path
HEAD_BUDGET_S = 0.5
# Keys: book, changes. Arguments: id, the revision that must be stored, the new value ("" deletes), line, lines kept.
CHANGE = """
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local revision = stored and string.match(stored, '^(%d+):') or '0'
if revision ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('LPUSH', KEYS[2], ARGV[4])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[5]) - 1)
redis.call('HINCRBY', KEYS[1], 'n', 1)
return 1
"""
_SEAL = 16  # bytes


class RedisBook:
    def __init__(self, link: RedisLink, secret: bytes) -> None:
        self._link = link
        self._secret = secret

    async def head(self) -> int:
        async def ask(redis: Client) -> Any:
            pipeline = redis.pipeline(transaction=False)
            pipeline.hget(BOOK, "n")
            pipeline.llen(CHANGES)  # only so that it counts as used, where the server evicts all keys alike
            return (await pipeline.execute())[0]

        return int(await self._link.run(ask, budget_s=HEAD_BUDGET_S) or 0)

    async def all(self) -> list[Reviewed]:
        found = await self._link.run(lambda redis: cast(Awaitable[Any], redis.hgetall(BOOK)), budget_s=BUDGET_S)
        answers = (self._opened(id, value) for id, value in found.items() if id != b"n")
        return sorted((a for a in answers if a is not None), key=lambda a: (a.tenant, a.id))

    async def get(self, tenant: str, id: str) -> Reviewed | None:
        value = await self._link.run(lambda redis: cast(Awaitable[Any], redis.hget(BOOK, id)), budget_s=BUDGET_S)
        answer = self._opened(id.encode(), value) if value is not None else None
        return answer if answer is not None and answer.tenant == tenant else None

    async def save(self, answer: Reviewed, change: Change) -> Reviewed:
        kept = reviewed.next_of(answer)
        payload = reviewed.dump(kept)
        head = b"%d:" % kept.revision
        await self._change(answer, head + mac(self._secret, b"answer", (kept.id, head, payload)) + payload, change)
        return kept

    async def delete(self, answer: Reviewed, change: Change) -> None:
        await self._change(answer, b"", change)

    async def history(self, limit: int, tenant: str = "", id: str = "") -> list[Change]:
        lines = await self._link.run(
            lambda redis: cast(Awaitable[Any], redis.lrange(CHANGES, 0, -1 if tenant or id else limit - 1)),
            budget_s=BUDGET_S,
        )
        found = (self._line(line) for line in lines)
        asked = [c for c in found if c is not None and tenant in ("", c.tenant) and id in ("", c.answer)]
        return asked[:limit]

    async def _change(self, answer: Reviewed, value: bytes, change: Change) -> None:
        payload = reviewed.dump(change)
        line = mac(self._secret, b"change", (payload,)) + payload
        done = await self._link.run(
            lambda redis: cast(
                Awaitable[Any],
                redis.eval(CHANGE, 2, BOOK, CHANGES, answer.id, answer.revision, value, line, MAX_CHANGES),
            ),
            write=True, budget_s=BUDGET_S,
        )  # fmt: skip
        if not done:
            raise Conflict(CHANGED, param="revision")

    def _opened(self, id: bytes, value: bytes) -> Reviewed | None:
        revision, _, rest = value.partition(b":")
        seal, payload = rest[:_SEAL], rest[_SEAL:]
        if not hmac.compare_digest(seal, mac(self._secret, b"answer", (id, revision + b":", payload))):
            return None
        with suppress(ValueError, TypeError, KeyError):
            return reviewed.load(payload)
        return None

    def _line(self, line: bytes) -> Change | None:
        seal, payload = line[:_SEAL], line[_SEAL:]
        if not hmac.compare_digest(seal, mac(self._secret, b"change", (payload,))):
            return None
        with suppress(ValueError, TypeError):
            return reviewed.load_change(payload)
        return None
