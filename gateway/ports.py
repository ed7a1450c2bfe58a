"""Protocols for the parts that have more than one real implementation. Units and errors are part of the promise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gateway.chat import (
    AnswerEvent,
    CachedQuestion,
    CacheEntry,
    CacheKey,
    ChatRequest,
    Deployment,
    Json,
    Neighbor,
    Passage,
    RequestContext,
    Scope,
)
from gateway.clock import Deadline
from gateway.values import dataclass

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

    @property
    def generation(self) -> int:
        """Of the latest purge that is known here; every entry carries the one its request began in."""

    async def get(self, key: CacheKey) -> CacheEntry | None:
        """The live entry under ``key``; expired, foreign or damaged values are ``None``."""

    async def earlier(self, key: CacheKey) -> CacheEntry | None:
        """The latest entry that was put under ``key``, live or not: evicted or expired ones stay known for a while.

        What was purged or deleted never comes back.
        """

    async def put(self, entry: CacheEntry) -> None: ...

    async def delete(self, key: CacheKey) -> bool: ...


@runtime_checkable
class StoreAtHand(Protocol):
    """What an ``AnswerStore`` in this process can do besides."""

    def look(self, key: CacheKey) -> CacheEntry | None:
        """``get`` without waiting; the same object as long as nothing was put in its place."""


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


@dataclass(frozen=True, slots=True)
class Doubt:
    """Two questions that may be one: what a judge is asked."""

    asked: str
    kept: str  # the question that was asked before
    answer: str  # what it was answered with
    vetoed: bool  # a rule speaks against it, if not beyond doubt


@dataclass(frozen=True, slots=True)
class Ruling:
    same: bool  # the kept answer answers the question; False also where the judge was late, too dear or unsure
    margin: float | None = None  # log p(Yes) - log p(No); None where it is not known
    sure: bool = False  # a yes that would also hold where something speaks against it


class Judge(Protocol):
    @property
    def plenty(self) -> bool:
        """There is money for verdicts that may turn out not to be needed."""

    def earn(self, cost: float) -> None:
        """A question came that would cost so much to answer: a share of it may be spent on verdicts."""

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        """Whether the two ask the same. Never raises for what goes wrong with the model: that is a no."""

    def learn(self, margin: float, right: bool) -> None:
        """The question was answered afresh: ``right`` tells whether that agrees with the kept answer."""


class Source(Protocol):
    """One place that documents are searched in."""

    name: str

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        """At most ``search.k`` passages, best first. May raise anything: the caller then drops this source."""


class DocumentRecord(Protocol):
    """The state of the documents, for telling fresh answers from stale ones. Cheap: called per request."""

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections was added, changed, deleted or re-permissioned."""

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read each."""


FindingKind = Literal["flip", "contradiction", "wrong_hit", "verification"]
# flip: the same question and documents, other facts. contradiction: a judge or a comparison of rephrasings.
# wrong_hit: an audited hit was wrong. verification: samples in the background disagree.


@dataclass(frozen=True, slots=True)
class Finding:
    """Two answers to one question of which at most one can be right: for a person to look at."""

    kind: FindingKind
    tenant: str  # as a Scope has it
    model: str  # as callers name it
    question: str
    answer: str  # that is kept, or was given first
    other: str  # that contradicts it
    namespace: str = ""
    system: str = ""  # the caller's instructions
    documents: Mapping[str, str] = field(default_factory=dict)  # {document: version} that ``answer`` rests on
    citations: tuple[Passage, ...] = ()


class ReviewQueue(Protocol):
    """Takes what people should look at."""

    def offer(self, finding: Finding) -> None:
        """Returns at once and never raises; the same question again counts, and does not queue twice."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. Each guards one silence; the request's deadline caps them all."""

    connect_s: float = 5.0
    first_token_s: float = 60.0  # sending until the first content token; role chunks and keep-alives do not count
    idle_s: float = 60.0  # silence between two pieces after that
    total_s: float = 600.0


class Forwarded(Protocol):
    """A reply on its way through: status and headers are in, the body follows."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Json:
        """Lower-case names."""

    @property
    def retry_after_s(self) -> float | None: ...

    @property
    def content_seen(self) -> bool:
        """The first content token of a streamed answer went by."""

    def rest(self) -> bytes | None:
        """What is left of the body, where all of it has come; None: ``read``."""

    async def read(self) -> bytes:
        """What has come of the body since the last call; empty at its end. Raises UpstreamError."""

    def close(self) -> None:
        """Be done with it; a body that was not read to its end is given up."""


# What metrics call a request by its path, in OTel GenAI's words; "other" where it is none of these.
OPERATIONS = {"chat/completions": "chat", "completions": "text_completion", "embeddings": "embeddings"}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What ``forward`` sends."""

    method: str
    path: str  # below the version prefix: "embeddings", "files/abc"
    query: str
    model: str
    body: bytes | None
    json: Json | None  # ``body``, parsed, where it is a JSON object
    content_type: str
    streamed: bool  # the caller asked for a stream: first-token and idle timeouts apply


class Upstream(Protocol):
    """Calls deployments. Raises UpstreamError only."""

    def stream(
        self, deployment: Deployment, request: ChatRequest, ctx: RequestContext, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[AsyncIterator[AnswerEvent]]:
        """Open one streamed chat completion: deltas, then Closed. Leaving the block closes its connection."""

    async def forward(
        self, deployment: Deployment, sent: Outgoing, ctx: RequestContext, timeouts: Timeouts
    ) -> Forwarded:
        """Pass a request on as bytes; whoever gets the reply closes it. An error status is a reply, no exception."""
