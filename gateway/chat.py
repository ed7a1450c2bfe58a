"""The nouns: what is asked, by whom, and how an answer travels. Frozen values, no I/O, no wire shapes.

An answer is a stream of three kinds of event, whoever produced it (provider, cache, twin in flight):
``Opened`` first and once, any number of ``Delta``, ``Closed`` last. A stream without ``Closed`` was cut short.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

import orjson

from gateway.clock import Deadline, Timings
from gateway.values import dataclass

Json = Mapping[str, Any]

LONG = 4_000  # characters of a question from which only its beginning and its end are looked at


class ServedBy(StrEnum):
    CACHE = "cache"
    MODEL = "model"
    HEDGE = "hedge"  # the model, at a second deployment asked beside a slow first one
    DRAFT = "draft"  # a fast model's short answer that passed the gate, or was the best there was in time (labelled)
    STALE = "stale"  # a kept answer whose documents have changed since, labelled
    QUOTE = "quote"  # a passage instead of an answer, labelled
    NOTICE = "notice"  # the gateway's own sentence that the documents hold nothing on it, labelled
    REVIEWED = "reviewed"  # an answer that a person pinned or approved; labelled where it is to be reviewed again


class CacheOutcome(StrEnum):
    EXACT = "exact"
    SEMANTIC = "semantic"
    COALESCED = "coalesced"
    STALE = "stale"
    MISS = "miss"
    BYPASS = "bypass"


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks. ``groups`` are the document access groups the key may read."""

    id: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str  # all text parts joined by newlines; "" where there is none
    plain: bool  # True when text is all there is: no image, audio, tool call or unknown part
    raw: Json  # as it arrived


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question, free of the wire shape (OpenAI or Azure) it arrived in."""

    requested_model: str  # what the caller named; routing may choose another
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool  # the caller asked for a usage chunk at the end of the stream
    body: Json  # as it arrived: fields we do not know are forwarded, never dropped

    @property
    def question(self) -> str:
        """Text of the last message if a user wrote it, else "". Of a long one, which brings material along, its
        beginning and its end: all who look into a question have a bound then. The model is sent the whole."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "user":
            return ""
        return last.text if len(last.text) <= LONG else f"{last.text[: LONG // 2]}\n{last.text[-LONG // 2 :]}"

    @property
    def earlier(self) -> tuple[Message, ...]:
        """Conversation turns before the last message (system and developer messages are not turns)."""
        return tuple(m for m in self.messages[:-1] if m.role not in {"system", "developer"})


@dataclass(frozen=True, slots=True)
class CacheWishes:
    """What the caller allows of the cache for this request (headers, or the ``ocho`` body object)."""

    read: bool = True
    write: bool = True
    reviewed: bool = True  # answers that people reviewed may be given
    asked: bool = False  # True where the caller switched caching on for a model that has it off
    max_age_s: float | None = None
    only_if_cached: bool = False
    ttl_s: float | None = None
    namespace: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedDocuments:
    """Documents that a request names for itself, instead of those of its model."""

    names: tuple[str, ...]  # configured collections or ids of vector stores
    param: str  # where in the body they were named
    top_k: int | None = None  # passages wanted


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What travels with a request besides the question."""

    id: str
    tenant: Tenant
    deadline: Deadline
    wishes: CacheWishes
    timings: Timings
    trace_headers: Json = field(default_factory=dict)  # traceparent, tracestate: passed on as they came
    promise: Deadline | None = None  # when the caller is to have an answer; ``deadline`` stays the end of all work
    key_id: str = ""  # names the caller's API key without giving it away; "" where nobody needs one
    told: Json = field(default_factory=dict)  # headers of the reply that were known before there was one
    draft: bool = True  # False: the caller wants the model that was configured to answer, and no other
    documents: NamedDocuments | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as retrieval found it."""

    collection: str
    document: str  # stable id of the document inside its collection (its relative path)
    version: str  # of the document; another version voids every answer that saw this one
    position: int  # order of the passage inside the document
    title: str
    section: str  # headings path, " > " between levels; "" where there is none
    text: str
    score: float = 0.0

    @property
    def id(self) -> str:
        return f"{self.collection}/{self.document}#{self.position}"


UNRECORDED = "~"  # begins versions and epochs that no record vouches for: only finding the same again does


@dataclass(frozen=True, slots=True)
class Evidence:
    """The passages an answer may rest on, frozen and in canonical order (by collection, document, position)."""

    passages: tuple[Passage, ...] = ()
    epoch: str = ""  # state of the collections when the search began; changes with every ingest or delete
    partial: bool = False  # a source was late or failed: the passages are right but may not be all

    @property
    def dependencies(self) -> dict[str, str]:
        """``{collection/document: version}`` of every document with a passage here; an unrecorded one has an entry
        for each passage."""
        found: dict[str, str] = {}
        for p in self.passages:
            if not p.version.startswith(UNRECORDED):
                found[f"{p.collection}/{p.document}"] = p.version
            else:  # passages without positions may share an id
                found[p.id] = found[p.id] + p.version if p.id in found else p.version
        return found

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(p.id for p in self.passages)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider reported them."""

    prompt_tokens: int
    completion_tokens: int
    raw: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: every choice whole, in the shape of ``chat.completion`` choices."""

    choices: tuple[Json, ...]
    model: str  # response model: what the provider reported
    usage: Usage | None = None
    extras: Json = field(default_factory=dict)  # system_fingerprint, service_tier and whatever else came along

    @property
    def text(self) -> str:
        content = self.choices[0].get("message", {}).get("content") if self.choices else None
        return content if isinstance(content, str) else ""

    @property
    def finish_reason(self) -> str | None:
        return self.choices[0].get("finish_reason") if self.choices else None


