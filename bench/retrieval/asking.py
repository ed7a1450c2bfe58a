"""A question's vector, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from gateway.ports import Embedder, Vector


async def embedded(embedder: Embedder | None, text: str) -> tuple[Vector | None, float]:
    began = time.perf_counter()
    rows = await embedder.embed([text], query=True) if embedder is not None else None
    return (rows[0] if rows is not None else None), time.perf_counter() - began


def given(vector: Vector | None) -> Callable[[], Awaitable[Vector | None]]:
    async def give() -> Vector | None:
        return vector

    return give
