"""OpenAI's ``/v1/files``, served here for our own vector stores."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from gateway.chat import Tenant
from gateway.errors import GatewayError, InvalidRequest
from gateway.ingress.auth import KeyRing, presented
from gateway.ingress.caller import OPERATION
from gateway.ingress.uploads import PREFIXES, listed, one_more, page_of, receive, reply
from gateway.retrieval.uploads.holdings import StoredFile
from gateway.retrieval.uploads.library import Library
from gateway.retrieval.uploads.loader import Loader

PURPOSES = ("assistants", "user_data")


class QuotaExceeded(InvalidRequest):
    status, code = 413, "storage_quota_exceeded"


class Files:
    """Handlers. ``max_bytes`` of one file, ``quota_bytes`` of all files of a tenant."""

    def __init__(self, keys: KeyRing, library: Library, loader: Loader, *, max_bytes: int, quota_bytes: int) -> None:
        self._keys = keys
        self._library = library
        self._loader = loader
        self._max_bytes = max_bytes
        self._quota_bytes = quota_bytes

    def routes(self) -> list[web.RouteDef]:
        return [
            route
            for prefix in PREFIXES
            for route in (
                web.post(f"{prefix}/files", self.create),
                web.get(f"{prefix}/files", self.all),
                web.get(f"{prefix}/files/{{file}}", self.retrieve),
                web.delete(f"{prefix}/files/{{file}}", self.delete),
                web.get(f"{prefix}/files/{{file}}/content", self.content),
            )
        ]

    async def create(self, http_request: web.Request) -> web.Response:
        tenant = self._tenant(http_request)
        used = await asyncio.to_thread(self._library.used_bytes, tenant)
        if used >= self._quota_bytes:
            raise QuotaExceeded("the space for uploaded files is used up (files.max_total_mb); delete some")
        part = self._library.part()
        try:
            upload = await receive(http_request, part, min(self._max_bytes, self._quota_bytes - used))
            purpose = upload.fields.get("purpose", "")
            if purpose not in PURPOSES:
                raise InvalidRequest(
                    f"purpose must be {' or '.join(PURPOSES)}: this gateway keeps files for its own vector stores "
                    "(files.api)", param="purpose",
                )  # fmt: skip
            file = await asyncio.to_thread(self._library.add, part, tenant, upload.filename, purpose)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        return reply(shown(file))

    async def all(self, http_request: web.Request) -> web.Response:
        tenant, page = self._tenant(http_request), page_of(http_request, most=10_000, usual=10_000)
        purpose = http_request.query.get("purpose", "")
        found = await asyncio.to_thread(self._library.files, tenant, one_more(page), purpose)
        return listed(found, page, shown)

    async def retrieve(self, http_request: web.Request) -> web.Response:
        return reply(shown(await self._file(http_request)))

    async def delete(self, http_request: web.Request) -> web.Response:
        """The file, its place in every vector store, and what was to be found of it."""
        file = await self._file(http_request)
        await asyncio.shield(self._loader.remove_file(file))
        return reply({"id": file.id, "object": "file", "deleted": True})

    async def content(self, http_request: web.Request) -> web.StreamResponse:
        file = await self._file(http_request)
        path = self._library.path(file.id)
        if not await asyncio.to_thread(path.exists):
            raise GatewayError("the bytes of this file are gone; upload it again", code="file_missing")
        headers = {"content-type": "application/octet-stream", "x-content-type-options": "nosniff"}
        return web.FileResponse(path, headers=headers)

    async def _file(self, http_request: web.Request) -> StoredFile:
        tenant = self._tenant(http_request)
        return await asyncio.to_thread(self._library.file, http_request.match_info["file"], tenant)

    def _tenant(self, http_request: web.Request) -> Tenant:
        http_request[OPERATION] = "files"
        return self._keys.holder(presented(http_request.headers)).tenant


def shown(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }
