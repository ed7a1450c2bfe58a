"""What reviewers do: pin, edit, approve, reject, delete. Every step is one line in the history.

The answer is tied to documents in the versions they have at that moment: those that the reviewer names, else those that
the answer evidently rests on among the passages that its question finds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from gateway.answers.book import Book, Conflict
from gateway.answers.following import Following
from gateway.answers.reviewed import (
    Change,
    Reviewed,
    Status,
    change_of,
    id_of,
    rejected_from,
    spoken,
)
from gateway.answers.shelf import place_of
from gateway.cache.decision import plain
from gateway.chat import UNRECORDED, CacheEntry, Evidence, Passage
from gateway.clock import WallClock
from gateway.errors import InvalidRequest, NotFound
from gateway.facts import unsupported

Which = Literal["answer", "other", "both"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record as a reviewer, a file or a kept entry describes it."""

    model: str
    question: str
    texts: Mapping[str, str]
    status: Status = Status.PINNED
    tenant: str = ""  # "" where there is only one
    wordings: tuple[str, ...] = ()
    namespace: str = ""
    system: str = ""
    documents: Mapping[str, str] | None = None  # {name: version, "" the current one}; None: find out
    citations: tuple[Passage, ...] = ()
    rejected: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """None leaves a field as it is."""

    texts: Mapping[str, str] | None = None  # of these languages; "" takes one away
    wordings: tuple[str, ...] | None = None
    add_wordings: tuple[str, ...] = ()
    documents: tuple[str, ...] | None = None
    note: str | None = None
    revision: int | None = None  # the one that was read; None: whatever is stored


class Find(Protocol):
    async def __call__(self, model: str, question: str, tenant: str) -> tuple[tuple[str, ...], Evidence]:
        """The collections of the model, and what the question finds in them with all rights of the tenant.

        Raises InvalidRequest where there is no such model, or a source did not answer."""


