"""Reviewed answers: where they are kept, who serves them, and what reviewers use."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from gateway.answers import lasting
from gateway.answers.book import Book, NoBook
from gateway.answers.following import FOLLOW_S, Following
from gateway.answers.queue import BookedFindings
from gateway.answers.redis_book import RedisBook
from gateway.answers.reviewing import Reviewer
from gateway.answers.serving import ReviewedAnswers
from gateway.answers.sqlite_book import SqliteBook
from gateway.answers.verifying import Verification, Verifier
from gateway.cache.decision import Rule
from gateway.chat import Evidence
from gateway.clock import Deadline
from gateway.errors import InvalidRequest
from gateway.ingress.auth import KeyRing
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.ports import DocumentRecord, Embedder, ReviewQueue, Vector
from gateway.routing.router import ANY_MODEL, Router
from gateway.routing.spend import Price
from gateway.settings import Settings
from gateway.stages import ended
from gateway.wiring.cache import Stores, redis_link, uses_redis

log = structlog.get_logger()
GATHER_S = 10.0


def opened_book(settings: Settings, secret: bytes, stack: AsyncExitStack) -> Book:
    """In Redis where the cache is, else in a file beside the document record. Never raises."""
    if uses_redis(settings):
        link = redis_link(settings)
        stack.push_async_callback(link.close)
        if settings.auth.admin_key is not None:  # else nobody reviews
            stack.push_async_callback(ended, asyncio.create_task(lasting.warn(link)))
        return RedisBook(link, secret)
    path = Path(settings.data_dir) / "answers.db"
    try:
        book = SqliteBook(path)
    except (OSError, sqlite3.Error) as error:
        log.warning("no reviewed answers: their book cannot be opened", path=str(path), error=str(error))
        return NoBook(f"the book of reviewed answers, {path}, cannot be opened: {error}")
    stack.callback(book.close)
    return book


async def opened_answers(
    settings: Settings,
    book: Book,
    record: DocumentRecord | None,
    embedder: Embedder | None,
    rule: Rule,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> ReviewedAnswers:
    following = Following(book, metrics, documents=record, embedder=embedder)
    await following.start()
    stack.push_async_callback(following.close)
    return ReviewedAnswers(following, metrics, rule=rule, on_change=settings.answers.on_change)


def opened_findings(
    settings: Settings, book: Book, answers: ReviewedAnswers, metrics: Metrics, stack: AsyncExitStack
) -> BookedFindings | None:
    """None where each key has its own answers: what one person asked is nobody else's to review."""
    if settings.cache.semantic.share == "key":
        return None
    findings = BookedFindings(book, answers.following, metrics)
    stack.push_async_callback(findings.close)
    return findings


def opened_verifier(
    settings: Settings, router: Router, findings: ReviewQueue | None, metrics: Metrics, stack: AsyncExitStack
) -> Verifier | None:
    verify = settings.answers.verify
    if verify is None or findings is None:
        return None
    model = next(m for m in settings.models if m.name == verify.model)
    price = Price(model.price.input, model.price.output) if model.price is not None else Price(1.0, 1.0)
    plan = Verification(
        verify.model, verify.samples, verify.after_hits, verify.max_tokens, verify.max_spend, price, verify.timeout_s,
        verify.by,
    )  # fmt: skip
    verifier = Verifier(plan, router, findings, metrics)
    stack.push_async_callback(verifier.close)
    return verifier


def reviewer_of(settings: Settings, book: Book, pipeline: Pipeline, keys: KeyRing, stores: Stores) -> Reviewer:
    tenants = {holder.tenant.id for holder in keys.holders}

    async def find(model: str, question: str, tenant: str) -> tuple[tuple[str, ...], Evidence]:
        plan = pipeline.plans.get(model) or pipeline.plans.get(ANY_MODEL)
        if plan is None:
            known = ", ".join(sorted(pipeline.plans))
            raise InvalidRequest(f"no model named {model!r} is configured; there are {known}", param="model")
        if plan.gatherer is None:
            return (), Evidence()
        rights = [h.tenant.groups for h in keys.holders if tenant in ("*", h.tenant.id)]

        async def vector() -> Vector | None:
            return (
                (await pipeline.finder.embedder.embed([question], query=True))[0]
                if pipeline.finder.embedder is not None
                else None
            )

        evidence = await plan.gatherer.gather(
            question, frozenset().union(*rights), plan.collections, vector, Deadline.after(GATHER_S)
        )
        if evidence.partial:
            raise InvalidRequest("a document source did not answer in time; try again")
        return plan.collections, evidence

    alone = not uses_redis(settings) and settings.server.workers == 1
    return Reviewer(
        book, pipeline.reviewed.following, find, tenants,
        shared=settings.cache.semantic.share == "all",
        settle_s=0.0 if alone else 2 * FOLLOW_S,
        entry=stores.answers.find,
    )  # fmt: skip
