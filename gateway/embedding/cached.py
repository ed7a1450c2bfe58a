"""Each question is embedded once: kept by normalised text, shared while under way, sent on in small batches."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from gateway.errors import GatewayError, UpstreamError
from gateway.ports import Embedder, Vector, Vectors


class CachedEmbedder:
    """Embedder in front of another. Passages go straight through: they are embedded once anyway.

    A question in a full queue raises UpstreamError at once: better no semantic lookup than a late one.
    """

    def __init__(
        self, inner: Embedder, *, max_entries: int = 10_000, max_waiting: int = 256, batch_size: int = 8
    ) -> None:
        self.model = inner.model
        self.dimensions = inner.dimensions
        self._inner = inner
        self._max_entries = max_entries
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._waiting: OrderedDict[str, asyncio.Future[Vector]] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[Vector]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if not query:
            return await self._inner.embed(texts, query=False)
        rows = [await self._one(normalised(text)) for text in texts] if len(texts) == 1 else await self._many(texts)
        return np.stack(rows) if rows else np.zeros((0, self.dimensions), np.float32)

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for future in (*self._waiting.values(), *self._under_way.values()):
            future.cancel()

    async def _many(self, texts: Sequence[str]) -> list[Vector]:
        return list(await asyncio.gather(*(self._one(normalised(text)) for text in texts)))

    async def _one(self, text: str) -> Vector:
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
            return kept
        future = self._under_way.get(text) or self._waiting.get(text)
        if future is None:
            if len(self._waiting) >= self._max_waiting:
                raise UpstreamError("the embedder is busy")
            future = self._waiting[text] = asyncio.get_running_loop().create_future()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await asyncio.shield(future)  # others may wait for the same text

    async def _work(self) -> None:
        """Runs while something waits."""
        while self._waiting:
            batch = [self._waiting.popitem(last=False) for _ in range(min(self._batch_size, len(self._waiting)))]
            self._under_way = dict(batch)
            try:
                rows = await self._inner.embed([text for text, _ in batch], query=True)
            except Exception as error:
                cause = error if isinstance(error, GatewayError) else UpstreamError("the embedder failed")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(cause)
                        future.exception()  # the asker may be gone by now
            else:
                for (text, future), row in zip(batch, rows, strict=True):
                    self._keep(text, row)
                    if not future.done():
                        future.set_result(row)
            finally:
                self._under_way = {}

    def _keep(self, text: str, row: Vector) -> None:
        self._kept[text] = row
        if len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)


def normalised(text: str) -> str:
    """NFC with single spaces: what looks the same is embedded once, and the same."""
    return " ".join(unicodedata.normalize("NFC", text).split())
