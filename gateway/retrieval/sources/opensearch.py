"""OpenSearch and Elasticsearch by their REST API: BM25 and k-NN as two searches side by side, fused here.

Fusing here rather than in a search pipeline works on every version and licence, and lets the words go on alone when the
vector is late. The k-NN query differs: OpenSearch has it inside ``query``, Elasticsearch beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.fusion import fuse
from gateway.retrieval.sources.rest import DEFAULT_FIELDS, Fields, SourceError, passage, post


class OpenSearchSource:
    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        url: str,
        index: str,
        *,
        headers: Mapping[str, str] | None = None,
        fields: Fields = DEFAULT_FIELDS,
        flavor: Literal["opensearch", "elasticsearch"] = "opensearch",
        dense: bool = True,
    ) -> None:
        self.name = name
        self._session = session
        self._url = f"{url.rstrip('/')}/{index}/_search"
        self._headers = dict(headers or {})
        self._fields = fields
        self._flavor = flavor
        self._dense = dense

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        legs = [self._hits(self._by_words(search), deadline)]
        if self._dense:
            legs.append(self._by_meaning(search, deadline))
        words, *meaning = await asyncio.gather(*legs, return_exceptions=True)
        if isinstance(words, BaseException):
            raise words
        rankings = [words, *(found for found in meaning if not isinstance(found, BaseException))]
        passages = {p.id: p for ranking in rankings for p in ranking}
        return [passages[id] for id, _ in fuse([[p.id for p in ranking] for ranking in rankings], tie=str)][: search.k]

    def _by_words(self, search: Search) -> dict[str, Any]:
        matched = [f"{name}{boost}" for name, boost in ((self._fields.text, ""), (self._fields.title, "^2")) if name]
        query = {
            "bool": {
                "must": [{"multi_match": {"query": search.text, "fields": matched}}],
                "filter": [self._visible(search)],
            }
        }
        return {"size": search.k, "query": query, "_source": self._fields.names()}

    async def _by_meaning(self, search: Search, deadline: Deadline) -> list[Passage]:
        vector = await search.vector()
        if vector is None:
            return []
        near = {"vector": vector.tolist(), "k": search.k, "filter": self._visible(search)}
        body: dict[str, Any] = {"size": search.k, "_source": self._fields.names()}
        if self._flavor == "opensearch":
            body["query"] = {"knn": {self._fields.vector: near}}
        else:
            near["query_vector"] = near.pop("vector")
            body["knn"] = {"field": self._fields.vector, "num_candidates": max(100, search.k), **near}
        return await self._hits(body, deadline)

    def _visible(self, search: Search) -> dict[str, Any]:
        """Passages without groups, or with one of the caller's."""
        free = {"bool": {"must_not": [{"exists": {"field": self._fields.groups}}]}}
        theirs = {"terms": {self._fields.groups: sorted(search.groups)}}
        return {"bool": {"should": [free, theirs], "minimum_should_match": 1}}

    async def _hits(self, body: Mapping[str, Any], deadline: Deadline) -> list[Passage]:
        reply = await post(self._session, self._url, body, self._headers, deadline)
        try:
            hits = [(hit["_source"], float(hit["_score"] or 0.0)) for hit in reply["hits"]["hits"]]
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self._url}: not a search reply") from error
        return [p for source, score in hits if (p := passage(self.name, source, self._fields, score)) is not None]
