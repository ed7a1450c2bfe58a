"""A customer's own search behind one plain HTTP call.

POST url  {"query": "...", "k": 12, "groups": ["hr"], "vector": [..] or null}
200       {"passages": [{"document": "...", "text": "...", "title": "", "section": "", "position": 0,
                         "score": 1.0, "version": "..."}]}      best first; only document and text are required
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.sources.rest import Fields, SourceError, passage, post


class HttpSource:
    """``send_vector`` waits for the question's vector and sends it along; else only the words are sent."""

    def __init__(
        self,
        name: str,
        session: aiohttp.ClientSession,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        send_vector: bool = False,
    ) -> None:
        self.name = name
        self._session = session
        self._url = url
        self._headers = dict(headers or {})
        self._send_vector = send_vector

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        vector = await search.vector() if self._send_vector else None
        body = {
            "query": search.text,
            "k": search.k,
            "groups": sorted(search.groups),  # the service must honour them: we cannot check
            "vector": vector.tolist() if vector is not None else None,
        }
        reply = await post(self._session, self._url, body, self._headers, deadline)
        rows = reply.get("passages") if isinstance(reply, dict) else None
        if not isinstance(rows, list):
            raise SourceError(f'{self._url}: the reply has no list "passages"')
        found = [
            passage(self.name, row, Fields(), float(row.get("score") or 0.0)) for row in rows if isinstance(row, dict)
        ]
        return [one for one in found if one is not None][: search.k]
