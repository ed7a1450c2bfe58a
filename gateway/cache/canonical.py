"""One answer per intent: the entry that all its wordings are answered by, and what happens when a fresh answer differs.

A wording that was recognised as an earlier question keeps an *alias*: an entry under its own exact key that points to
the canonical one (``CacheEntry.alias_of``) and carries a copy of it. Whoever changes the canonical entry changes what
all wordings get; whoever loses it (eviction) gets it back from any of them. A *flip* is a fresh answer that contradicts
the earlier one although no document has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.chat import Answer, CacheEntry, CacheKey, Evidence
from gateway.ports import AnswerStore


async def followed(store: AnswerStore, entry: CacheEntry) -> CacheEntry:
    """The entry that ``entry`` stands for. An alias whose canonical entry is gone stands in for it, if nobody knows
    the latter any more: it may have been corrected since."""
    if not entry.alias_of:
        return entry
    found = await store.get(entry.canonical_key) or await store.earlier(entry.canonical_key)
    if found is not None and not found.alias_of:
        return found
    return replace(entry, key=entry.canonical_key, alias_of="")


async def earlier(store: AnswerStore, entry: CacheEntry) -> CacheEntry:
    """As ``followed``, whether live or not."""
    if not entry.alias_of:
        return entry
    found = await store.earlier(entry.canonical_key)
    return found if found is not None and not found.alias_of else replace(entry, key=entry.canonical_key, alias_of="")


def alias(key: CacheKey, question: str, canonical: CacheEntry, evidence: Evidence, now: float) -> CacheEntry:
    """``canonical`` under the key of another wording, for as long as it has left to live.

    ``evidence`` is what this wording finds: when that changes, it is looked at again, whatever the canonical one says.
    """
    return replace(
        canonical, key=key, question=question, alias_of=canonical.key.digest, created_at=now,
        ttl_s=max(0.0, canonical.ttl_s - canonical.age_s(now)), evidence=evidence.ids, epoch=evidence.epoch,
        dependencies={**canonical.dependencies, **evidence.dependencies},
    )  # fmt: skip


def made_by(answer: Answer) -> tuple[str, str]:
    """Which model gave an answer: its name, and the fingerprint of the system behind it where the provider tells."""
    return answer.model, str(answer.extras.get("system_fingerprint") or "")


class Epochs:
    """Notices when another model, or the same one on another system, begins to answer for a model name.

    Kept answers stay until their time is up; what is made afresh belongs to the new epoch, and a flip says whether it
    crossed one.
    """

    def __init__(self, on_change: Callable[[str], None] = lambda model: None) -> None:
        self._latest: dict[str, tuple[str, str]] = {}
        self._on_change = on_change

    def saw(self, model: str, answer: Answer) -> None:
        """``model``: configured name, so that what is remembered stays bounded."""
        now = made_by(answer)
        before = self._latest.get(model)
        if before is not None and before != now:
            self._on_change(model)
        self._latest[model] = now
