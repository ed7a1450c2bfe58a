"""Qdrant by its REST API (``/points/query``, 1.10 and later): by meaning only, so it needs the question's vector."""

from __future__ import annotations

from typing import Any

import aiohttp

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.sources.rest import DEFAULT_FIELDS, Fields, SourceError, passage, post


class QdrantSource:
    """``using`` names the vector where the collection's points have several."""

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        url: str,
        collection: str,
        *,
        api_key: str = "",
        fields: Fields = DEFAULT_FIELDS,
        using: str = "",
    ) -> None:
        self.name = name
        self._session = session
        self._url = f"{url.rstrip('/')}/collections/{collection}/points/query"
        self._headers = {"api-key": api_key} if api_key else {}
        self._fields = fields
        self._using = using

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        vector = await search.vector()
        if vector is None:
            raise SourceError(f"{self.name}: no vector for the question, and Qdrant is searched by meaning only")
        visible: list[dict[str, Any]] = [{"is_empty": {"key": self._fields.groups}}]
        if search.groups:
            visible.append({"key": self._fields.groups, "match": {"any": sorted(search.groups)}})
        body: dict[str, Any] = {
            "query": vector.tolist(),
            "limit": search.k,
            "with_payload": self._fields.names(),
            "filter": {"should": visible},
        }
        if self._using:
            body["using"] = self._using
        reply = await post(self._session, self._url, body, self._headers, deadline)
        try:
            hits = [(point["payload"] or {}, float(point["score"])) for point in reply["result"]["points"]]
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self._url}: not a query reply") from error
        return [p for payload, score in hits if (p := passage(self.name, payload, self._fields, score)) is not None]
