"""What a person should look at: answers that disagree although their documents do not. Bounded, in this process."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b

from gateway.cache.keys import framed
from gateway.chat import CacheEntry
from gateway.clock import WallClock

MAX_KEPT = 500


class ReviewKind(StrEnum):
    FLIP = "flip"  # the same question, the same documents, other facts
    MODEL_CHANGE = "model_change"  # the same, but another model answered
    DISAGREEMENT = "disagreement"  # another wording of a question, the same passages, other facts
    SAMPLE = "sample"  # a background sample did not confirm the kept answer


@dataclass(frozen=True, slots=True)
class Review:
    kind: ReviewKind
    entry: CacheEntry  # the answer that is served
    other: CacheEntry  # the one that disagrees
    reason: str  # which facts differ
    at: float  # wall seconds, of the latest time
    seen: int = 1  # times the same question brought it up

    @property
    def id(self) -> str:
        mine, theirs = self.entry.key, self.other.key
        place = framed(mine.scope.tenant_id, mine.scope.digest, mine.digest, theirs.digest)
        return f"{self.kind}-{blake2b(place, digest_size=10).hexdigest()}"


class Reviews:
    """The latest disagreements, newest last; one per kind and pair of questions. ``on_add`` hears of every one."""

    def __init__(
        self,
        limit: int = MAX_KEPT,
        *,
        on_add: Callable[[Review], None] = lambda review: None,
        wall_clock: WallClock = time.time,
    ) -> None:
        self._limit = limit
        self._on_add = on_add
        self._now = wall_clock
        self._kept: OrderedDict[str, Review] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, kind: ReviewKind, entry: CacheEntry, other: CacheEntry, reason: str) -> Review:
        """Put a disagreement on the list; the oldest one goes when the list is full."""
        review = Review(kind, entry, other, reason, self._now())
        if (before := self._kept.pop(review.id, None)) is not None:
            review = replace(review, seen=before.seen + 1)
        self._kept[review.id] = review
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        self._on_add(review)
        return review

    def waiting(self, tenant_id: str | None = None) -> list[Review]:
        """Newest first; of one tenant where one is named."""
        return [r for r in reversed(self._kept.values()) if tenant_id in (None, r.entry.key.scope.tenant_id)]

    def settle(self, review_id: str) -> Review | None:
        """Take a review off the list: somebody has decided."""
        return self._kept.pop(review_id, None)

    def counts(self) -> dict[ReviewKind, int]:
        found = Counter(review.kind for review in self._kept.values())
        return {kind: found[kind] for kind in ReviewKind}