@dataclass(slots=True)
class Reviewer:
    book: Book
    answers: Following
    find: Find
    tenants: Collection[str]
    shared: bool = False  # all tenants share answers: there is one, "*"
    settle_s: float = 0.0  # until every other worker and gateway has seen a change
    entry: Callable[[str], Awaitable[CacheEntry | None]] | None = None  # by its handle
    wall_clock: WallClock = time.time
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def put(self, wanted: Wanted, who: str, *, settle: bool = True) -> Reviewed:
        """Keep a decision about a question; what was decided about it before is changed. Raises InvalidRequest.

        ``settle`` False: the caller has more, and will call ``settle`` after the last.
        """
        tenant = self._tenant(wanted.tenant)
        id = id_of(tenant, wanted.model, wanted.namespace, wanted.system, wanted.question)
        before = await self.book.get(tenant, id)
        collections, evidence = await self.find(wanted.model, wanted.question, tenant)
        documents, citations = self._grounds(wanted, evidence)
        now = self.wall_clock()
        known = [w for w in (before.wordings if before is not None else ()) if spoken(w) in wanted.texts]
        after = Reviewed(
            id=id, tenant=tenant, model=wanted.model, question=wanted.question.strip(), status=wanted.status,
            texts=wanted.texts, wordings=merged(wanted.question, known, wanted.wordings),
            namespace=wanted.namespace, system=wanted.system, documents=documents, citations=citations,
            collections=collections, rejected=before.rejected if before is not None else (), note=wanted.note,
            author=who, created_at=before.created_at if before is not None else now, updated_at=now,
            revision=before.revision if before is not None else 0,
        )  # fmt: skip
        after = rejected_from(after, wanted.rejected, now)
        if wanted.status is Status.REJECTED:
            after = replace(rejected_from(after, tuple(wanted.texts.values()), now), texts={})
        return await self._save(before, after, VERBS[wanted.status], settle=settle)

    async def edit(self, id: str, edit: Edit, who: str) -> Reviewed:
        """New words for an answer pin it; new wordings or a note leave its status as it is."""
        before = await self.get(id, edit.revision)
        after = replace(before, author=who, updated_at=self.wall_clock())
        wordings = before.wordings if edit.wordings is None else edit.wordings
        after = replace(after, wordings=merged(before.question, wordings, edit.add_wordings))
        if edit.note is not None:
            after = replace(after, note=edit.note)
        if edit.texts is not None:
            texts = {language: text for language, text in {**before.texts, **edit.texts}.items() if text}
            after = replace(after, texts=texts, status=Status.PINNED, found="", other="")
        if edit.documents is not None:
            after = await self._today(replace(after, documents=self._versions(edit.documents)))
        elif edit.texts is not None:
            after = await self._today(after)
        return await self._save(before, after, "edit")

    async def approve(self, id: str, who: str, note: str = "", which: Which = "answer", revision: int | None = None
                      ) -> Reviewed:  # fmt: skip
        """Confirm the answer, or the one that contradicts it, against the documents as they are now."""
        before = await self.get(id, revision)
        texts = dict(before.texts)
        if which == "other":
            if not before.other:
                raise InvalidRequest("there is no other answer to approve", param="which")
            texts[spoken(before.question)] = before.other
        if not texts:
            raise InvalidRequest("there is no answer to approve; edit it first", param="answer")
        after = replace(
            await self._today(before), texts=texts, status=Status.APPROVED, other="", found="",
            note=note or before.note, author=who, updated_at=self.wall_clock(),
        )  # fmt: skip
        return await self._save(before, after, "approve")

    async def reject(self, id: str, who: str, note: str = "", which: Which = "answer", revision: int | None = None
                     ) -> Reviewed:  # fmt: skip
        """Neither given nor taken from the cache again while its documents stay as they are."""
        before = await self.get(id, revision)
        now = self.wall_clock()
        texts = {"answer": tuple(before.texts.values()), "other": (before.other,)}
        gone = texts["answer"] + texts["other"] if which == "both" else texts[which]
        if not any(gone):
            raise InvalidRequest(f"there is no {which} to reject", param="which")
        renewed = replace(await self._today(before), note=note or before.note, author=who, updated_at=now)
        after = rejected_from(renewed, gone, now)
        if which == "other":
            after = replace(after, other="")
        else:
            after = replace(after, status=Status.REJECTED, texts={}, found="", other=before.other * (which == "answer"))
        return await self._save(before, after, "reject")

    async def delete(self, id: str, who: str, note: str = "", revision: int | None = None) -> None:
        """Forget the decision. Its history stays."""
        before = await self.get(id, revision)
        async with self._turn:
            await self.book.delete(
                before, Change(id, before.tenant, self.wall_clock(), who, "delete", note, {}, before.question)
            )
            await self.settle()

    async def get(self, id: str, revision: int | None = None) -> Reviewed:
        """Raises NotFound, and Conflict where another ``revision`` is stored."""
        await self.answers.refresh()
        tenant = next((a.tenant for a in self.answers.all if a.id == id), None)
        found = await self.book.get(tenant, id) if tenant is not None else None
        if found is None:
            raise NotFound("there is no reviewed answer with this id", param="id")
        if revision is not None and revision != found.revision:
            raise Conflict("this answer was changed meanwhile; read it again", param="revision")
        return found

    async def wanted_of(self, handle: str, status: Status) -> Wanted:
        """A kept answer, as its handle (``x-ocho-entry``) names it; under any instructions, for its own are unknown."""
        found = await self.entry(handle) if self.entry is not None else None
        if found is None:
            raise NotFound("no live cache entry has this handle; x-ocho-entry of a cache hit tells one", param="entry")
        if not found.answer.text:
            raise InvalidRequest("this entry holds no text", param="entry")
        return Wanted(
            found.requested_model, found.question, {spoken(found.question): found.answer.text}, status,
            found.key.scope.tenant_id, namespace=found.namespace, system="*", documents=dict(found.dependencies),
            citations=found.citations,
        )  # fmt: skip

    async def _save(self, before: Reviewed | None, after: Reviewed, action: str, *, settle: bool = True) -> Reviewed:
        async with self._turn:
            await self.answers.refresh()
            check(after, self.answers.all)
            kept = await self.book.save(after, change_of(before, after, action))
            if settle:
                await self.settle()
        return kept

    async def settle(self) -> None:
        """Return when this and every other gateway on the book serves by what was changed."""
        await self.answers.refresh()
        await self.answers.embed()
        if self.settle_s:
            await asyncio.sleep(self.settle_s)

    def _tenant(self, asked: str) -> str:
        known = ["*"] if self.shared else sorted(self.tenants)
        if not asked and len(known) == 1:
            return known[0]
        if asked not in known:
            said = "say for which tenant" if not asked else f"there is no tenant {asked!r}"
            raise InvalidRequest(f"{said}; there are {', '.join(known)}", param="tenant")
        return asked

    def _grounds(self, wanted: Wanted, evidence: Evidence) -> tuple[dict[str, str], tuple[Passage, ...]]:
        """The documents that an answer is tied to, and the passages it may show."""
        if wanted.documents is None:
            passages = resting_on(evidence.passages, (*wanted.texts.values(), *wanted.rejected))
            return Evidence(passages).dependencies, passages
        kept = {name: version for name, version in wanted.documents.items() if version}
        documents = {**kept, **self._versions([name for name, version in wanted.documents.items() if not version])}
        shown = wanted.citations or tuple(p for p in evidence.passages if f"{p.collection}/{p.document}" in documents)
        return documents, shown

    def _versions(self, names: Sequence[str]) -> dict[str, str]:
        """Raises InvalidRequest for what is no document here."""
        found = dict(self.answers.versions(names))
        if missing := [name for name in names if name not in found]:
            raise InvalidRequest(
                f"there is no document {missing[0][:120]!r}; documents are named collection/document", param="documents"
            )
        return found

    async def _today(self, answer: Reviewed) -> Reviewed:
        """Tied to the same documents as they are now, and showing what they say; those that are gone count no more."""
        current = self.answers.versions(tuple(answer.documents))
        documents = {
            n: current.get(n, v) for n, v in answer.documents.items() if n in current or v.startswith(UNRECORDED)
        }
        collections, evidence = await self.find(answer.model, answer.question, answer.tenant)
        return replace(
            answer, documents=documents, collections=collections,
            citations=shown_now(answer.citations, evidence.passages, documents),
        )  # fmt: skip


