"""What a purge takes, and why nothing it took can come back. Pure.

A purge writes a *cut* into a ledger: a selection and a generation, one higher than any before. Every entry carries the
generation that was current when its request began, so an entry is void when a later cut selects it, also one whose
answer was still being made at that moment. Deleting what is void is only tidying up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from gateway.chat import CacheEntry

MAX_CUTS = 1_000  # more than so many at once: the oldest voids everything older than itself


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries that agree with every field given; with none given, all."""

    entry: str = ""  # handle, as ``x-ocho-entry`` tells it
    model: str = ""  # as callers name it
    namespace: str = ""
    tag: str = ""
    document: str = ""  # "collection/document", or "collection/" for all of one
    tenant: str = ""

    def selects(self, entry: CacheEntry) -> bool:
        key = entry.key
        return (
            (not self.entry or self.entry in (key.handle, entry.canonical_key.handle))  # its aliases have copies
            and (not self.model or entry.requested_model == self.model)
            and (not self.namespace or entry.namespace == self.namespace)
            and (not self.tag or self.tag in entry.tags)
            and (not self.document or self._rests_on(entry))
            and (not self.tenant or key.scope.tenant_id == self.tenant)
        )

    def _rests_on(self, entry: CacheEntry) -> bool:
        names = (*entry.dependencies, *(f"{passage.collection}/{passage.document}" for passage in entry.citations))
        if self.document.endswith("/"):
            return any(name.startswith(self.document) for name in names)
        return self.document in names

    @property
    def given(self) -> dict[str, str]:
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Selection:
        """Raises ValueError for a field that does not exist or is no text."""
        for name, value in given.items():
            if name not in SELECTORS:
                raise ValueError(f"unknown selector {name!r}; known are {', '.join(SELECTORS)}")
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} must be a text that is not empty")
        return cls(**given)


SELECTORS = tuple(f.name for f in fields(Selection))


@dataclass(frozen=True, slots=True)
class Cut:
    generation: int
    selection: Selection

    def voids(self, entry: CacheEntry) -> bool:
        return entry.generation < self.generation and self.selection.selects(entry)


@dataclass(slots=True)
class Ledger:
    """The cuts that still matter. Without any, generation 0 and nothing void."""

    generation: int = 0
    cuts: tuple[Cut, ...] = ()
    floor: int = 0  # entries older than this are void, whatever they are

    def voids(self, entry: CacheEntry) -> bool:
        """True for what was cut, and for what is newer than the ledger: then the ledger it knew is lost."""
        made = entry.generation
        if made == self.generation:
            return False
        return made > self.generation or made < self.floor or any(cut.voids(entry) for cut in self.cuts)

    def cut(self, generation: int, selection: Selection) -> None:
        self.replace(generation, (*self.cuts, Cut(generation, selection)), self.floor)

    def replace(self, generation: int, cuts: Iterable[Cut], floor: int = 0) -> None:
        kept = sorted(cuts, key=lambda cut: cut.generation)
        for cut in kept[:-MAX_CUTS]:
            floor = max(floor, cut.generation)
        self.generation, self.cuts, self.floor = generation, tuple(kept[-MAX_CUTS:]), floor


class KeptAnswers(Protocol):
    """An AnswerStore as its administrator sees it. Raises StoreUnavailable."""

    @property
    def generation(self) -> int:
        """Of the latest purge that is known here."""

    async def find(self, handle: str) -> CacheEntry | None:
        """The live entry with this handle, without counting as its use."""

    def purge(self, selection: Selection) -> AsyncIterator[Sequence[CacheEntry]]:
        """Batches of what was deleted. The cut is made before the first: from then on nothing that ``selection``
        selects is served by any gateway on this store."""

    def entries(self) -> AsyncIterator[CacheEntry]:
        """All live entries, in no order. What is written or deleted meanwhile may or may not be among them."""

    async def stats(self) -> Mapping[str, float]:
        """Bytes, evictions and limits, as far as the store knows them."""


class PurgedQuestions(Protocol):
    """A QuestionIndex as its administrator sees it. Raises StoreUnavailable."""

    async def forget(self, entries: Sequence[CacheEntry]) -> None:
        """No question leads to these entries any more, as far as that can be done cheaply; the rest finds nothing."""

    async def clear(self, tenant: str = "") -> None:
        """Delete every question, or those of one tenant."""


async def purge(store: KeptAnswers, index: PurgedQuestions, selection: Selection) -> int:
    """Void and delete what is selected; how many entries that were. Raises StoreUnavailable."""
    gone = 0
    async for batch in store.purge(selection):
        gone += len(batch)
        await index.forget(batch)
    if set(selection.given) <= {"tenant"}:  # nobody's words stay behind
        await index.clear(selection.tenant)
    return gone
