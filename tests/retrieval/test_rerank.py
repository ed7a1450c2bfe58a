"""Rerankers over real sockets: a server that checks the call and answers in the shapes the services document."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest
from aiohttp import web

from bench.provider import ProviderConfig, running_provider
from gateway.chat import Evidence, Passage
from gateway.clock import Deadline
from gateway.retrieval.breaker import FAILURES
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.record import Record
from gateway.retrieval.rerank import HttpReranker
from gateway.retrieval.sources.rest import SourceError
from tests.retrieval.fakes import ScriptedSource, Service, no_vector, passage

FOUND = [passage("a.md", 0, "연차는 15일"), passage("b.md", 0, "병가는 5일"), passage("c.md", 0, "반차는 4시간")]


def documents(passages: Sequence[Passage]) -> list[str]:
    return [p.document for p in passages]


async def test_the_shape_that_cohere_jina_vllm_and_litellm_share(
    service: Service, session: aiohttp.ClientSession
) -> None:
    service.reply = lambda request, body: {
        "id": "x", "model": "r",
        "results": [{"index": 2, "relevance_score": 0.9, "document": {}}, {"index": 0, "relevance_score": 0.1}],
    }  # fmt: skip
    rerank = HttpReranker(session, f"{service.url}/v1/rerank", model="bge", headers={"authorization": "Bearer k"})
    ranked = await rerank("반차는?", FOUND, Deadline.after(5))
    assert documents(ranked) == ["c.md", "a.md", "b.md"]  # what the service leaves out comes last
    assert [p.score for p in ranked] == [0.9, 0.1, 0.1]
    path, headers, body = service.sent[0]
    assert (path, headers["Authorization"]) == ("/v1/rerank", "Bearer k")
    assert body == {
        "model": "bge", "query": "반차는?", "top_n": 3, "documents": [f"제목 > 절\n{p.text}" for p in FOUND],
    }  # fmt: skip


async def test_text_embeddings_inference(service: Service, session: aiohttp.ClientSession) -> None:
    service.reply = lambda request, body: web.json_response([{"index": 1, "score": 3.5}, {"index": 0, "score": -2.0},
                                                             {"index": 2, "score": -4.0}])  # fmt: skip
    ranked = await HttpReranker(session, service.url, kind="tei")("병가는?", FOUND, Deadline.after(5))
    assert documents(ranked) == ["b.md", "a.md", "c.md"]
    assert service.sent[0][2] == {
        "query": "병가는?",
        "texts": [f"제목 > 절\n{p.text}" for p in FOUND],
        "truncate": True,
    }


@pytest.mark.parametrize(
    "reply",
    [
        {"results": [{"index": 3, "relevance_score": 1.0}]}, {"results": [{"index": 0}]}, {"results": []}, {"data": []},
        [], "no", {"results": [{"index": "x", "relevance_score": 1}]}, {"results": {"a": 1}},
    ],
)  # fmt: skip
async def test_a_reply_that_ranks_nothing_or_something_else_is_an_error(
    service: Service, session: aiohttp.ClientSession, reply: object
) -> None:
    service.reply = lambda request, body: web.json_response(reply)
    with pytest.raises(SourceError):
        await HttpReranker(session, service.url)("?", FOUND, Deadline.after(5))


async def gather(gatherer: Gatherer) -> Evidence:
    return await gatherer.gather("연차", frozenset(), ["hr"], no_vector, Deadline.after(5))


async def test_one_that_hangs_costs_the_hard_limit_a_few_times_then_nothing(
    record: Record, service: Service, session: aiohttp.ClientSession
) -> None:
    app = web.Application()

    async def hang(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        await asyncio.Event().wait()
        raise AssertionError

    asked: list[str] = []
    app.router.add_post("/rerank", hang)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told: list[tuple[str, str]] = []
    rerank = HttpReranker(session, f"http://127.0.0.1:{runner.addresses[0][1]}/rerank")
    gatherer = Gatherer(
        {"hr": ScriptedSource("hr", FOUND)}, record, top_k=1, hard_s=0.05, rerank=rerank,
        on_source=lambda source, outcome, seconds: told.append((source, outcome)),
    )  # fmt: skip
    for _ in range(FAILURES + 2):
        assert (await gather(gatherer)).ids == ("hr/a.md#0",)  # the order of before
    assert len(asked) == FAILURES
    assert told.count(("rerank", "late")) == FAILURES
    assert told.count(("rerank", "skipped")) == 2
    await runner.cleanup()


async def test_one_that_fails_changes_nothing(record: Record, service: Service, session: aiohttp.ClientSession) -> None:
    service.reply = lambda request, body: web.Response(status=503)
    told: list[tuple[str, str]] = []
    gatherer = Gatherer(
        {"hr": ScriptedSource("hr", FOUND)}, record, top_k=1, rerank=HttpReranker(session, service.url),
        on_source=lambda source, outcome, seconds: told.append((source, outcome)),
    )  # fmt: skip
    assert (await gather(gatherer)).ids == ("hr/a.md#0",)
    assert ("rerank", "failed") in told


async def test_the_stand_in_provider_reranks(session: aiohttp.ClientSession) -> None:
    async with running_provider(ProviderConfig(profile="instant")) as provider:
        rerank = HttpReranker(session, f"{provider.base_url}/rerank", model="any")
        ranked = await rerank("반차는 몇 시간인가요?", FOUND, Deadline.after(5))
    assert ranked[0].document == "c.md"
    assert ranked[0].score > ranked[1].score
