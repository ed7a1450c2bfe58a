"""Collections that live elsewhere. Nobody tells us when they change, so nothing vouches for an old answer but finding
the very same passages again: their versions are hashes of what they say, and their epoch is unknown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.chat import UNRECORDED, Passage
from gateway.clock import Deadline
from gateway.ports import DocumentRecord, Search, Source


class UnrecordedSource:
    """An external source whose passages are versioned by their content. ``groups``: who may search; none: everybody."""

    def __init__(self, source: Source, groups: frozenset[str] = frozenset()) -> None:
        self.name = source.name
        self._source = source
        self._groups = groups

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        if self._groups and self._groups.isdisjoint(search.groups):
            return []
        return [replace(p, version=_version(p)) for p in await self._source.search(search, deadline)]


@dataclass(frozen=True, slots=True)
class PartialRecord:
    """The record, beside collections that it does not hold."""

    record: DocumentRecord
    external: frozenset[str]

    def epoch(self, collections: Sequence[str]) -> str:
        """That of the recorded ones; marked as unknown where an external one is among them."""
        held = [name for name in collections if name not in self.external]
        return (UNRECORDED if len(held) < len(collections) else "") + self.record.epoch(held)

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        return self.record.versions([name for name in documents if name.partition("/")[0] not in self.external])

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """False where an external document is among them: who may read it, only a search tells."""
        held = [name for name in documents if name.partition("/")[0] not in self.external]
        return len(held) == len(documents) and self.record.readable(held, groups)


def _version(passage: Passage) -> str:
    said = "\0".join((passage.version, passage.title, passage.section, passage.text))
    return UNRECORDED + hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:20]
