"""Stand-ins at the ports: an embedder and a source whose behaviour a test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from aiohttp import web

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search, Vector, Vectors
from gateway.retrieval.tokens import term_id, tokenize


class HashingEmbedder:
    """Words hashed into few dimensions: deterministic, close for texts with common terms."""

    def __init__(self, model: str = "hashing-64", dimensions: int = 64) -> None:
        self.model = model
        self.dimensions = dimensions
        self.texts: list[str] = []  # everything it was asked to embed
        self.error: Exception | None = None

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if self.error is not None:
            raise self.error
        self.texts.extend(texts)
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for token in tokenize(text):
                row[term_id(token) % self.dimensions] += 1
        norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        unit: Vectors = (rows / norms).astype(np.float32)
        return unit

    async def one(self, text: str) -> Vector:
        vector: Vector = (await self.embed([text], query=True))[0]
        return vector


def passage(document: str = "a.md", position: int = 0, text: str = "휴가는 15일", collection: str = "hr") -> Passage:
    return Passage(collection, document, "1-x", position, "제목", "제목 > 절", text)


class ScriptedSource:
    """Gives ``passages`` after ``delay_s``; None hangs; an exception is raised."""

    def __init__(self, name: str, passages: Sequence[Passage] | Exception, delay_s: float | None = 0.0) -> None:
        self.name = name
        self.passages = passages
        self.delay_s = delay_s
        self.asked = 0
        self.cancelled = 0

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        self.asked += 1
        try:
            await (asyncio.sleep(self.delay_s) if self.delay_s is not None else asyncio.Event().wait())
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.passages, Exception):
            raise self.passages
        return list(self.passages)[: search.k]


async def no_vector() -> Vector | None:
    return None


Reply = Callable[[web.Request, Any], Any]


class Service:
    """Answers every POST with ``reply``; keeps what it was sent."""

    def __init__(self) -> None:
        self.reply: Reply = lambda request, body: {}
        self.sent: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.sent.append((request.path_qs, dict(request.headers), body))
        answer = self.reply(request, body)
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
