"""Loads uploaded files into their collections, one after the other, beside the requests.

What waits stands in the library, not in memory: whatever a crash interrupts is begun again at the next start, and a
document is stored whole or not at all. One file at a time: reading a large one takes a core for seconds, and the
questions need the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from contextlib import suppress

import structlog

from gateway.errors import GatewayError
from gateway.ports import Embedder
from gateway.retrieval.ingest.apart import cut_apart
from gateway.retrieval.ingest.ingest import embed_missing, put_bytes
from gateway.retrieval.ingest.parse import known
from gateway.retrieval.ingest.unreadable import UnreadableFile
from gateway.retrieval.record import Record
from gateway.retrieval.uploads.holdings import COMPLETED, FAILED, UPLOADED, Job, Store, StoredFile
from gateway.retrieval.uploads.library import Library

log = structlog.get_logger()

LOOK_AGAIN_S = 30.0  # for files that another process accepted and did not load
_STALE_PART_S = 3600.0


class Loader:
    """Takes files from the ``library`` to the ``record`` for as long as it runs."""

    def __init__(self, library: Library, record: Record, embedder: Embedder | None = None) -> None:
        self._library = library
        self._record = record
        self._embedder = embedder
        self._more = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Mend what a crash left, then load whatever waits."""
        await asyncio.to_thread(self.mend)
        self._work = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop; what was under way is begun again at the next start."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        await asyncio.to_thread(self._library.release, lambda pid: pid != os.getpid())

    def wake(self) -> None:
        """There is something to load."""
        self._more.set()

    async def remove_file(self, file: StoredFile) -> None:
        """Delete a file and its documents; what rests on them is void when this returns."""
        for collection in await asyncio.to_thread(self._library.remove_file, file):
            await asyncio.to_thread(self._record.delete, collection, [file.document])

    async def remove_store(self, store: Store) -> None:
        await asyncio.to_thread(self._library.remove_store, store)
        await asyncio.to_thread(self._record.drop, store.collection)

    def mend(self) -> None:
        """Documents whose file or store is gone go too; half uploads are swept up; claims of dead processes end."""
        self._library.release(_alive)
        for part in self._library.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _STALE_PART_S:
                    part.unlink()
        stores = {store.collection: store for store in self._library.all_stores()}
        for collection in self._record.collections():
            if collection in stores:
                held = self._library.attributes(stores[collection])
                uploaded = ((i.document, UPLOADED.match(i.document)) for i in self._record.documents(collection))
                orphans = [document for document, match in uploaded if match and match[1] not in held]
                if orphans:
                    self._record.delete(collection, orphans)
            elif re.fullmatch(r"vs_[0-9a-f]{24}", collection):
                self._record.drop(collection)

    async def _run(self) -> None:
        while True:
            self._more.clear()
            try:
                job = await asyncio.to_thread(self._library.claim)
                if job is not None:
                    await self._load(job)
                    continue
            except Exception:  # a full disk, a locked database: nothing of it may end the loading for good
                log.exception("loading uploaded files failed; trying again", seconds=LOOK_AGAIN_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._more.wait()

    async def _load(self, job: Job) -> None:
        document, groups = job.file.document, json.loads(job.file.groups)
        status, code, message, count = COMPLETED, "", "", 0
        try:
            data = await asyncio.to_thread(self._library.path(job.file.id).read_bytes)
            count = await put_bytes(
                self._record, job.collection, document, data, groups=groups, embedder=None, read=cut_apart
            )
            await self._embed(job.collection)
        except UnreadableFile as error:
            status, code, message = FAILED, "invalid_file" if known(document) else "unsupported_file", str(error)
        except FileNotFoundError:
            status, code, message = FAILED, "server_error", "the uploaded bytes are gone; upload the file again"
        except Exception:
            log.exception("an uploaded file could not be loaded", file=job.file.id)
            status, code, message = FAILED, "server_error", "the file could not be stored; try again later"
        kept = await asyncio.to_thread(self._library.finish, job, status, code=code, message=message, passages=count)
        if not kept:
            await asyncio.to_thread(self._record.delete, job.collection, [document])

    async def _embed(self, collection: str) -> None:
        """Vectors, where there is an embedder that answers: words find the document anyway."""
        if self._embedder is None:
            return
        try:
            await embed_missing(self._record, collection, self._embedder)
        except GatewayError as error:
            log.warning("passages are without vectors for now", collection=collection, error=str(error))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
