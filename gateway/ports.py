"""Protocols for the parts that have more than one real implementation. Units and errors are part of the promise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.chat import (
    AnswerEvent,
    CachedQuestion,
    CacheEntry,
    CacheKey,
    ChatRequest,
    Deployment,
    Neighbor,
    Passage,
    RequestContext,
    Scope,
)
from gateway.clock import Deadline

Vectors = NDArray[np.float32]  # (n, dimensions) float32, unit rows
Vector = NDArray[np.float32]  # (dimensions,) float32, unit length


class Embedder(Protocol):
    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """One unit row per text, in order. ``query`` tells questions from passages (E5 models need it).

        Raises UpstreamError when the embeddings endpoint fails.
        """


class AnswerStore(Protocol):
    """Keeps cache entries. Raises ``StoreUnavailable`` only; callers treat that as a miss."""

    async def get(self, key: CacheKey) -> CacheEntry | None:
        """The live entry under ``key``; expired, foreign or damaged values are ``None``."""

    async def put(self, entry: CacheEntry) -> None: ...

    async def delete(self, key: CacheKey) -> bool: ...


class QuestionIndex(Protocol):
    """Finds questions by meaning. Raises ``StoreUnavailable`` only."""

    async def add(self, question: CachedQuestion, vector: Vector, ttl_s: float) -> None: ...

    async def search(self, scope: Scope, vector: Vector, k: int) -> list[Neighbor]:
        """At most ``k`` neighbours inside ``scope``, most similar first."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a document source is asked."""

    text: str
    k: int
    groups: frozenset[str]  # the caller's access groups; a document with groups is seen only where they meet
    vector: Callable[[], Awaitable[Vector | None]]  # of ``text``, shared with the cache lookup; None when late or off


class Source(Protocol):
    """One place that documents are searched in."""

    name: str

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        """At most ``search.k`` passages, best first. May raise anything: the caller drops the source, not the request."""


class DocumentRecord(Protocol):
    """The state of the documents, for telling fresh answers from stale ones. Cheap: called per request."""

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections was added, changed, deleted or re-permissioned."""

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""


class Upstream(Protocol):
    def stream(
        self, deployment: Deployment, request: ChatRequest, ctx: RequestContext
    ) -> AbstractAsyncContextManager[AsyncIterator[AnswerEvent]]:
        """Open one streamed completion; leaving the block closes its connection. Raises UpstreamError."""
