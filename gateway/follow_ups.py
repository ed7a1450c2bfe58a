"""Follow-ups on document models: rewritten to a question of their own beside the plain search, and searched again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from gateway.chat import ChatRequest, Evidence, RequestContext
from gateway.ports import Embedder, Vector
from gateway.routing.rewrite import Rewriter

Search = Callable[[str, Callable[[], Awaitable[Vector | None]]], Awaitable[Evidence]]  # text, its vector → evidence


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A follow-up as a question of its own, and what is found for it."""

    text: str
    vector: Vector | None  # None: no embedder, or it failed
    evidence: Evidence


class FollowUps:
    def __init__(self, rewriter: Rewriter, embedder: Embedder | None) -> None:
        self._rewriter = rewriter
        self._embedder = embedder

    async def rewritten(
        self, model: str, request: ChatRequest, ctx: RequestContext, search: Search
    ) -> Rewritten | None:
        """None where the model has nothing better to say. Raises UpstreamError, and what ``search`` raises."""
        text = await self._rewriter.rewrite(model, request, ctx)
        if text is None:
            return None
        embedding = asyncio.create_task(self._embed(text))
        try:
            evidence = await search(text, lambda: asyncio.shield(embedding))
            return Rewritten(text, await embedding, evidence)
        finally:
            embedding.cancel()
            await asyncio.gather(embedding, return_exceptions=True)

    async def _embed(self, text: str) -> Vector | None:
        if self._embedder is None:
            return None
        rows = await self._embedder.embed([text], query=True)
        return np.asarray(rows[0])
