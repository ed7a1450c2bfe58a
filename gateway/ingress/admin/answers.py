"""``/admin/answers``: reviewed answers, and those that wait for a reviewer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import unquote

import orjson
from aiohttp import web

from gateway.answers.reviewed import Change, Reviewed, Status, plain_value, spoken
from gateway.answers.reviewing import Edit, Reviewer, Wanted, Which
from gateway.errors import GatewayError, InvalidRequest, Overloaded, StoreUnavailable
from gateway.facts import unsupported
from gateway.ingress.admin.door import body_of, given, read
from gateway.ingress.openai import parse_object

MAX_SHOWN = 1_000
MAX_TEXT = 100_000  # characters of an answer
MAX_WORDINGS = 200
WHO = "x-ocho-reviewer"  # percent-encoded name of whoever acts
WANTED = ("id", "model", "question", "answer", "answers", "status", "tenant", "wordings", "namespace", "system",
          "documents", "rejected", "note", "entry")  # fmt: skip
LANGUAGES = ("ko", "en", "ja", "zh", "cyrillic", "arabic", "other")  # as ``spoken`` tells them
EXPORTED = ("id", "tenant", "model", "question", "status", "namespace", "system", "wordings", "documents", "note")


@dataclass(slots=True)
class AnswerPages:
    reviewer: Reviewer
    key: str  # names the admin key in the history

    def routes(self) -> list[web.RouteDef]:
        base, one = "/admin/answers", "/admin/answers/{id:ans_[^/]+}"
        return [
            web.get(base, self.list),
            web.post(base, self.put),
            web.get(base + "/history", self.history),
            web.get(base + "/export", self.export),
            web.post(base + "/import", self.take_in),
            web.get(one, self.show),
            web.post(one, self.edit),
            web.delete(one, self.delete),
            web.post(one + "/approve", self.approve),
            web.post(one + "/reject", self.reject),
        ]

    async def list(self, http_request: web.Request) -> web.Response:
        """Records that all filters select, the latest changed first; ``after`` an id goes on from there."""
        query = given(http_request, "status", "tenant", "model", "document", "text", "limit", "after")
        limit = _limit(query.get("limit", "50"))
        found = [a for a in self._of(query) if _selected(a, query)]
        start = 0
        if after := query.get("after"):
            start = next((i + 1 for i, a in enumerate(found) if a.id == after), -1)
            if start < 0:
                raise InvalidRequest("after must be the id of an answer in this list", param="after")
        page = found[start : start + limit]
        counts = {str(s): sum(a.status is s for a in self._of({k: query[k] for k in ("tenant",) if k in query}))
                  for s in Status}  # fmt: skip
        return _json(
            {
                "object": "list",
                "data": await asyncio.to_thread(lambda: [shown(a) for a in page]),
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
                "has_more": start + limit < len(found),
                "found": len(found),
                "counts": counts,
            }
        )

    async def show(self, http_request: web.Request) -> web.Response:
        given(http_request)
        return _json(shown(await self._stored(self.reviewer.get(_id(http_request)))))

    async def put(self, http_request: web.Request) -> web.Response:
        """Decide about a question (``status``: pinned if not said), or about the kept answer under ``entry``."""
        given(http_request)
        body = await body_of(http_request, *WANTED)
        return _json(shown(await self._stored(self._put(body, _who(http_request, self.key)))))

    async def edit(self, http_request: web.Request) -> web.Response:
        given(http_request)
        body = await body_of(http_request, "answer", "answers", "wordings", "add_wordings", "documents", "note",
                             "revision")  # fmt: skip
        if not body.keys() - {"revision"}:
            raise InvalidRequest("there is nothing to change; give answer, wordings, documents or note")
        id = _id(http_request)
        before = await self._stored(self.reviewer.get(id))
        changes = Edit(
            texts=_answers(body, before.question, empty=True) if {"answer", "answers"} & body.keys() else None,
            wordings=_texts(body, "wordings", MAX_WORDINGS) if "wordings" in body else None,
            add_wordings=_texts(body, "add_wordings", MAX_WORDINGS),
            documents=_texts(body, "documents", MAX_SHOWN) if "documents" in body else None,
            note=_text(body, "note") if "note" in body else None,
            revision=_revision(body),
        )
        return _json(shown(await self._stored(self.reviewer.edit(id, changes, _who(http_request, self.key)))))

    async def approve(self, http_request: web.Request) -> web.Response:
        given(http_request)
        body = await self._decision(http_request, "answer", "other")
        return _json(shown(await self._stored(self.reviewer.approve(_id(http_request), **body))))

    async def reject(self, http_request: web.Request) -> web.Response:
        given(http_request)
        body = await self._decision(http_request, *get_args(Which))
        return _json(shown(await self._stored(self.reviewer.reject(_id(http_request), **body))))

    async def delete(self, http_request: web.Request) -> web.Response:
        query = given(http_request, "note")
        id = _id(http_request)
        note = _text(query, "note")
        await self._stored(self.reviewer.delete(id, _who(http_request, self.key), note))
        return _json({"id": id, "object": "answer", "deleted": True})

    async def history(self, http_request: web.Request) -> web.Response:
        """Who changed what and when, the latest first."""
        query = given(http_request, "answer", "tenant", "limit")
        limit = _limit(query.get("limit", "100"))
        lines = await self._stored(self.reviewer.book.history(limit, query.get("tenant", ""), query.get("answer", "")))
        return _json({"object": "list", "data": [_line(line) for line in lines]})

    async def export(self, http_request: web.Request) -> web.Response:
        """JSON lines that ``import`` takes."""
        query = given(http_request, "status", "tenant", "model", "document", "text")
        await self.reviewer.answers.refresh()
        lines = [orjson.dumps(exported(a)) + b"\n" for a in self._of(query) if _selected(a, query)]
        return web.Response(body=b"".join(lines), content_type="application/jsonl")

    async def take_in(self, http_request: web.Request) -> web.Response:
        """JSON lines in, a report out. A line that is wrong is told by its number and stops no other."""
        given(http_request)
        who, taken, failed = _who(http_request, self.key), 0, []
        for number, line in enumerate((await read(http_request)).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                body = parse_object(line)
                if unknown := sorted(body.keys() - set(WANTED)):
                    raise InvalidRequest(f"unknown key {unknown[0][:64]!r}; known are {', '.join(WANTED)}")
                await self._stored(self._put(body, who, settle=False))
                taken += 1
            except GatewayError as error:
                if isinstance(error, Overloaded):
                    raise
                failed.append({"line": number, "error": str(error)})
        await self._stored(self.reviewer.settle())
        return _json({"imported": taken, "failed": failed})

    async def _put(self, body: Mapping[str, Any], who: str, *, settle: bool = True) -> Reviewed:
        status = _status(body.get("status", str(Status.PINNED)))
        handle = _text(body, "entry")
        if handle:
            if odd := body.keys() - {"entry", "status", "note", "answer", "answers"}:
                raise InvalidRequest(f"{min(odd)} and entry exclude each other", param=min(odd))
            wanted = await self.reviewer.wanted_of(handle, status)
            texts = _answers(body, wanted.question) if {"answer", "answers"} & body.keys() else wanted.texts
            return await self.reviewer.put(replace(wanted, texts=texts, note=_text(body, "note")), who, settle=settle)
        return await self.reviewer.put(wanted_from(body, status), who, settle=settle)

    async def _decision(self, http_request: web.Request, *which: str) -> dict[str, Any]:
        raw = await read(http_request)
        body = parse_object(raw) if raw.strip() else {}
        for name in body:
            if name not in {"note", "which", "revision"}:
                raise InvalidRequest(
                    f"unknown parameter {name[:64]!r}; known are note, which, revision", param=name[:64]
                )
        chosen = body.get("which", "answer")
        if chosen not in which:
            raise InvalidRequest(f"which must be one of {', '.join(which)}", param="which")
        return {"who": _who(http_request, self.key), "note": _text(body, "note"), "which": chosen,
                "revision": _revision(body)}  # fmt: skip

    def _of(self, query: Mapping[str, str]) -> Sequence[Reviewed]:
        tenant = query.get("tenant", "")
        return sorted(
            (a for a in self.reviewer.answers.all if tenant in ("", a.tenant)), key=lambda a: (-a.updated_at, a.id)
        )

    async def _stored(self, work: Any) -> Any:
        try:
            return await work
        except StoreUnavailable as error:
            raise Overloaded(
                f"the book of reviewed answers does not answer now, and nothing was changed: {error}",
                code="store_unavailable", retry_after_s=5,
            ) from error  # fmt: skip


def wanted_from(body: Mapping[str, Any], status: Status) -> Wanted:
    """Raises InvalidRequest that says what is wrong."""
    question = _text(body, "question", needed=True).strip()
    if len(question) > 400:
        raise InvalidRequest("a question longer than 400 characters is not recognised again", param="question")
    texts = _answers(body, question, empty=status is Status.REJECTED and "rejected" in body)
    documents = body.get("documents")
    if isinstance(documents, list):
        documents = dict.fromkeys(_texts(body, "documents", MAX_SHOWN), "")
    if documents is not None and not (
        isinstance(documents, dict) and all(isinstance(v, str) for v in documents.values())
    ):
        raise InvalidRequest("documents must be a list of names, or an object of names and versions", param="documents")
    return Wanted(
        _text(body, "model", needed=True), question, texts, status, _text(body, "tenant"),
        _texts(body, "wordings", MAX_WORDINGS), _text(body, "namespace"), _text(body, "system"), documents,
        (), _texts(body, "rejected", MAX_WORDINGS), _text(body, "note"),
    )  # fmt: skip


def shown(answer: Reviewed) -> dict[str, Any]:
    """A record as the API tells it."""
    whole: dict[str, Any] = plain_value(answer)
    whole["answers"] = whole.pop("texts")
    whole["citations"] = [
        {"document": f"{p.collection}/{p.document}", "version": p.version, "section": p.section, "text": p.text}
        for p in answer.citations
    ]
    return {"object": "answer", **whole, "unsupported": _unsupported(answer)}


def _unsupported(answer: Reviewed) -> dict[str, Any]:
    """Numbers and codes that an answer gives and the passages found for it do not: for the reviewer to check."""
    passages = [p.text for p in answer.citations]
    texts = {**answer.texts, "other": answer.other}
    found = {name: unsupported(text, passages, answer.question) for name, text in texts.items() if passages and text}
    return {name: lost for name, lost in found.items() if lost}


def exported(answer: Reviewed) -> dict[str, Any]:
    whole = plain_value(answer)
    kept = {name: whole[name] for name in EXPORTED}
    rejected = [one["text"] for one in whole["rejected"]]
    return kept | {"answers": whole["texts"]} | ({"rejected": rejected} if rejected else {})


def _line(change: Change) -> dict[str, Any]:
    return {"object": "change", **plain_value(change)}


def _selected(answer: Reviewed, query: Mapping[str, str]) -> bool:
    text, document = query.get("text", "").casefold(), query.get("document", "")
    if status := query.get("status"):
        wanted = {_status(name) for name in status.split(",")}
        if answer.status not in wanted:
            return False
    return (
        query.get("model", answer.model) == answer.model
        and (not document or any(d == document or d.startswith(f"{document}#") for d in answer.documents))
        and (not text or any(text in t.casefold() for t in (*answer.questions, *answer.texts.values(), answer.other)))
    )


def _status(name: Any) -> Status:
    try:
        return Status(name)
    except ValueError:
        raise InvalidRequest(f"status must be one of {', '.join(Status)}", param="status") from None


def _answers(body: Mapping[str, Any], question: str, *, empty: bool = False) -> dict[str, str]:
    """``answer`` is in the language of the question; ``answers`` names the language of each."""
    answers = body.get("answers", {})
    if not isinstance(answers, dict) or not all(isinstance(text, str) for text in answers.values()):
        raise InvalidRequest('answers must be an object such as {"ko": "…", "en": "…"}', param="answers")
    if "answer" in body:
        answers = {**answers, spoken(question): _text(body, "answer", needed=not empty)}
    for language, text in answers.items():
        if language not in LANGUAGES:
            raise InvalidRequest(f"{language[:20]!r} is no language here; known are {', '.join(LANGUAGES)}",
                                 param="answers")  # fmt: skip
        if len(text) > MAX_TEXT or (not empty and not text.strip()):
            raise InvalidRequest(f"an answer has 1 to {MAX_TEXT} characters", param="answers")
    if not answers and not empty:
        raise InvalidRequest("give an answer, or answers by language", param="answer")
    return dict(answers)


def _text(body: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or (needed and not value.strip()) or len(value) > MAX_TEXT:
        raise InvalidRequest(f"{name} must be a text{' that is not empty' if needed else ''}", param=name)
    return value


def _texts(body: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    value = body.get(name, [])
    if not isinstance(value, list) or len(value) > most or not all(isinstance(t, str) and t.strip() for t in value):
        raise InvalidRequest(f"{name} must be a list of at most {most} texts", param=name)
    return tuple(value)


def _revision(body: Mapping[str, Any]) -> int | None:
    value = body.get("revision")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidRequest("revision must be a number, as it was read", param="revision")
    return value


def _limit(value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= MAX_SHOWN):
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_SHOWN}", param="limit")
    return int(value)


def _id(http_request: web.Request) -> str:
    return http_request.match_info["id"]


def _who(http_request: web.Request, key: str) -> str:
    """Whoever acts, as they say themselves, and the key that proves that they may."""
    name = unquote(http_request.headers.get(WHO, "")).strip() or "admin"
    if len(name) > 64 or not name.isprintable():
        raise InvalidRequest(f"{WHO} must be a name of up to 64 characters", param=WHO)
    return f"{name} (key {key})"


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body, default=dict), content_type="application/json")
