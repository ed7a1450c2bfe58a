"""Reviewed answers in memory: kept up with their book, which other gateways write as well, and with the documents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import structlog

from gateway.answers.book import Book
from gateway.answers.reviewed import Reviewed, Status, change_of, unchanged
from gateway.answers.shelf import Shelf, shelve, waiting
from gateway.chat import UNRECORDED
from gateway.clock import WallClock
from gateway.errors import GatewayError, StoreUnavailable
from gateway.metrics import Metrics
from gateway.ports import Embedder, Vector
from gateway.stages import ended

log = structlog.get_logger()

FOLLOW_S = 0.25  # between two looks at the book and at the documents
EMBED_S = 10.0
BATCH = 32  # wordings embedded at a time
GATEWAY = "ocho"  # author of what the gateway does by itself


class Documents(Protocol):
    """The state of the documents. Cheap: called per request."""

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections does."""

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read them."""


class Following:
    """``documents`` None where there are none at all. Without ``embedder``, intents are found by their words alone."""

    def __init__(
        self,
        book: Book,
        metrics: Metrics,
        *,
        documents: Documents | None = None,
        embedder: Embedder | None = None,
        wall_clock: WallClock = time.time,
    ) -> None:
        self.shelf = Shelf()
        self._book = book
        self._metrics = metrics
        self._documents = documents
        self._embedder = embedder
        self._now = wall_clock
        self._all: list[Reviewed] = []
        self._vectors: dict[str, Vector] = {}
        self._embedded: Shelf | None = None  # the latest whose wordings all have vectors
        self._head = -1
        self._checked = ""  # state of the documents when the answers were last held against them
        self._task: asyncio.Task[None] | None = None
        self._refreshing, self._embedding = asyncio.Lock(), asyncio.Lock()

    async def start(self) -> None:
        """Read the book once, then keep up with it until ``close``."""
        await self.refresh()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            await ended(self._task)

    async def refresh(self) -> None:
        """Bring the shelf up to date with the book and the documents; a book that is away leaves it as it is."""
        with suppress(StoreUnavailable):
            async with self._refreshing:
                await self._read()
                if await self._flag():
                    await self._read()

    async def embed(self) -> None:
        """Vectors for wordings that have none yet; where the embedder fails they are found by their words alone."""
        async with self._embedding:
            if await self._embed():
                self._place()

    async def _read(self) -> None:
        head = await self._book.head()
        if head != self._head:
            self._all = await self._book.all()
            self._place()
            self._head = head

    @property
    def revision(self) -> int:
        return self._head

    @property
    def all(self) -> list[Reviewed]:
        """Every record, as of the last refresh."""
        return self._all

    async def _follow(self) -> None:
        while True:
            try:
                await self.embed()
                await self.refresh()
            except Exception:
                log.warning("reviewed answers not refreshed", exc_info=True)
            await asyncio.sleep(FOLLOW_S)

    def _place(self) -> None:
        self.shelf = shelve(self._all, self._vectors)
        self._metrics.answers({str(status): count for status, count in waiting(self._all).items()})

    async def _embed(self) -> bool:
        """True where there are new vectors."""
        if self._embedder is None or self._embedded is self.shelf:
            return False
        shelf = self.shelf
        wanted = {text for answer in self.shelf.answers for text in answer.questions}
        for gone in self._vectors.keys() - wanted:
            del self._vectors[gone]
        missing = sorted(wanted - self._vectors.keys())
        for start in range(0, len(missing), BATCH):
            texts = missing[start : start + BATCH]
            try:
                async with asyncio.timeout(EMBED_S):
                    vectors = await self._embedder.embed([text.strip() for text in texts], query=True)
            except (GatewayError, TimeoutError) as error:
                log.info("wordings of reviewed answers not embedded yet", count=len(missing) - start, error=str(error))
                return start > 0
            self._vectors.update(zip(texts, vectors, strict=True))
        self._embedded = shelf
        return bool(missing)

    async def _flag(self) -> bool:
        """Put answers whose documents changed up for review; True where there were any. Raises StoreUnavailable."""
        held = [a for a in self._all if a.status in {Status.APPROVED, Status.PINNED} and a.documents]
        if self._documents is None or not held:
            return False
        collections = sorted({name.partition("/")[0] for answer in held for name in answer.documents})
        state = f"{self._head}|{self._documents.epoch(collections)}"
        if state == self._checked:
            return False
        found = False
        for answer in held:
            if self.changed(answer):
                flagged = replace(
                    answer, status=Status.NEEDS_REVIEW, found="document changed", author=GATEWAY, updated_at=self._now()
                )
                found = True
                with suppress(GatewayError):  # another gateway was first: the next look at the book shows it
                    await self._book.save(flagged, change_of(answer, flagged, "flag"))
                    log.info("reviewed answer needs review", answer=answer.id, tenant=answer.tenant)
        self._checked = state
        return found

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each document that the record knows."""
        return self._documents.versions(documents) if self._documents is not None and documents else {}

    def changed(self, answer: Reviewed) -> bool:
        """Whether a document is no longer what it was when the answer was reviewed."""
        recorded = recorded_of(answer.documents)
        return not unchanged(recorded, self.versions(tuple(recorded)))

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read them."""
        return not documents or (self._documents is not None and self._documents.readable(documents, groups))


def recorded_of(documents: Mapping[str, str]) -> dict[str, str]:
    """Those of which the record keeps versions."""
    return {name: version for name, version in documents.items() if not version.startswith(UNRECORDED)}
