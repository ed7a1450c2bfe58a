"""Puts questions with known answers into the cache, as if each had been asked: same keys, same evidence, same index."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gateway.cache.keys import Keys, cache_keys
from gateway.chat import Answer, CachedQuestion, CacheEntry, ChatRequest, Evidence, Tenant
from gateway.clock import Deadline
from gateway.errors import GatewayError, InvalidRequest
from gateway.ingress.auth import KeyHolder, KeyRing
from gateway.ingress.openai import parse_chat
from gateway.pipeline import Pipeline
from gateway.plan import Plan
from gateway.ports import AnswerStore, Embedder, QuestionIndex, Vector
from gateway.retrieval.question import search_text
from gateway.routing.router import ANY_MODEL

KNOWN = frozenset(
    {"model", "question", "answer", "documents", "tags", "ttl_s", "tenant", "namespace", "system", "body"}
)
BATCH = 64  # questions embedded at a time
TOOK_S = 30.0  # what a hit is taken to save: somebody thought the answer worth preparing
GATHER_S = 10.0
MAX_TTL_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Line:
    """One question and its answer, checked."""

    number: int
    request: ChatRequest
    answer: str
    tenant: str  # "" where there is only one
    namespace: str
    documents: tuple[str, ...]
    tags: tuple[str, ...]
    ttl_s: float | None


@dataclass(slots=True)
class Report:
    warmed: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)  # (line from 1, what is wrong)


@dataclass(slots=True)
class Warmer:
    pipeline: Pipeline
    keys: KeyRing
    store: AnswerStore
    index: QuestionIndex

    async def warm(self, jsonl: bytes) -> Report:
        """Keep what the lines say. A line that is wrong is reported and stops no other. Raises StoreUnavailable."""
        report = Report()
        lines: list[Line] = []
        for number, raw in enumerate(jsonl.splitlines(), start=1):
            if raw.strip():
                try:
                    lines.append(parse_line(number, raw))
                except InvalidRequest as error:
                    report.failed.append((number, str(error)))
        for start in range(0, len(lines), BATCH):
            await self._warm(lines[start : start + BATCH], report)
        report.failed.sort()
        return report

    async def _warm(self, lines: Sequence[Line], report: Report) -> None:
        texts = [search_text(line.request) for line in lines]
        found = await self._vectors(self.pipeline.finder.embedder, texts)
        same = self.pipeline.finder.wordings is self.pipeline.finder.embedder
        meanings = found if same else await self._vectors(self.pipeline.finder.wordings, texts)
        for line, vector, meaning in zip(lines, found, meanings, strict=True):
            try:
                plan = self._plan(line)
                for holder in self._holders(line.tenant):
                    await self._keep(line, plan, holder, vector, meaning)
                report.warmed += 1
            except GatewayError as error:
                report.failed.append((line.number, str(error)))

    @staticmethod
    async def _vectors(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Vector | None]:
        return list(await embedder.embed(texts, query=True)) if embedder is not None else [None] * len(texts)

    async def _keep(
        self, line: Line, plan: Plan, holder: KeyHolder, vector: Vector | None, meaning: Vector | None
    ) -> None:
        """``vector`` finds documents, by ``meaning`` other wordings find the answer."""
        keys = self._place(line, plan, holder)
        evidence = await self._evidence(line, plan, holder.tenant, vector)
        named = self.pipeline.record.versions(line.documents) if self.pipeline.record is not None else {}
        if missing := set(line.documents) - set(named):
            raise InvalidRequest(f"there is no document {min(missing)!r}; documents are named collection/document")
        ttl_s = min(line.ttl_s if line.ttl_s is not None else plan.limits.ttl_s, MAX_TTL_S)
        entry = CacheEntry(
            key=keys.exact,
            question=line.request.question,
            answer=answer_of(line.answer, plan.answers_with or line.request.requested_model),
            requested_model=line.request.requested_model,
            created_at=time.time(),
            ttl_s=ttl_s,
            evidence=evidence.ids,
            citations=evidence.passages,
            dependencies={**evidence.dependencies, **named},
            epoch=evidence.epoch,
            tags=line.tags,
            namespace=line.namespace,
            generation=keys.generation,
            took_s=TOOK_S,
        )
        await self.store.put(entry)
        if meaning is not None and keys.semantic:
            text = unicodedata.normalize("NFC", entry.question)
            await self.index.add(CachedQuestion(text, entry.key), meaning, ttl_s)

    def _place(self, line: Line, plan: Plan, holder: KeyHolder) -> Keys:
        sharing = replace(
            plan.sharing, key_id=holder.key_id, groups=holder.tenant.groups, namespace=line.namespace
        )  # as the pipeline completes it
        keys = cache_keys(self.pipeline.secret, holder.tenant, line.request, sharing)
        return replace(keys, generation=self.store.generation)

    async def _evidence(self, line: Line, plan: Plan, tenant: Tenant, vector: Vector | None) -> Evidence:
        """What the question would be answered from now: the answer is given as long as that stays so."""
        if plan.gatherer is None:
            return Evidence()

        async def known() -> Vector | None:
            return vector

        text, deadline = search_text(line.request), Deadline.after(GATHER_S)
        evidence = await plan.gatherer.gather(text, tenant.groups, plan.collections, known, deadline)
        if evidence.partial:
            raise InvalidRequest("a document source did not answer in time; warm this line again")
        return evidence

    def _plan(self, line: Line) -> Plan:
        name = line.request.requested_model
        plan = self.pipeline.plans.get(name) or self.pipeline.plans.get(ANY_MODEL)
        if plan is None:
            raise InvalidRequest(f"no model named {name!r} is configured")
        return plan

    def _holders(self, tenant: str) -> Sequence[KeyHolder]:
        """One holder for each view of the cache that the tenant's keys have."""
        holders = self.keys.holders
        tenants = sorted({holder.tenant.id for holder in holders})
        if not tenant and len(tenants) > 1:
            raise InvalidRequest(f"say for which tenant; there are {', '.join(tenants)}")
        found = [holder for holder in holders if tenant in ("", holder.tenant.id)]
        if not found:
            raise InvalidRequest(f"no API key belongs to tenant {tenant!r}; there are {', '.join(tenants)}")
        return found


