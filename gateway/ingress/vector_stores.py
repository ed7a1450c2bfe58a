"""OpenAI's ``/v1/vector_stores``, served here: a vector store is a collection of its tenant."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.chat import Passage, Tenant
from gateway.clock import Deadline
from gateway.errors import Forbidden, InvalidRequest
from gateway.ingress.auth import KeyRing, presented
from gateway.ingress.caller import OPERATION
from gateway.ingress.filters import attributes_of, filter_of, matches
from gateway.ingress.uploads import PREFIXES, body_of, listed, one_more, page_of, reply, text_of
from gateway.ports import Search, Vector
from gateway.retrieval.fusion import fuse
from gateway.retrieval.record import Record
from gateway.retrieval.shelves import Shelves
from gateway.retrieval.uploads.holdings import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    SHARED,
    Attached,
    Store,
    StoredFile,
    file_of,
    no_store,
)
from gateway.retrieval.uploads.library import Library
from gateway.retrieval.uploads.loader import Loader

STATES = (IN_PROGRESS, COMPLETED, FAILED, CANCELLED)
USUAL_RESULTS, MAX_RESULTS = 10, 50
MAX_QUERIES = 5
FILTERED_FROM = 400  # best passages of each leg that a filter chooses from
MAX_BATCH = 500
SEARCH_S = 10.0

Embed = Callable[[str], Awaitable[Vector | None]]


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may do what with the collections of the configuration."""

    writers: Mapping[str, frozenset[str]] = field(default_factory=dict)  # collection: tenants that may fill it
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)  # collection: who may read it; none: everybody

    def reads(self, store: Store, tenant: Tenant) -> bool:
        needed = self.groups.get(store.collection, frozenset())
        return store.tenant != SHARED or not needed or not needed.isdisjoint(tenant.groups)

    def writes(self, store: Store, tenant: Tenant) -> bool:
        return store.tenant == tenant.id or bool({tenant.id, "*"} & self.writers.get(store.collection, frozenset()))


