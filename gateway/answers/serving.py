"""Gives reviewed answers to callers: before the cache, instead of what the cache found, and against what was rejected.

Nothing here asks the book for a request: the shelf in memory follows it (``following``), several times a second and
after every change made through this process. Whether the documents of an answer changed, and whether the caller may
read them, is asked of the record for every request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from gateway.answers.aliases import Aliases
from gateway.answers.following import Following, recorded_of
from gateway.answers.guarding import Guard, says
from gateway.answers.reviewed import SERVED, Rejected, Reviewed, Status, spoken, unchanged
from gateway.answers.shelf import Board, meant
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
from gateway.metrics import Metrics
from gateway.ports import Vector

log = structlog.get_logger()

OnChange = Literal["note", "withdraw"]

NOTES = {
    "ko": "※ 담당자가 검토한 답변이지만 그 뒤에 근거 문서가 바뀌어 다시 확인 중입니다. 지금은 다를 수 있습니다.\n\n",
    "en": "Note: this reviewed answer is being checked again: its documents have changed and it may differ now.\n\n",
}


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
    """What is given is what ``following`` has on its shelf."""

    def __init__(
        self, following: Following, metrics: Metrics, *, rule: Rule | None = None, on_change: OnChange = "withdraw"
    ) -> None:
        self.following = following
        self._metrics = metrics
        self._rule = rule or StrictRule()
        self._on_change = on_change
        self._aliases = Aliases()

    @property
    def revision(self) -> int:
        return self.following.revision

    def covers(self, tenant: str, model: str) -> bool:
        """Whether anything was reviewed for them; "*" stands for tenants that share all."""
        return (tenant, model) in self.following.shelf.covered or ("*", model) in self.following.shelf.covered

    def case(self, ctx: RequestContext, request: ChatRequest, keys: Keys, collections: Sequence[str]) -> Case | None:
        """None where no reviewed answer can bear on the request.

        It bears on questions that stand alone: no earlier turns, nothing but text, no tools or formats asked for.
        ``x-ocho-cache: off`` goes past it; ``no-cache`` does not: what is given is checked against its documents.
        """
        place = (keys.scope.tenant_id, request.requested_model, ctx.wishes.namespace)
        board = self.following.shelf.boards.get(place)
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
        outdated = answer.status is Status.NEEDS_REVIEW or self.following.changed(answer)
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
        return self.following.readable(names, case.groups)

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
        current = self.following.versions(tuple(names))
        return tuple(r for r in answer.rejected if unchanged(recorded_of(r.documents), current))


def _outside(documents: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in documents.items() if version.startswith(UNRECORDED)}


def _external(answer: Reviewed) -> bool:
    return bool(_outside(answer.documents))
