"""The default source: a collection of the record, searched in this process by words and by meaning.

The index lives in memory and follows the record: before each search the record is asked whether anything changed (in
any process) and the change is applied first. What is found is read back from the record, so a passage of a deleted,
replaced or re-permissioned document cannot leave here even if it changed after the search began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.documents import may_see
from gateway.retrieval.fusion import blend
from gateway.retrieval.index import Hit, Index, Lexical
from gateway.retrieval.record import Record
from gateway.retrieval.tokens import terms

T = TypeVar("T")

CANDIDATES = 50  # taken from each leg into the fusion
_KEPT_BACK = 1 / 6  # of the time left, for handing over what the words alone find: on a busy machine the loop is late


@dataclass(frozen=True, slots=True)
class Legs:
    """What each leg found, best first. ``dense`` is None where there was no vector."""

    lexical: Lexical
    dense: list[Hit] | None


class EmbeddedSource:
    """Searches collection ``name`` of ``record``.

    ``model`` names the embedder whose vectors are used; None searches by words only. ``threads`` are shared with
    other sources and stay open when this one closes; None: two of its own.
    """

    def __init__(
        self,
        name: str,
        record: Record,
        *,
        model: str | None = None,
        candidates: int = CANDIDATES,
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        self.name = name
        self._record = record
        self._model = model
        self._candidates = candidates
        self._index = Index()
        self._syncing: asyncio.Task[None] | None = None
        self._compacting: asyncio.Task[None] | None = None
        self._shared = threads is not None
        self._threads = threads or ThreadPoolExecutor(2, thread_name_prefix=f"search-{name}")

    async def warm(self) -> None:
        """Load the index, so that the first question does not wait for it."""
        await self._follow()

    async def close(self) -> None:
        for task in (self._syncing, self._compacting):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if not self._shared:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        """At most ``search.k`` passages the caller may see, best first; by words alone where the vector is late."""
        return await self._searched(search, deadline, lambda legs: self._read(legs, search))

    async def legs(self, search: Search, deadline: Deadline) -> Legs:
        """What each leg finds by itself."""
        return await self._searched(search, deadline, lambda legs: legs)

    async def _searched(self, search: Search, deadline: Deadline, then: Callable[[Legs], T]) -> T:
        """Search by words while the vector is still on its way. What they find alone is at hand when that is late, or
        the turn of a thread that it takes."""
        vector = asyncio.ensure_future(search.vector()) if self._model is not None else None
        by = deadline.within((1 - _KEPT_BACK) * max(0.0, deadline.remaining_s()))
        try:
            await self._follow()
            index, depth = self._index, max(self._candidates, search.k)
            allowed = {needed: may_see(needed, search.groups) for needed in index.rights()}

            def by_words() -> tuple[Lexical, T]:
                found = index.lexical(terms(search.text), depth, allowed)
                return found, then(Legs(found, None))

            seen = self._record.cursor(self.name)
            lexical, alone = await self._run(by_words)
            with suppress(TimeoutError):
                async with asyncio.timeout(by.remaining_s()):
                    embedded = await _known(vector) if vector is not None else None
                    if embedded is not None:
                        return await self._run(lambda: then(Legs(lexical, index.dense(embedded, depth, allowed))))
            if self._record.cursor(self.name) == seen:
                return alone
            return await self._run(lambda: then(Legs(lexical, None)))
        finally:
            if vector is not None and not vector.done():
                vector.cancel()  # our wait for it only: the vector is shared, its owner shields it

    def _read(self, legs: Legs, search: Search) -> list[Passage]:
        """The fused best as they stand in the record now."""
        meaning = {hit.id: hit.score for hit in legs.dense} if legs.dense is not None else None
        scores = blend({hit.id: hit.score for hit in legs.lexical.hits}, meaning, share=legs.lexical.share)
        fused = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
        passages: list[Passage] = []
        for start in (0, search.k):  # the next as many, where some of the best went away since the index looked
            part = fused[start : start + search.k]
            if len(passages) < search.k:
                found = self._record.passages([id for id, _ in part], search.groups)
                passages += [replace(found[id], score=score) for id, score in part if id in found]
        passages.sort(key=lambda p: (-p.score, p.document, p.position))
        return passages[: search.k]

    async def _follow(self) -> None:
        """Return once the index shows at least every change committed before this call."""
        target = self._record.cursor(self.name)
        if target == 0:
            self._index = Index()  # no such collection, or dropped
        while self._index.touched < target:
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.create_task(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        def load() -> Index:
            return self._index.apply(self._record.changes(self.name, self._index.touched, self._model))

        self._index = await self._run(load)
        if self._compacting is None or self._compacting.done():
            self._compacting = asyncio.create_task(self._compact())

    async def _compact(self) -> None:
        before = self._index
        after = await self._run(before.compacted)
        if self._index is before:  # else a change came in between: the next sync tries again
            self._index = after

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def _known(vector: asyncio.Future[Vector | None]) -> Vector | None:
    """Its failure is not this source's: the words go on alone."""
    await asyncio.wait({vector})
    return None if vector.cancelled() or vector.exception() is not None else vector.result()