class VectorStores:
    """Handlers. ``embed`` gives a question's vector, None where there is none in time."""

    def __init__(
        self, keys: KeyRing, library: Library, loader: Loader, record: Record, shelves: Shelves, rights: Rights,
        embed: Embed,
    ) -> None:  # fmt: skip
        self._keys = keys
        self._library = library
        self._loader = loader
        self._record = record
        self._shelves = shelves
        self._rights = rights
        self._embed = embed

    def routes(self) -> list[web.RouteDef]:
        return [route for prefix in PREFIXES for route in self._routes(f"{prefix}/vector_stores")]

    def _routes(self, stores: str) -> list[web.RouteDef]:
        one, files, batches = f"{stores}/{{store}}", f"{stores}/{{store}}/files", f"{stores}/{{store}}/file_batches"
        return [
            web.post(stores, self.create),
            web.get(stores, self.all),
            web.get(one, self.retrieve),
            web.post(one, self.modify),
            web.delete(one, self.delete),
            web.post(f"{one}/search", self.search),
            web.post(files, self.attach),
            web.get(files, self.files),
            web.get(f"{files}/{{file}}", self.file),
            web.post(f"{files}/{{file}}", self.modify_file),
            web.delete(f"{files}/{{file}}", self.detach),
            web.get(f"{files}/{{file}}/content", self.content),
            web.post(batches, self.create_batch),
            web.get(f"{batches}/{{batch}}", self.batch),
            web.post(f"{batches}/{{batch}}/cancel", self.cancel_batch),
            web.get(f"{batches}/{{batch}}/files", self.batch_files),
        ]

    # --- stores --------------------------------------------------------------------------------------------------

    async def create(self, http_request: web.Request) -> web.Response:
        tenant, body = self._tenant(http_request), await body_of(http_request)
        _refuse_expiry(body)
        name, metadata = text_of(body, "name", 256), _metadata(body.get("metadata"))
        files = await self._named_files(body.get("file_ids") or [], tenant)
        store = await asyncio.to_thread(self._library.create_store, tenant.id, name, metadata)
        await asyncio.to_thread(self._record.create, store.collection)
        if files:
            await asyncio.to_thread(self._library.attach, store, files, {})
            self._loader.wake()
        return reply(await asyncio.to_thread(self._shown, store))

    async def all(self, http_request: web.Request) -> web.Response:
        tenant, page = self._tenant(http_request), page_of(http_request)

        def work() -> list[dict[str, Any]]:
            found = self._library.stores(tenant, one_more(page))
            return [self._shown(store) for store in found if self._rights.reads(store, tenant)]

        return listed(await asyncio.to_thread(work), page, dict)

    async def retrieve(self, http_request: web.Request) -> web.Response:
        store, _ = await self._store(http_request)
        return reply(await asyncio.to_thread(self._shown, store))

    async def modify(self, http_request: web.Request) -> web.Response:
        store = await self._own(http_request)
        body = await body_of(http_request)
        _refuse_expiry(body)
        name = text_of(body, "name", 256, store.name)
        metadata = _metadata(body["metadata"]) if body.get("metadata") is not None else store.metadata
        changed = await asyncio.to_thread(self._library.change_store, store, name, metadata)
        return reply(await asyncio.to_thread(self._shown, changed))

    async def delete(self, http_request: web.Request) -> web.Response:
        store = await self._own(http_request)
        await asyncio.shield(self._loader.remove_store(store))
        return reply({"id": store.id, "object": "vector_store.deleted", "deleted": True})

    async def search(self, http_request: web.Request) -> web.Response:
        store, tenant = await self._store(http_request)
        body = await body_of(http_request)
        queries, most = _queries(body), _most(body)
        wanted = filter_of(body.get("filters"))
        threshold = _threshold(body.get("ranking_options"))
        depth = most if wanted is None else FILTERED_FROM
        rankings = [await self._find(store, tenant, query, depth) for query in queries]
        passages = {p.id: p for ranking in rankings for p in ranking}
        held = await asyncio.to_thread(self._library.attributes, store)
        data = []
        for id, _ in fuse([[p.id for p in ranking] for ranking in rankings], tie=str):
            shown = _result(passages[id], held)
            if shown["score"] >= threshold and (wanted is None or matches(wanted, shown["attributes"])):
                data.append(shown)
        found = {"data": data[:most], "has_more": False, "next_page": None}
        return reply({"object": "vector_store.search_results.page", "search_query": queries, **found})

    async def _find(self, store: Store, tenant: Tenant, query: str, depth: int) -> list[Passage]:
        embedding: asyncio.Task[Vector | None] | None = None

        async def vector() -> Vector | None:
            nonlocal embedding
            embedding = embedding or asyncio.ensure_future(self._embed(query))
            return await asyncio.shield(embedding)

        source = self._shelves.source(store.collection)
        return await source.search(Search(query, depth, tenant.groups, vector), Deadline.after(SEARCH_S))

    # --- files in stores -----------------------------------------------------------------------------------------

    async def attach(self, http_request: web.Request) -> web.Response:
        store, tenant = await self._fillable(http_request)
        body = await body_of(http_request)
        files = await self._named_files([body.get("file_id")], tenant)
        await asyncio.to_thread(self._library.attach, store, files, attributes_of(body.get("attributes")))
        self._loader.wake()
        return reply(_file_shown(await asyncio.to_thread(self._library.attached, store, files[0].id), files[0].bytes))

    async def files(self, http_request: web.Request) -> web.Response:
        return await self._listed_files(http_request, "")

    async def file(self, http_request: web.Request) -> web.Response:
        attached, file = await self._attached(http_request)
        return reply(_file_shown(attached, file.bytes))

    async def modify_file(self, http_request: web.Request) -> web.Response:
        await self._fillable(http_request)
        attached, file = await self._attached(http_request)
        attributes = attributes_of((await body_of(http_request)).get("attributes"))
        await asyncio.to_thread(self._library.set_attributes, attached, attributes)
        attached, file = await self._attached(http_request)
        return reply(_file_shown(attached, file.bytes))

    async def detach(self, http_request: web.Request) -> web.Response:
        """Out of this store; the file itself stays."""
        store, _ = await self._fillable(http_request)
        attached, file = await self._attached(http_request)

        def work() -> None:
            self._library.detach(attached)
            self._record.delete(store.collection, [file.document])

        await asyncio.shield(asyncio.to_thread(work))
        return reply({"id": file.id, "object": "vector_store.file.deleted", "deleted": True})

    async def content(self, http_request: web.Request) -> web.Response:
        """The text as it is searched."""
        store, _ = await self._store(http_request)
        attached, file = await self._attached(http_request)
        pieces = await asyncio.to_thread(self._record.text, store.collection, file.document)
        said = [{"type": "text", "text": piece.text} for piece in pieces]
        page = {"object": "vector_store.file_content.page", "data": said, "has_more": False, "next_page": None}
        return reply({**page, "file_id": file.id, "filename": file.filename, "attributes": attached.attributes})

    # --- batches -------------------------------------------------------------------------------------------------

    async def create_batch(self, http_request: web.Request) -> web.Response:
        store, tenant = await self._fillable(http_request)
        body = await body_of(http_request)
        if body.get("files") is not None:
            raise InvalidRequest("attributes for each file are not supported: add files one by one", param="files")
        files = await self._named_files(body.get("file_ids"), tenant)
        batch = f"vsfb_{secrets.token_hex(12)}"
        attributes = attributes_of(body.get("attributes"))
        await asyncio.to_thread(self._library.attach, store, files, attributes, batch)
        self._loader.wake()
        return await self._batch_shown(store, batch)

    async def batch(self, http_request: web.Request) -> web.Response:
        store, _ = await self._store(http_request)
        return await self._batch_shown(store, http_request.match_info["batch"])

    async def cancel_batch(self, http_request: web.Request) -> web.Response:
        store, _ = await self._fillable(http_request)
        await asyncio.to_thread(self._library.cancel, store, http_request.match_info["batch"])
        return await self._batch_shown(store, http_request.match_info["batch"])

    async def batch_files(self, http_request: web.Request) -> web.Response:
        store, _ = await self._store(http_request)
        await asyncio.to_thread(self._library.batch, store, http_request.match_info["batch"])
        return await self._listed_files(http_request, http_request.match_info["batch"])

    async def _batch_shown(self, store: Store, batch: str) -> web.Response:
        created_at = await asyncio.to_thread(self._library.batch, store, batch)
        counts = await asyncio.to_thread(self._library.counts, store, batch)
        ended = next((s for s in (IN_PROGRESS, CANCELLED, COMPLETED, FAILED) if counts.get(s)), COMPLETED)
        return reply(
            {
                "id": batch, "object": "vector_store.files_batch", "created_at": int(created_at), "status": ended,
                "vector_store_id": store.id, "file_counts": _counted(counts),
            }
        )  # fmt: skip

    # --- who and what --------------------------------------------------------------------------------------------

    async def _listed_files(self, http_request: web.Request, batch: str) -> web.Response:
        store, tenant = await self._store(http_request)
        page, status = page_of(http_request), http_request.query.get("filter", "")
        if status and status not in STATES:
            raise InvalidRequest(f"filter must be one of {', '.join(STATES)}", param="filter")

        def work() -> list[dict[str, Any]]:
            mine = self._library.files_of(store, tenant)
            found = self._library.in_store(store, one_more(page), status, batch)
            return [_file_shown(a, mine[a.file].bytes) for a in found if a.file in mine]

        return listed(await asyncio.to_thread(work), page, dict)

    async def _named_files(self, ids: object, tenant: Tenant) -> list[StoredFile]:
        if not isinstance(ids, list) or len(ids) > MAX_BATCH or not all(isinstance(id, str) for id in ids):
            raise InvalidRequest(f"give the ids of at most {MAX_BATCH} files, as POST /v1/files returned them",
                                 param="file_ids")  # fmt: skip
        return await asyncio.to_thread(lambda: [self._library.file(id, tenant) for id in dict.fromkeys(ids)])

    async def _attached(self, http_request: web.Request) -> tuple[Attached, StoredFile]:
        store, tenant = await self._store(http_request)
        file_id = http_request.match_info["file"]
        attached = await asyncio.to_thread(self._library.attached, store, file_id)
        return attached, await asyncio.to_thread(self._library.file, file_id, tenant)

    async def _store(self, http_request: web.Request) -> tuple[Store, Tenant]:
        """The store of the path, where its caller may read it."""
        tenant, store_id = self._tenant(http_request), http_request.match_info["store"]
        store = await asyncio.to_thread(self._library.store, store_id, tenant)
        if not self._rights.reads(store, tenant):
            raise no_store(store_id)
        return store, tenant

    async def _fillable(self, http_request: web.Request) -> tuple[Store, Tenant]:
        """The store of the path, where its caller may add and remove files."""
        store, tenant = await self._store(http_request)
        if not self._rights.writes(store, tenant):
            raise Forbidden(f"the collection {store.collection!r} belongs to the configuration; its `uploads` names "
                            "the tenants that may add files")  # fmt: skip
        return store, tenant

    async def _own(self, http_request: web.Request) -> Store:
        """The store of the path, where its caller may change or delete it."""
        store, tenant = await self._store(http_request)
        if store.tenant != tenant.id:
            raise Forbidden(f"the collection {store.collection!r} belongs to the configuration: change it there")
        if not await asyncio.to_thread(self._library.sees_all, store, tenant):
            raise Forbidden("the vector store holds files of groups that this key does not have")
        return store

    def _tenant(self, http_request: web.Request) -> Tenant:
        http_request[OPERATION] = "vector_stores"
        return self._keys.holder(presented(http_request.headers)).tenant

    def _shown(self, store: Store) -> dict[str, Any]:
        counts = self._library.counts(store)
        return {
            "id": store.id,
            "object": "vector_store",
            "created_at": int(store.created_at),
            "name": store.name,
            "usage_bytes": self._library.stored_bytes(store),
            "file_counts": _counted(counts),
            "status": IN_PROGRESS if counts.get(IN_PROGRESS) else COMPLETED,
            "expires_after": None,
            "expires_at": None,
            "last_active_at": None,
            "metadata": dict(store.metadata),
        }


