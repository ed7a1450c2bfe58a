"""``/admin/cache``: what is kept, by entry and by document, what is void, purging, warming."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from gateway.cache.freshness import changed_documents
from gateway.cache.purging import SELECTORS, KeptAnswers, PurgedQuestions, Selection, purge
from gateway.chat import CacheEntry
from gateway.errors import InvalidRequest, NotFound, Overloaded, StoreUnavailable
from gateway.ingress.admin.door import body_of, given, read
from gateway.ingress.admin.warming import Warmer
from gateway.metrics import Metrics
from gateway.ports import DocumentRecord

AWAY = "the cache store does not answer now; nothing is served from it meanwhile, try again"
MAX_SHOWN = 1_000


@dataclass(slots=True)
class CachePages:
    store: KeptAnswers
    index: PurgedQuestions
    warmer: Warmer
    metrics: Metrics
    record: DocumentRecord | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/admin/cache/stats", self.stats),
            web.get("/admin/cache/entries", self.entries),
            web.get("/admin/cache/entries/{handle}", self.entry),
            web.get("/admin/cache/documents", self.documents),
            web.post("/admin/cache/purge", self.purge),
            web.post("/admin/cache/warm", self.warm),
        ]

    async def stats(self, http_request: web.Request) -> web.Response:
        given(http_request)
        counts: Counter[tuple[str, str]] = Counter()
        try:
            told = dict(await self.store.stats())
            async for entry in self.store.entries():
                counts[entry.key.scope.tenant_id, entry.requested_model] += 1
        except StoreUnavailable as error:
            raise Overloaded(AWAY, code="store_unavailable", retry_after_s=5) from error
        kept = [{"tenant": tenant, "model": model, "entries": n} for (tenant, model), n in sorted(counts.items())]
        return _json({**told, "entries": sum(counts.values()), "kept": kept, "hits": self.metrics.cache_hits()})

    async def entries(self, http_request: web.Request) -> web.Response:
        """Entries that the selectors in the query select and whose question holds ``text``, newest first.

        ``void=true``: only those that are not served any more, for a document they rest on has changed.
        """
        query = given(http_request, *SELECTORS, "text", "limit", "void")
        text = query.pop("text", "").casefold()
        limit = query.pop("limit", "100")
        only_void = query.pop("void", "false")
        if only_void not in {"true", "false"}:
            raise InvalidRequest("void must be true or false", param="void")
        if not (limit.isascii() and limit.isdigit() and 0 < int(limit) <= MAX_SHOWN):
            raise InvalidRequest(f"limit must be a number from 1 to {MAX_SHOWN}", param="limit")
        selection = _selection(query)
        try:
            found = [
                entry
                async for entry in self.store.entries()
                if selection.selects(entry)
                and text in entry.question.casefold()
                and (only_void == "false" or changed_documents(entry, self.record))
            ]
        except StoreUnavailable as error:
            raise Overloaded(AWAY, code="store_unavailable", retry_after_s=5) from error
        found.sort(key=lambda entry: -entry.created_at)
        return _json({"found": len(found), "entries": [self._shown(entry) for entry in found[: int(limit)]]})

    async def entry(self, http_request: web.Request) -> web.Response:
        given(http_request)
        try:
            found = await self.store.find(http_request.match_info["handle"])
        except StoreUnavailable as error:
            raise Overloaded(AWAY, code="store_unavailable", retry_after_s=5) from error
        if found is None:
            raise NotFound("no live entry has this handle; x-ocho-entry of a cache hit tells one", param="handle")
        return _json(self._shown(found, whole=True))

    async def documents(self, http_request: web.Request) -> web.Response:
        """The other way round: each document with the number of selected entries that rest on it, and of void ones
        that its change has voided; most void first."""
        selection = _selection(given(http_request, *SELECTORS))
        entries: Counter[str] = Counter()
        void: Counter[str] = Counter()
        try:
            async for entry in self.store.entries():
                if selection.selects(entry):
                    entries.update(entry.dependencies.keys())
                    void.update(changed_documents(entry, self.record))
        except StoreUnavailable as error:
            raise Overloaded(AWAY, code="store_unavailable", retry_after_s=5) from error
        names = sorted(entries, key=lambda name: (-void[name], -entries[name], name))
        rows = [{"document": name, "entries": entries[name], "void": void[name]} for name in names]
        return _json({"found": len(rows), "documents": rows[:MAX_SHOWN]})

    async def purge(self, http_request: web.Request) -> web.Response:
        """``{"tag": "hr"}`` and the like; what several selectors agree on. All: ``{"all": true}``, nothing else."""
        body = await body_of(http_request, *SELECTORS, "all")
        everything = body.pop("all", False)
        if everything is not (not body) or (everything and body):
            raise InvalidRequest(
                f"give at least one of {', '.join(SELECTORS)}, or all: true by itself to purge everything", param="all"
            )
        try:
            gone = await purge(self.store, self.index, _selection(body))
        except StoreUnavailable as error:
            raise Overloaded(
                "the cache store does not answer; what was to be purged may be served again when it does: try again",
                code="store_unavailable", retry_after_s=5,
            ) from error  # fmt: skip
        return _json({"purged": gone})

    async def warm(self, http_request: web.Request) -> web.Response:
        """JSON lines in, a report out: how many are kept, and which lines are not, and why."""
        given(http_request)
        try:
            report = await self.warmer.warm(await read(http_request))
        except StoreUnavailable as error:
            raise Overloaded(AWAY, code="store_unavailable", retry_after_s=5) from error
        failed = [{"line": line, "error": message} for line, message in report.failed]
        return _json({"warmed": report.warmed, "failed": failed})

    def _shown(self, entry: CacheEntry, *, whole: bool = False) -> dict[str, Any]:
        age_s = entry.age_s(time.time())
        shown: dict[str, Any] = {
            "entry": entry.key.handle,
            "tenant": entry.key.scope.tenant_id,
            "model": entry.requested_model,
            "question": entry.question,
            "age_s": round(age_s, 1),
            "ttl_s": round(entry.ttl_s - age_s, 1),
            "took_s": round(entry.took_s, 3),
            "namespace": entry.namespace,
            "tags": entry.tags,
            "documents": sorted(entry.dependencies),
            "changed": changed_documents(entry, self.record),  # of them; with any, the entry is void
        }
        if whole:
            shown |= {"answer": entry.answer.text, "choices": entry.answer.choices, "answered_by": entry.answer.model,
                      "evidence": entry.evidence}  # fmt: skip
        return shown


def _selection(fields: dict[str, Any]) -> Selection:
    try:
        return Selection.of(fields)
    except ValueError as error:
        raise InvalidRequest(str(error), param=str(error).split(" ", 1)[0]) from error


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body, default=dict), content_type="application/json")