def answer_of(text: str, model: str) -> Answer:
    message = {"role": "assistant", "content": text, "refusal": None}
    return Answer(({"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"},), model)


def parse_line(number: int, raw: bytes) -> Line:
    """Raises InvalidRequest that says what is wrong."""
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError as cause:
        raise InvalidRequest(f"is not JSON: {cause}") from cause
    if not isinstance(given, dict):
        raise InvalidRequest('must be an object such as {"model": …, "question": …, "answer": …}')
    if unknown := sorted(given.keys() - KNOWN):
        raise InvalidRequest(f"unknown key {unknown[0][:64]!r}; known are {', '.join(sorted(KNOWN))}")
    question, answer = text_of(given, "question", needed=True), text_of(given, "answer", needed=True)
    ttl_s = given.get("ttl_s")
    if ttl_s is not None and (isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or ttl_s <= 0):
        raise InvalidRequest("ttl_s must be a number of seconds above 0")
    body = given.get("body", {})
    if not isinstance(body, dict) or body.keys() & {"model", "messages", "stream"}:
        raise InvalidRequest('body must be an object of other request fields, such as {"temperature": 0}')
    system = text_of(given, "system")
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": question}]
    request = parse_chat({**body, "model": text_of(given, "model", needed=True), "messages": messages})
    return Line(
        number, request, answer, text_of(given, "tenant"), text_of(given, "namespace"), texts_of(given, "documents"),
        texts_of(given, "tags"), ttl_s,
    )  # fmt: skip


def text_of(given: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or (needed and not value.strip()):
        raise InvalidRequest(f"{name} must be a text{' that is not empty' if needed else ''}")
    return value


def texts_of(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise InvalidRequest(f"{name} must be a list of texts")
    return tuple(value)