def _file_shown(attached: Attached, size: int) -> dict[str, Any]:
    error = {"code": attached.code, "message": attached.message} if attached.status == FAILED else None
    return {
        "id": attached.file,
        "object": "vector_store.file",
        "created_at": int(attached.created_at),
        "vector_store_id": attached.store,
        "status": attached.status,
        "last_error": error,
        "usage_bytes": size if attached.status == COMPLETED else 0,
        "attributes": dict(attached.attributes),
        "chunking_strategy": {"type": "other"},  # by structure: headings, sentences, table rows
    }


def _result(passage: Passage, held: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A hit; its score is 1 for the first by words and by meaning alike, 0 for what neither finds."""
    file_id, filename = file_of(passage)
    said = {"type": "text", "text": f"{passage.section}\n{passage.text}" if passage.section else passage.text}
    return {
        "file_id": file_id,
        "filename": filename,
        "score": round(min(1.0, max(0.0, passage.score)), 6),
        "attributes": dict(held.get(file_id, {})),
        "content": [said],
    }


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {**{state: counts.get(state, 0) for state in STATES}, "total": sum(counts.values())}


def _queries(body: Mapping[str, Any]) -> list[str]:
    given = body.get("query")
    queries: Sequence[Any] = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if not 1 <= len(queries) <= MAX_QUERIES or not all(isinstance(q, str) and q.strip() for q in queries):
        raise InvalidRequest(f"query must be a text, or a list of up to {MAX_QUERIES} texts", param="query")
    return [query[:4096] for query in queries]


def _most(body: Mapping[str, Any]) -> int:
    most = body.get("max_num_results")
    if most is None:
        return USUAL_RESULTS
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_RESULTS:
        raise InvalidRequest(f"max_num_results must be a number from 1 to {MAX_RESULTS}", param="max_num_results")
    return most


def _threshold(options: object) -> float:
    given = options.get("score_threshold") if isinstance(options, dict) else None
    return float(given) if isinstance(given, int | float) else 0.0


def _metadata(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > 16:
        raise InvalidRequest("metadata must be an object of at most 16 texts", param="metadata")
    for key, value in given.items():
        if len(key) > 64 or not isinstance(value, str) or len(value) > 512:
            raise InvalidRequest("metadata has keys of up to 64 and texts of up to 512 characters", param="metadata")
    return given


def _refuse_expiry(body: Mapping[str, Any]) -> None:
    if body.get("expires_after") is not None:
        raise InvalidRequest("vector stores do not expire here: delete them", param="expires_after")