VERBS = {
    Status.PINNED: "pin", Status.APPROVED: "approve", Status.REJECTED: "reject", Status.AWAITING: "propose",
    Status.NEEDS_REVIEW: "flag",
}  # fmt: skip


def check(answer: Reviewed, others: Sequence[Reviewed]) -> None:
    """Raises InvalidRequest for a record that could not be served as it stands."""
    wordings = {spoken(text) for text in answer.questions}
    for language in answer.texts:
        if language not in wordings:
            raise InvalidRequest(
                f"there is an answer in {language!r} but no wording of the question in that language, by which it could"
                " be recognised; add one to wordings", param="wordings",
            )  # fmt: skip
    if answer.texts:
        for text in answer.questions:
            if spoken(text) not in answer.texts:
                raise InvalidRequest(
                    f"the wording {text[:80]!r} is in {spoken(text)!r}, and there is no answer in that language; add "
                    "one to answers", param="answers",
                )  # fmt: skip
    mine = {plain(text) for text in answer.questions}
    for other in others:
        if other.id != answer.id and place_of(other) == place_of(answer) and other.system == answer.system:
            taken = next((text for text in other.questions if plain(text) in mine), None)
            if taken is not None:
                raise Conflict(f"the wording {taken[:80]!r} belongs to {other.id}; edit that one", param="wordings")


def merged(question: str, wordings: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Wordings without repetition, in the order they came."""
    kept: dict[str, str] = {}
    for text in (*wordings, *more):
        if plain(text) and plain(text) != plain(question):
            kept.setdefault(plain(text), text.strip())
    return tuple(kept.values())


def resting_on(passages: Sequence[Passage], texts: Collection[str]) -> tuple[Passage, ...]:
    """The passages of the best document, and of more where they state a number or a code that the answers give and it
    does not: an unrelated document among the finds is no reason to review the answer again when it changes."""
    names = list(dict.fromkeys(document_of(p) for p in sorted(passages, key=lambda p: -p.score)))
    chosen = names[:1]
    for name in names[1:]:
        lost = _unsupported(passages, chosen, texts)
        if lost and _unsupported(passages, [*chosen, name], texts) < lost:
            chosen.append(name)
    return tuple(p for p in passages if document_of(p) in chosen)


def shown_now(before: Sequence[Passage], found: Sequence[Passage], documents: Mapping[str, str]) -> tuple[Passage, ...]:
    """The passages shown so far in their present words, as far as they still stand; else all found in the documents."""
    fresh = {p.id: p for p in found}
    kept = [fresh.get(p.id, p) for p in before]
    now = tuple(p for p in kept if documents.get(document_of(p), documents.get(p.id)) == p.version)
    return now or tuple(p for p in found if document_of(p) in documents)


def document_of(passage: Passage) -> str:
    return f"{passage.collection}/{passage.document}"


def _unsupported(passages: Sequence[Passage], names: Sequence[str], texts: Collection[str]) -> int:
    known = [p.text for p in passages if document_of(p) in names]
    return sum(len(unsupported(text, known)) for text in texts)
