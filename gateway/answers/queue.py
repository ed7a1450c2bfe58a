"""What the gateway itself puts up for review: one record per question, however often it is found."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import structlog

from gateway.answers.book import Book
from gateway.answers.following import GATEWAY, Following
from gateway.answers.reviewed import Reviewed, Status, change_of, id_of, spoken
from gateway.clock import WallClock
from gateway.errors import GatewayError, StoreUnavailable
from gateway.metrics import Metrics
from gateway.ports import Finding
from gateway.stages import ended

log = structlog.get_logger()
MOST_WAITING = 100  # findings that are on their way into the book
MOST_AWAITING = 1_000  # records that wait for a person; who has so many needs no more
MAX_QUESTION = 400  # characters; as for every reviewed question


class BookedFindings:
    """A ReviewQueue that writes into the book, off the request's path.

    What a person has decided already stays decided: a finding about it is only counted.
    """

    def __init__(self, book: Book, answers: Following, metrics: Metrics, *, wall_clock: WallClock = time.time) -> None:
        self._book = book
        self._answers = answers
        self._metrics = metrics
        self._now = wall_clock
        self._queue: asyncio.Queue[Finding] = asyncio.Queue(MOST_WAITING)
        self._worker: asyncio.Task[None] | None = None

    def offer(self, finding: Finding) -> None:
        self._metrics.found(finding.kind)
        if not finding.question.strip() or len(finding.question) > MAX_QUESTION or finding.answer == finding.other:
            return
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(finding)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def drain(self) -> None:
        """Wait until everything offered so far is in the book or given up."""
        await self._queue.join()

    async def close(self, within_s: float = 2.0) -> None:
        """Drain, then stop. What is not in the book in time is found again when it matters."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.drain()
        if self._worker is not None:
            await ended(self._worker)

    async def _work(self) -> None:
        while True:
            finding = await self._queue.get()
            try:
                await self._put(finding)
            except StoreUnavailable as error:
                log.info("finding not put up for review", kind=finding.kind, error=str(error))
            except GatewayError:
                log.info("finding not put up for review: its record was changed meanwhile", kind=finding.kind)
            except Exception:
                log.warning("finding not put up for review", kind=finding.kind, exc_info=True)
            finally:
                self._queue.task_done()

    async def _put(self, finding: Finding) -> None:
        id = id_of(finding.tenant, finding.model, finding.namespace, finding.system, finding.question)
        before = await self._book.get(finding.tenant, id)
        if before is not None and before.status is not Status.AWAITING:
            return
        if before is None and sum(a.status is Status.AWAITING for a in self._answers.all) >= MOST_AWAITING:
            return
        now = self._now()
        first = before or Reviewed(
            id=id, tenant=finding.tenant, model=finding.model, question=finding.question.strip(),
            status=Status.AWAITING, texts={}, namespace=finding.namespace, system=finding.system, created_at=now,
        )  # fmt: skip
        after = replace(
            first,
            texts={spoken(finding.question): finding.answer}, other=finding.other, documents=finding.documents,
            citations=finding.citations,
            collections=tuple(sorted({name.partition("/")[0] for name in finding.documents})),
            found=finding.kind, seen=first.seen + 1, author=GATEWAY, updated_at=now,
        )  # fmt: skip
        await self._book.save(after, change_of(before, after, "found"))
        await self._answers.refresh()
