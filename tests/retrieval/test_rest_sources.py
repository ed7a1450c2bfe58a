"""Sources behind HTTP APIs, against a server that checks requests and answers in the shapes the services document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.sources.azure_search import AzureSearchSource
from gateway.retrieval.sources.http import HttpSource
from gateway.retrieval.sources.opensearch import OpenSearchSource
from gateway.retrieval.sources.qdrant import QdrantSource
from gateway.retrieval.sources.rest import Fields, SourceError
from tests.retrieval.fakes import Service, no_vector

PASSAGE = {
    "document": "leave.md",
    "text": "연차는 16일",
    "title": "연차",
    "section": "발생",
    "position": 2,
    "version": "7",
}
GROUPS = frozenset({"hr", "o'neil"})


def ask(vector: Callable[[], Awaitable[Vector | None]] | None = None, groups: frozenset[str] = GROUPS) -> Search:
    async def known() -> Vector | None:
        return np.array([0.5, -0.5], np.float32)

    return Search("연차 며칠?", 3, groups, vector or known)


def soon() -> Deadline:
    return Deadline.after(5.0)


async def test_plain_http(service: Service, session: aiohttp.ClientSession) -> None:
    service.reply = lambda request, body: {
        "passages": [{**PASSAGE, "score": 2.5}, {"document": "x"}, {"text": "only text"}]
    }
    source = HttpSource("hr", session, f"{service.url}/find", headers={"x-key": "1"}, send_vector=True)
    first, second = await source.search(ask(), soon())
    assert (first.id, first.version, first.section, first.score) == ("hr/leave.md#2", "7", "발생", 2.5)
    assert second.version  # of its text, so that a changed text is another version
    path, headers, body = service.sent[0]
    assert (path, headers["x-key"]) == ("/find", "1")
    assert body == {"query": "연차 며칠?", "k": 3, "groups": ["hr", "o'neil"], "vector": [0.5, -0.5]}


@pytest.mark.parametrize(
    "reply",
    [
        {"passages": None},
        [],
        web.Response(status=503, text="down"),
        web.Response(text="<html>"),
        web.Response(status=302, headers={"location": "http://127.0.0.1:1/"}),
    ],
)
async def test_what_is_no_answer_is_an_error(service: Service, session: aiohttp.ClientSession, reply: Any) -> None:
    service.reply = lambda request, body: reply
    with pytest.raises(SourceError):
        await HttpSource("hr", session, service.url + "/", send_vector=False).search(ask(), soon())


async def test_a_reply_without_end_is_cut(service: Service, session: aiohttp.ClientSession) -> None:
    service.reply = lambda request, body: web.Response(body=b" " * (9 << 20))
    with pytest.raises(SourceError, match="larger"):
        await HttpSource("hr", session, service.url + "/").search(ask(), soon())


async def test_a_service_that_does_not_answer_ends_with_the_deadline(session: aiohttp.ClientSession) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await HttpSource("hr", session, f"http://127.0.0.1:{port}/").search(ask(), Deadline.after(0.05))


def opensearch_reply(*rows: dict[str, Any]) -> dict[str, Any]:
    hits = [{"_index": "i", "_id": str(n), "_score": 9.0 - n, "_source": row} for n, row in enumerate(rows)]
    return {"took": 3, "timed_out": False, "hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}


@pytest.mark.parametrize("flavor", ["opensearch", "elasticsearch"])
async def test_opensearch_fuses_words_and_meaning(
    service: Service, session: aiohttp.ClientSession, flavor: Any
) -> None:
    other = {**PASSAGE, "document": "vpn.md"}

    def reply(request: web.Request, body: Any) -> Any:
        return opensearch_reply(PASSAGE) if "bool" in body.get("query", {}) else opensearch_reply(other, PASSAGE)

    service.reply = reply
    source = OpenSearchSource("hr", session, service.url, "docs", flavor=flavor)
    assert [p.document for p in await source.search(ask(), soon())] == ["leave.md", "vpn.md"]
    bodies = {("words" if "bool" in body.get("query", {}) else "meaning"): body for _, _, body in service.sent}
    visible = bodies["words"]["query"]["bool"]["filter"][0]["bool"]
    assert visible["should"][1] == {"terms": {"groups": ["hr", "o'neil"]}}
    near = bodies["meaning"]["query"]["knn"]["vector"] if flavor == "opensearch" else bodies["meaning"]["knn"]
    assert near["vector" if flavor == "opensearch" else "query_vector"] == [0.5, -0.5]
    assert near["filter"]["bool"] == visible
    assert {path for path, _, _ in service.sent} == {"/docs/_search"}


async def test_opensearch_goes_on_with_words_when_meaning_fails(
    service: Service, session: aiohttp.ClientSession
) -> None:
    service.reply = lambda request, body: (
        opensearch_reply(PASSAGE) if "bool" in body["query"] else web.json_response({"error": "no knn"}, status=400)
    )
    source = OpenSearchSource("hr", session, service.url, "docs")
    assert len(await source.search(ask(), soon())) == 1
    assert len(await source.search(ask(no_vector), soon())) == 1


async def test_qdrant(service: Service, session: aiohttp.ClientSession) -> None:
    point = {"id": "a1", "version": 3, "score": 0.87, "payload": PASSAGE}
    service.reply = lambda request, body: {"result": {"points": [point]}, "status": "ok", "time": 0.001}
    source = QdrantSource("hr", session, service.url, "docs", api_key="k", using="dense")
    (found,) = await source.search(ask(), soon())
    assert (found.text, found.score) == ("연차는 16일", 0.87)
    path, headers, body = service.sent[0]
    assert (path, headers["api-key"]) == ("/collections/docs/points/query", "k")
    assert body["using"] == "dense"
    assert body["filter"]["should"] == [
        {"is_empty": {"key": "groups"}},
        {"key": "groups", "match": {"any": ["hr", "o'neil"]}},
    ]
    with pytest.raises(SourceError, match="vector"):
        await source.search(ask(no_vector), soon())


async def test_azure_search(service: Service, session: aiohttp.ClientSession) -> None:
    row = {"@search.score": 0.03, "@search.rerankerScore": 2.9, "content": "연차는 16일", "title": "연차",
           "filepath": "leave.md", "chunk_id": "2"}  # fmt: skip
    service.reply = lambda request, body: {"@odata.context": "…", "value": [row]}
    fields = Fields("content", "filepath", "title", "", "chunk_id", "", "groups", "contentVector")
    source = AzureSearchSource("hr", session, service.url, "docs", api_key="k", fields=fields, semantic="default")
    (found,) = await source.search(ask(), soon())
    assert (found.id, found.score) == ("hr/leave.md#2", 2.9)
    path, headers, body = service.sent[0]
    assert path == "/indexes/docs/docs/search?api-version=2024-07-01"
    assert headers["api-key"] == "k"
    assert body["vectorQueries"] == [{"kind": "vector", "vector": [0.5, -0.5], "fields": "contentVector", "k": 50}]
    assert body["filter"] == "not groups/any() or groups/any(g: search.in(g, 'hr|o''neil', '|'))"
    assert (body["queryType"], body["select"]) == ("semantic", "content,filepath,title,chunk_id")
    await source.search(ask(no_vector, frozenset()), soon())
    assert "vectorQueries" not in service.sent[1][2]
    assert service.sent[1][2]["filter"] == "not groups/any()"
