"""Negative labels: a question that must never again be given a certain kept answer, because that was seen to be wrong.

Kept where the answers are, as entries without choices: signed, expiring, the same for every replica.
"""

from __future__ import annotations

import time
from hashlib import blake2b

from gateway.cache.decision import plain
from gateway.chat import Answer, CacheEntry, CacheKey
from gateway.clock import WallClock
from gateway.errors import StoreUnavailable
from gateway.ports import AnswerStore

LABEL = "refused"
LABEL_TTL_S = 30 * 86_400.0  # longer than answers live: a renewed answer has the same key, and the pair still differs


class Labels:
    def __init__(self, store: AnswerStore, *, wall_clock: WallClock = time.time) -> None:
        self._store = store
        self._now = wall_clock

    async def refuse(self, question: str, key: CacheKey) -> None:
        """From now on ``question`` is not answered by the entry at ``key``. Raises StoreUnavailable."""
        entry = CacheEntry(_place(question, key), "", Answer((), LABEL), LABEL, self._now(), LABEL_TTL_S)
        await self._store.put(entry)

    async def refused(self, question: str, key: CacheKey) -> bool:
        """Whether that was said before. Where nobody can tell, yes: in doubt it is a miss."""
        try:
            found = await self._store.get(_place(question, key))
        except StoreUnavailable:
            return True
        return found is not None and found.requested_model == LABEL


def _place(question: str, key: CacheKey) -> CacheKey:
    """Where the label of a pair is kept: no exact key of a request, which is a keyed hash, can be made to meet it."""
    pair = f"{LABEL}\0{key.digest}\0{plain(question)}".encode("utf-8", "surrogatepass")
    return CacheKey(key.scope, blake2b(pair, digest_size=20, person=b"ocho-label").hexdigest())
