"""Reviewed answers as they are looked up: by their words, and by meaning through the cache's own rule. Pure.

A shelf is made anew whenever the book changes. Tenant, model and namespace part it: nothing is looked up across.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice

import numpy as np

from gateway.answers.reviewed import ANY_SYSTEM, SERVED, Reviewed, Status
from gateway.cache.decision import Rule, plain
from gateway.cache.features import look
from gateway.chat import CachedQuestion, CacheKey, Neighbor, Scope
from gateway.ports import Vector, Vectors

FLOOR = 0.8  # cosine under which the rule is not even asked
AUDIT = "audit"  # the rule would serve, but wants a fresh answer to compare with: there is nothing to compare here

Place = tuple[str, str, str]  # tenant, model, namespace


def place_of(answer: Reviewed) -> Place:
    return answer.tenant, answer.model, answer.namespace


@dataclass(frozen=True, slots=True)
class Board:
    """The intents of one place."""

    answers: tuple[Reviewed, ...]
    by_id: Mapping[str, Reviewed]
    exact: Mapping[str, tuple[Reviewed, ...]]  # by plain wording
    wordings: tuple[tuple[str, Reviewed], ...]  # those with a vector
    vectors: Vectors  # one row per wording

    def worded(self, question: str, system: str) -> Reviewed | None:
        """The intent that has this very wording."""
        return next((a for a in self.exact.get(plain(question), ()) if holds_under(a, system)), None)

    def near(self, system: str, vector: Vector, most: int, scope: Scope) -> list[Neighbor]:
        """The nearest wordings, most similar first, as a Rule sees neighbours: each keyed by its intent's id.

        None at all where not even the first is near enough to ask a rule.
        """
        if not self.wordings:
            return []
        similarities = self.vectors @ vector
        order = np.argsort(-similarities, kind="stable")
        able = list(islice((i for i in order if holds_under(self.wordings[i][1], system)), most))
        if not able or similarities[able[0]] < FLOOR:
            return []
        found = [(*self.wordings[i], float(similarities[i])) for i in able]
        return [Neighbor(CachedQuestion(text, CacheKey(scope, a.id)), similarity) for text, a, similarity in found]


def meant(question: str, near: Sequence[Neighbor], rule: Rule) -> Neighbor | None:
    """The wording that ``rule`` takes the question for."""
    if not near:
        return None
    decision = rule.decide(question, near)
    return look(question, near).best if decision.reason == AUDIT else decision.neighbor


@dataclass(frozen=True, slots=True)
class Shelf:
    boards: Mapping[Place, Board] = field(default_factory=dict)
    covered: frozenset[tuple[str, str]] = frozenset()  # (tenant, model) with anything reviewed

    @property
    def answers(self) -> list[Reviewed]:
        return [answer for board in self.boards.values() for answer in board.answers]


def shelve(answers: Sequence[Reviewed], vectors: Mapping[str, Vector]) -> Shelf:
    """``vectors`` of wordings, as far as they are known; a wording without one is found by its very words alone."""
    decided = sorted((a for a in answers if a.status in SERVED or a.rejected), key=lambda a: (place_of(a), a.id))
    boards = {place: _board(tuple(group), vectors) for place, group in groupby(decided, key=place_of)}
    return Shelf(boards, frozenset((tenant, model) for tenant, model, _ in boards))


def _board(answers: tuple[Reviewed, ...], vectors: Mapping[str, Vector]) -> Board:
    exact: dict[str, tuple[Reviewed, ...]] = {}
    for answer in answers:
        for text in answer.questions:
            exact[plain(text)] = (*exact.get(plain(text), ()), answer)
    known = tuple((text, answer) for answer in answers for text in answer.questions if text in vectors)
    rows = np.stack([vectors[text] for text, _ in known]) if known else np.zeros((0, 0), np.float32)
    return Board(answers, {a.id: a for a in answers}, exact, known, rows)


def holds_under(answer: Reviewed, system: str) -> bool:
    """Whether a caller with these instructions may be given it."""
    return answer.system == ANY_SYSTEM or answer.system == system


def waiting(answers: Sequence[Reviewed]) -> Mapping[Status, int]:
    """How many records there are of each status, all of them named."""
    return {status: sum(a.status is status for a in answers) for status in Status}
