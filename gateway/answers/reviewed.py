"""What a person decided about the answer to a question, and how that may change. Pure.

One record for each intent: a question to one model of one tenant. It holds the answer in each language that was given,
the wordings it is recognised by, the documents it rests on in the versions that were reviewed, and what was rejected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import orjson

from gateway.cache.decision import plain
from gateway.cache.language import language
from gateway.chat import Passage

ANY_SYSTEM = "*"  # as ``system``: whatever instructions a caller sends
MAX_REJECTED = 20  # texts remembered of one intent; the oldest is forgotten first
TRACKED = ("status", "texts", "wordings", "documents", "rejected", "note")  # fields that the audit trail shows


class Status(StrEnum):
    AWAITING = "awaiting_review"  # found by the gateway, not served from here
    APPROVED = "approved"  # a model's words that a person confirmed
    PINNED = "pinned"  # a person's words
    REJECTED = "rejected"
    NEEDS_REVIEW = "needs_review"  # was approved or pinned; its documents have changed since


SERVED = frozenset({Status.APPROVED, Status.PINNED, Status.NEEDS_REVIEW})


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that is not given again while its documents stay as they were."""

    text: str
    documents: Mapping[str, str] = field(default_factory=dict)  # {document: version}
    at: float = 0.0  # wall seconds


@dataclass(frozen=True, slots=True)
class Reviewed:
    id: str
    tenant: str
    model: str  # as callers name it
    question: str
    status: Status
    texts: Mapping[str, str]  # answer by the language of the question, see ``spoken``
    wordings: tuple[str, ...] = ()  # of the same question, beside ``question``
    namespace: str = ""
    system: str = ""  # instructions it holds under: "" none, ANY_SYSTEM any, else exactly these
    documents: Mapping[str, str] = field(default_factory=dict)  # {document: version} it was reviewed against
    citations: tuple[Passage, ...] = ()
    collections: tuple[str, ...] = ()  # that were searched for it
    rejected: tuple[Rejected, ...] = ()
    other: str = ""  # an answer that contradicts it, for the reviewer to choose between
    found: str = ""  # why the gateway put it up for review: the kind of the finding
    seen: int = 0  # such findings so far
    note: str = ""  # the reviewer's
    author: str = ""  # who changed it last
    created_at: float = 0.0  # wall seconds
    updated_at: float = 0.0
    revision: int = 0  # of this record; 0 before it is stored

    @property
    def questions(self) -> tuple[str, ...]:
        return (self.question, *self.wordings)


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the audit trail."""

    answer: str
    tenant: str
    at: float  # wall seconds
    who: str
    action: str
    note: str = ""
    changed: Mapping[str, Any] = field(default_factory=dict)  # {field: [before, after]}
    question: str = ""


def spoken(text: str) -> str:
    """The language of a question as reviewers name it; told by its script, so ``en`` stands for all Latin ones."""
    found = language(text)
    return "en" if found == "latin" else found


def id_of(tenant: str, model: str, namespace: str, system: str, question: str) -> str:
    """The same for every dress of one question: pinning it again changes what is there."""
    parts = orjson.dumps([tenant, model, namespace, system, plain(question)])
    return f"ans_{blake2b(parts, digest_size=12).hexdigest()}"


def unchanged(documents: Mapping[str, str], current: Mapping[str, str]) -> bool:
    return all(current.get(name) == version for name, version in documents.items())


def change_of(before: Reviewed | None, after: Reviewed, action: str) -> Change:
    """What the audit trail says of a step from ``before`` to ``after``."""
    was = {name: getattr(before, name) if before is not None else None for name in TRACKED}
    now = {name: getattr(after, name) for name in TRACKED}
    changed = {
        n: [plain_value(was[n]), plain_value(now[n])] for n in TRACKED if was[n] != now[n] and (was[n] or now[n])
    }
    return Change(after.id, after.tenant, after.updated_at, after.author, action, after.note, changed, after.question)


def rejected_from(answer: Reviewed, texts: tuple[str, ...], at: float) -> Reviewed:
    """The record with ``texts`` among what is not to be said again."""
    known = {r.text for r in answer.rejected}
    more = tuple(Rejected(text, answer.documents, at) for text in dict.fromkeys(texts) if text and text not in known)
    renewed = tuple(
        Rejected(r.text, answer.documents, at) if r.text in texts else r for r in answer.rejected
    )  # what was rejected before, and is again: against the documents of today
    return replace(answer, rejected=(*renewed, *more)[-MAX_REJECTED:])


def next_of(answer: Reviewed) -> Reviewed:
    """As it is stored: one revision on."""
    return replace(answer, revision=answer.revision + 1)


def plain_value(value: Any) -> Any:
    """As JSON holds it."""
    return orjson.loads(orjson.dumps(value, default=dict))


def dump(value: Reviewed | Change) -> bytes:
    return orjson.dumps(value, default=dict)


def load(data: bytes) -> Reviewed:
    """Raises ValueError, TypeError or KeyError for what ``dump`` did not write."""
    given = orjson.loads(data)
    return Reviewed(
        **{
            **given,
            "status": Status(given["status"]),
            "wordings": tuple(given["wordings"]),
            "citations": tuple(Passage(**passage) for passage in given["citations"]),
            "collections": tuple(given["collections"]),
            "rejected": tuple(Rejected(**one) for one in given["rejected"]),
        }
    )


def load_change(data: bytes) -> Change:
    """Raises ValueError, TypeError."""
    return Change(**orjson.loads(data))
