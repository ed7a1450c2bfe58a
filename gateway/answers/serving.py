"""Gives reviewed answers to callers: before the cache, instead of what the cache found, and against what was rejected.

Nothing here asks the book for a request: the shelf in memory follows it, several times a second and after every change
made through this process. Whether the documents of an answer changed, and whether the caller may read them, is asked
of the record for every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import structlog

from gateway.answers.aliases import Aliases
from gateway.answers.book import Book
from gateway.answers.guarding import Guard, says
from gateway.answers.reviewed import SERVED, Rejected, Reviewed, Status, change_of, spoken, unchanged
from gateway.answers.shelf import Board, Shelf, meant, shelve, waiting
from gateway.cache.decision import Rule, StrictRule
from gateway.cache.grey import grey
from gateway.cache.keys import Keys
from gateway.cache.semantic import Doubtful
from gateway.chat import (
    UNRECORDED,
    Answer,
    CacheEntry,
    CacheHit,
    CacheKey,
    CacheOutcome,
    ChatRequest,
    Evidence,
    Neighbor,
    RequestContext,
    Scope,
    Send,
    ServedBy,
)
from gateway.clock import WallClock
from gateway.errors import GatewayError, StoreUnavailable
from gateway.metrics import Metrics
from gateway.ports import Embedder, Vector
from gateway.stages import ended

log = structlog.get_logger()

FOLLOW_S = 0.25  # between two looks at the book and at the documents
EMBED_S = 10.0
BATCH = 32  # wordings embedded at a time
GATEWAY = "ocho"  # author of what the gateway does by itself
OnChange = Literal["note", "withdraw"]

NOTES = {
    "ko": "※ 담당자가 검토한 답변이지만 그 뒤에 근거 문서가 바뀌어 다시 확인 중입니다. 지금은 다를 수 있습니다.\n\n",
    "en": "Note: this reviewed answer is being checked again: its documents have changed and it may differ now.\n\n",
}


class Documents(Protocol):
    """The state of the documents. Cheap: called per request."""

    def epoch(self, collections: Sequence[str]) -> str:
        """Changes whenever any document of the collections does."""

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each ``collection/document`` that exists."""

    def readable(self, documents: Sequence[str], groups: frozenset[str]) -> bool:
        """Whether all of them exist and a caller in ``groups`` may read them."""


@dataclass(slots=True)
class Case:
    """One request to a model that has reviewed answers. Lives as long as the request."""

    board: Board
    keys: Keys
    question: str
    system: str
    groups: frozenset[str]
    collections: frozenset[str]
    named: bool  # the request named its documents for itself
    intent: Reviewed | None = None  # what the question was recognised as
    near: Sequence[Neighbor] = ()  # wordings that it was not recognised as, but might be

    @property
    def language(self) -> str:
        return spoken(self.question)