@dataclass(frozen=True, slots=True)
class Opened:
    """First event: decides status and headers."""

    served_by: ServedBy
    cache: CacheOutcome
    model: str  # response model if known by now, else the requested one
    deployment: str = ""
    attempts: int = 0
    age_s: float | None = None
    similarity: float | None = None
    entry: str = ""  # purge handle of the cache entry
    citations: tuple[Passage, ...] = ()
    partial: bool = False  # some document source did not answer in time
    labelled: bool = False  # the text begins by saying that it is less than a full answer
    stages: Mapping[str, tuple[float, str]] = field(default_factory=dict)  # seconds and outcome per stage so far


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer as the provider cut it.

    ``raw`` is the provider's own chunk, byte for byte; a streaming caller gets exactly that.
    """

    text: str
    chunk: Json  # ``raw``, parsed
    raw: bytes
    logprob: float | None = None  # the lowest of its tokens, where the gateway asked for them and the caller did not

    @classmethod
    def of(cls, chunk: Json) -> Delta:
        """A delta for a chunk made here (replay), not received."""
        choices = chunk.get("choices") or ()
        text = (choices[0].get("delta") or {}).get("content") if choices else ""
        return cls(text if isinstance(text, str) else "", chunk, orjson.dumps(chunk))


def has_content(chunk: Json) -> bool:
    """True for the first chunk that gives the caller something: text, a tool call, a refusal, or an end.

    Role-only chunks, prompt filter results and keep-alives do not count: they prove nothing about the model.
    """
    for choice in chunk.get("choices") or ():
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta") or {}
        if any(value for name, value in delta.items() if name != "role"):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Closed:
    """Last event. ``answer`` is the whole of what the deltas added up to."""

    answer: Answer
    stages: Mapping[str, tuple[float, str]] = field(default_factory=dict)


AnswerEvent = Opened | Delta | Closed
Send = Callable[[AnswerEvent], None]
Produce = Callable[[Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Fence of every cache lookup: two questions are compared only inside one scope."""

    tenant_id: str
    digest: str  # hex; hash of all that must agree exactly, under the server's secret


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Where one answer is kept: the request's own digest inside its scope."""

    scope: Scope
    digest: str  # hex

    @property
    def handle(self) -> str:
        """Names the entry to its administrator, and gives nothing away."""
        return f"{self.scope.digest}.{self.digest}"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An answer that is kept, with what decides how long it stays true."""

    key: CacheKey
    question: str
    answer: Answer
    requested_model: str
    created_at: float  # wall seconds
    ttl_s: float
    evidence: tuple[str, ...] = ()  # passage ids that were in the prompt
    citations: tuple[Passage, ...] = ()
    dependencies: Mapping[str, str] = field(default_factory=dict)  # {document: version}
    epoch: str = ""  # collections' state when the evidence was frozen
    tags: tuple[str, ...] = ()
    namespace: str = ""
    generation: int = 0  # of the store when the request began; a purge since then voids the entry
    took_s: float = 0.0  # seconds to make the answer: what every hit saves
    alias_of: str = ""  # digest of the canonical entry that answers this wording; "" where it is one itself

    @property
    def canonical_key(self) -> CacheKey:
        """Of the entry whose answer this wording gets: its own, or the one it is an alias of."""
        return CacheKey(self.key.scope, self.alias_of) if self.alias_of else self.key

    def age_s(self, now: float) -> float:
        return max(0.0, now - self.created_at)


@dataclass(frozen=True, slots=True)
class CacheHit:
    entry: CacheEntry
    outcome: CacheOutcome
    similarity: float | None = None  # of the question that was found, where it was found by meaning
    served_by: ServedBy = ServedBy.CACHE
    labelled: bool = False  # the text begins by saying that it may be outdated


@dataclass(frozen=True, slots=True)
class CachedQuestion:
    """A question that was asked before and the answer it got; several questions may share one answer."""

    text: str
    key: CacheKey  # of the entry that answers it


@dataclass(frozen=True, slots=True)
class Neighbor:
    question: CachedQuestion
    similarity: float  # cosine in [-1, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """One addressable model endpoint of a provider."""

    name: str
    kind: str  # "openai" or "azure"
    base_url: str
    model: str  # deployment model; "" sends the requested name on
    api_key: str = field(repr=False, default="")
    api_version: str = ""
    stream_usage: bool = True  # the server understands stream_options.include_usage
