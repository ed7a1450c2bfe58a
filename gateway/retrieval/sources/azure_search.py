"""Azure AI Search by its REST API: hybrid (words and vector, fused by the service), semantic ranker where set up."""

from __future__ import annotations

from typing import Any

import aiohttp

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.sources.rest import Fields, SourceError, passage, post

AZURE_FIELDS = Fields(
    text="content", document="filepath", title="title", section="", position="chunk_id", version="", groups="",
    vector="contentVector",
)  # fmt: skip # what "On Your Data" indexes have


class AzureSearchSource:
    """``semantic`` names a semantic configuration of the index; "" leaves the semantic ranker out."""

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        endpoint: str,
        index: str,
        *,
        api_key: str,
        api_version: str = "2024-07-01",
        fields: Fields = AZURE_FIELDS,
        semantic: str = "",
    ) -> None:
        self.name = name
        self._session = session
        self._url = f"{endpoint.rstrip('/')}/indexes/{index}/docs/search?api-version={api_version}"
        self._headers = {"api-key": api_key}
        self._fields = fields
        self._semantic = semantic

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        vector = await search.vector() if self._fields.vector else None
        body: dict[str, Any] = {"search": search.text, "top": search.k, "select": ",".join(self._fields.names())}
        if vector is not None:
            near = {"kind": "vector", "vector": vector.tolist(), "fields": self._fields.vector, "k": 50}
            body["vectorQueries"] = [near]  # 50: fewer starves the service's own fusion
        if self._semantic:
            body |= {"queryType": "semantic", "semanticConfiguration": self._semantic}
        if self._fields.groups:
            body["filter"] = _visible(self._fields.groups, search.groups)
        reply = await post(self._session, self._url, body, self._headers, deadline)
        try:
            hits = [(row, float(row.get("@search.rerankerScore") or row["@search.score"])) for row in reply["value"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{self._url}: not a search reply") from error
        return [p for row, score in hits if (p := passage(self.name, row, self._fields, score)) is not None]


def _visible(field: str, groups: frozenset[str]) -> str:
    """OData: passages without groups, or with one of the caller's."""
    free = f"not {field}/any()"
    if not groups:
        return free
    names = "|".join(sorted(group for group in groups if "|" not in group)).replace("'", "''")
    return f"{free} or {field}/any(g: search.in(g, '{names}', '|'))"