class ReviewedAnswers:
    """``documents`` None where there are none at all. Without ``embedder``, intents are found by their words alone."""

    def __init__(
        self,
        book: Book,
        metrics: Metrics,
        *,
        documents: Documents | None = None,
        embedder: Embedder | None = None,
        rule: Rule | None = None,
        on_change: OnChange = "withdraw",
        wall_clock: WallClock = time.time,
    ) -> None:
        self._book = book
        self._metrics = metrics
        self._documents = documents
        self._embedder = embedder
        self._rule = rule or StrictRule()
        self._on_change = on_change
        self._now = wall_clock
        self._all: list[Reviewed] = []
        self._shelf = Shelf()
        self._aliases = Aliases()
        self._vectors: dict[str, Vector] = {}
        self._embedded: Shelf | None = None  # the latest whose wordings all have vectors
        self._head = -1
        self._checked = ""  # state of the documents when the answers were last held against them
        self._following: asyncio.Task[None] | None = None
        self._refreshing, self._embedding = asyncio.Lock(), asyncio.Lock()

    # following the book and the documents

    async def start(self) -> None:
        """Read the book once, then keep up with it until ``close``."""
        await self.refresh()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._following is not None:
            await ended(self._following)

    async def refresh(self) -> None:
        """Bring the shelf up to date with the book and the documents; a book that is away leaves it as it is."""
        with suppress(StoreUnavailable):
            async with self._refreshing:
                await self._read()
                if await self._flag():
                    await self._read()

    async def embed(self) -> None:
        """Vectors for wordings that have none yet; where the embedder fails they are found by their words alone."""
        async with self._embedding:
            if await self._embed():
                self._place()

    async def _read(self) -> None:
        head = await self._book.head()
        if head != self._head:
            self._all = await self._book.all()
            self._place()
            self._head = head

    @property
    def revision(self) -> int:
        return self._head

    @property
    def all(self) -> list[Reviewed]:
        """Every record, as of the last refresh."""
        return self._all

    async def _follow(self) -> None:
        while True:
            try:
                await self.embed()
                await self.refresh()
            except Exception:
                log.warning("reviewed answers not refreshed", exc_info=True)
            await asyncio.sleep(FOLLOW_S)

    def _place(self) -> None:
        self._shelf = shelve(self._all, self._vectors)
        self._metrics.answers({str(status): count for status, count in waiting(self._all).items()})

    async def _embed(self) -> bool:
        """True where there are new vectors."""
        if self._embedder is None or self._embedded is self._shelf:
            return False
        shelf = self._shelf
        wanted = {text for answer in self._shelf.answers for text in answer.questions}
        for gone in self._vectors.keys() - wanted:
            del self._vectors[gone]
        missing = sorted(wanted - self._vectors.keys())
        for start in range(0, len(missing), BATCH):
            texts = missing[start : start + BATCH]
            try:
                async with asyncio.timeout(EMBED_S):
                    vectors = await self._embedder.embed([text.strip() for text in texts], query=True)
            except (GatewayError, TimeoutError) as error:
                log.info("wordings of reviewed answers not embedded yet", count=len(missing) - start, error=str(error))
                return start > 0
            self._vectors.update(zip(texts, vectors, strict=True))
        self._embedded = shelf
        return bool(missing)

    async def _flag(self) -> bool:
        """Put answers whose documents changed up for review; True where there were any. Raises StoreUnavailable."""
        held = [a for a in self._all if a.status in {Status.APPROVED, Status.PINNED} and a.documents]
        if self._documents is None or not held:
            return False
        collections = sorted({name.partition("/")[0] for answer in held for name in answer.documents})
        state = f"{self._head}|{self._documents.epoch(collections)}"
        if state == self._checked:
            return False
        found = False
        for answer in held:
            if self.changed(answer):
                flagged = replace(
                    answer, status=Status.NEEDS_REVIEW, found="document changed", author=GATEWAY, updated_at=self._now()
                )
                found = True
                with suppress(GatewayError):  # another gateway was first: the next look at the book shows it
                    await self._book.save(flagged, change_of(answer, flagged, "flag"))
                    log.info("reviewed answer needs review", answer=answer.id, tenant=answer.tenant)
        self._checked = state
        return found

    def versions(self, documents: Sequence[str]) -> Mapping[str, str]:
        """Current version of each document that the record knows."""
        return self._documents.versions(documents) if self._documents is not None and documents else {}

    def changed(self, answer: Reviewed) -> bool:
        """Whether a document is no longer what it was when the answer was reviewed."""
        recorded = recorded_of(answer.documents)
        return not unchanged(recorded, self.versions(tuple(recorded)))

    # one request

    def covers(self, tenant: str, model: str) -> bool:
        """Whether anything was reviewed for them; "*" stands for tenants that share all."""
        return (tenant, model) in self._shelf.covered or ("*", model) in self._shelf.covered

    def case(self, ctx: RequestContext, request: ChatRequest, keys: Keys, collections: Sequence[str]) -> Case | None:
        """None where no reviewed answer can bear on the request.

        It bears on questions that stand alone: no earlier turns, nothing but text, no tools or formats asked for.
        ``x-ocho-cache: off`` goes past it; ``no-cache`` does not: what is given is checked against its documents.
        """
        place = (keys.scope.tenant_id, request.requested_model, ctx.wishes.namespace)
        board = self._shelf.boards.get(place)
        if board is None or not ctx.wishes.reviewed or not keys.semantic or request.earlier:
            return None
        if request.body.get("response_format") not in (None, {"type": "text"}):
            return None
        system = "\n".join(m.text for m in request.messages if m.role in {"system", "developer"})
        return Case(
            board, keys, request.question, system, ctx.tenant.groups, frozenset(collections), ctx.documents is not None
        )

    def exact(self, case: Case | None) -> CacheHit | None:
        """The reviewed answer to this very wording."""
        if case is None:
            return None
        case.intent = case.board.worded(case.question, case.system)
        how = "exact"
        if case.intent is None:
            case.intent, how = self._aliases.of(case.board, case.keys.scope, case.question), "alias"
        if case.intent is None or _external(case.intent):
            return None
        return self._given(case, case.intent, how, None)

    async def by_meaning(
        self, case: Case | None, vector: Callable[[], Awaitable[Vector | None]], evidence: Awaitable[Evidence] | None
    ) -> CacheHit | None:
        """The reviewed answer to another wording, by the cache's rule; or one that rests on documents kept elsewhere,
        where the very same passages were found for this caller just now."""
        if case is None:
            return None
        how, similarity = "exact", None
        if case.intent is None:
            embedded = await vector()
            if embedded is None:
                return None
            near = case.board.near(case.system, embedded, self._rule.candidates, case.keys.scope)
            found = meant(case.question, near, self._rule)
            if found is None:
                case.near = near
                return None
            case.intent, similarity = case.board.by_id[found.question.key.digest], found.similarity
            how = "semantic"
        if _external(case.intent):
            fresh = (await evidence).dependencies if evidence is not None else {}
            if not unchanged(_outside(case.intent.documents), fresh):
                return None
        return self._given(case, case.intent, how, similarity)

    def allowed(self, case: Case | None, hit: CacheHit | None) -> CacheHit | None:
        """What may be given for what the cache found: the reviewed answer where the cache took the question for one
        that has it, nothing where its answer was rejected, else the hit."""
        if case is None or hit is None:
            return hit
        intent = case.board.worded(hit.entry.question, case.system)
        if intent is not None and case.intent is None:
            case.intent = intent
            given = self._given(case, intent, "alias", hit.similarity) if not _external(intent) else None
            if given is not None:
                return given
        return None if self._rejected(case, intent, hit.entry) else hit

    def doubts(self, case: Case | None) -> tuple[Doubtful, ...]:
        """Reviewed answers to questions that this one may be in other words: for a judge, where the rule cannot
        tell."""
        if case is None or case.intent is not None:
            return ()
        found = []
        for near in grey(case.question, case.near):
            answer = case.board.by_id[near.neighbor.question.key.digest]
            hit = None if _external(answer) else self._fit(case, answer, "judged", near.neighbor.similarity)
            if hit is not None and not hit.labelled:
                found.append(Doubtful(near, hit.entry, hit))
        return tuple(found)

    def judged(self, case: Case | None, hit: CacheHit) -> None:
        """A judge took the question for the one that ``hit`` answers: from now on this wording has that answer."""
        if case is not None:
            case.intent = case.board.by_id[hit.entry.key.digest]
            self._aliases.add(case.keys.scope, case.question, case.intent)
            self._metrics.answer_served(str(case.intent.status), "judged")

    def guarded(self, case: Case | None, send: Send) -> Send:
        """``send`` for a fresh answer. Where one to this question was rejected it is held back until it is whole, and
        a notice is sent in its place if it says the rejected thing again. Where the question might be a reviewed one in
        other words, the answer tells: see ``Aliases``."""
        if case is None:
            return send
        if case.intent is None:
            return self._aliases.learning(case.question, case.near, case.board, self._rule, send) if case.near else send
        standing = self._standing(case.intent)
        if not standing:
            return send
        refused = partial(self._metrics.answer_served, "refused", "fresh")
        return Guard(case.language, standing, send, refused).hear

    def _given(self, case: Case, answer: Reviewed, how: str, similarity: float | None) -> CacheHit | None:
        """As ``_fit``, and counted."""
        hit = self._fit(case, answer, how, similarity)
        if hit is not None:
            self._metrics.answer_served("noted" if hit.labelled else str(answer.status), how)
        return hit

    def _fit(self, case: Case, answer: Reviewed, how: str, similarity: float | None) -> CacheHit | None:
        """The hit that a reviewed answer makes for this caller, now; None: he does not get it."""
        text = answer.texts.get(case.language)
        if answer.status not in SERVED or text is None or not self._may_read(case, answer):
            return None
        outdated = answer.status is Status.NEEDS_REVIEW or self.changed(answer)
        if outdated and self._on_change == "withdraw":
            return None
        entry = self._entry(answer, (NOTES.get(case.language, NOTES["en"]) if outdated else "") + text)
        outcome = CacheOutcome.STALE if outdated else CacheOutcome.SEMANTIC if how != "exact" else CacheOutcome.EXACT
        return CacheHit(entry, outcome, similarity, served_by=ServedBy.REVIEWED, labelled=outdated)

    def _may_read(self, case: Case, answer: Reviewed) -> bool:
        if case.named and case.collections != set(answer.collections):
            return False  # the caller asked other documents than those it was reviewed against
        names = tuple(recorded_of(answer.documents))
        if not {name.partition("/")[0] for name in answer.documents} <= case.collections:
            return False
        return not names or (self._documents is not None and self._documents.readable(names, case.groups))

    def _entry(self, answer: Reviewed, text: str) -> CacheEntry:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return CacheEntry(
            key=CacheKey(Scope(answer.tenant, "reviewed"), answer.id),
            question=answer.question,
            answer=Answer((choice,), answer.model),
            requested_model=answer.model,
            created_at=answer.updated_at,
            ttl_s=float("inf"),
            citations=answer.citations,
            dependencies=answer.documents,
            namespace=answer.namespace,
        )

    def _rejected(self, case: Case, found: Reviewed | None, entry: CacheEntry) -> bool:
        """Whether what the cache found says what was rejected: fact for fact where the question, or the one it was
        found by, is known here, else word for word. A miss is cheap."""
        known = [answer for answer in (case.intent, found) if answer is not None]
        text = entry.answer.text
        return any(says(text, rejected) for answer in known for rejected in self._standing(answer)) or any(
            rejected.text == text
            for answer in case.board.answers
            if any(one.text == text for one in answer.rejected)
            for rejected in self._standing(answer)
        )

    def _standing(self, answer: Reviewed) -> tuple[Rejected, ...]:
        """What was rejected and still is: its documents are as they were. Of those kept elsewhere nobody can tell."""
        names = {name for rejected in answer.rejected for name in recorded_of(rejected.documents)}
        current = self.versions(tuple(names))
        return tuple(r for r in answer.rejected if unchanged(recorded_of(r.documents), current))


def recorded_of(documents: Mapping[str, str]) -> dict[str, str]:
    """Those of which the record keeps versions."""
    return {name: version for name, version in documents.items() if not version.startswith(UNRECORDED)}


def _outside(documents: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in documents.items() if version.startswith(UNRECORDED)}


def _external(answer: Reviewed) -> bool:
    return bool(_outside(answer.documents))
