from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gateway.embedding.cached import CachedEmbedder
from gateway.embedding.english import ByLanguage, EnglishEmbedder
from gateway.embedding.hashing import HashingEmbedder
from gateway.embedding.local import Engine, EngineEmbedder, Later, LocalEmbedder
from gateway.embedding.upstream import UpstreamEmbedder
from gateway.errors import UpstreamBroken, UpstreamError
from gateway.ports import Embedder, Vectors

TEXTS = ["연차는 며칠인가요?", "How many days of leave?", "법인카드 한도"]


async def post(body: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = await HashingEmbedder(8).embed(body["input"], query=True)
    data = [{"index": i, "embedding": (3 * row).tolist()} for i, row in enumerate(rows)]
    return {"data": data[::-1]}


@pytest.fixture(params=["local", "by language", "hashing", "upstream", "cached"], scope="module")
def embedder(request: pytest.FixtureRequest) -> Embedder:
    made: dict[str, Any] = {
        "local": lambda: LocalEmbedder(1),
        "by language": lambda: ByLanguage(EnglishEmbedder(), LocalEmbedder(1)),
        "hashing": HashingEmbedder,
        "upstream": lambda: UpstreamEmbedder(post, "ada", 8),
        "cached": lambda: CachedEmbedder(HashingEmbedder()),
    }
    embedder: Embedder = made[request.param]()
    return embedder


async def test_one_unit_row_per_text_in_order(embedder: Embedder) -> None:
    rows = await embedder.embed(TEXTS, query=True)
    assert rows.shape == (3, embedder.dimensions)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-4)
    for text, row in zip(TEXTS, rows, strict=True):
        assert np.allclose((await embedder.embed([text], query=True))[0], row, atol=1e-3)


async def test_no_texts_no_rows(embedder: Embedder) -> None:
    assert (await embedder.embed([], query=True)).shape == (0, embedder.dimensions)


@pytest.mark.parametrize("text", ["", " ", "\0", "a\0b", "\ud800", "가" * 5_000, "😀" * 50])
async def test_odd_text_has_a_vector_too(embedder: Embedder, text: str) -> None:
    assert np.isfinite(await embedder.embed([text], query=True)).all()


async def test_the_local_embedder_leaves_the_loop_free() -> None:
    embedder = LocalEmbedder(1)
    ticks = 0
    work = asyncio.ensure_future(embedder.embed(["긴 질문입니다 " * 60], query=True))
    while not work.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert ticks > 3
    await embedder.close()


async def test_an_engine_for_later_is_loaded_once_for_the_first_text() -> None:
    loaded: list[int] = []

    class Ones:
        def encode(self, texts: Sequence[str], *, query: bool) -> Vectors:
            return np.ones((len(texts), 1), np.float32)

    def load() -> Engine:
        loaded.append(1)
        return Ones()

    embedder = EngineEmbedder(Later(load), "ones", 1)
    assert not loaded
    await asyncio.gather(*(embedder.embed([text], query=query) for text in "ab" for query in (True, False)))
    assert len(loaded) == 1
    await embedder.close()


@pytest.mark.parametrize(
    "reply",
    [{}, {"data": []}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": [1.0]}]}, {"data": "x"},
     {"data": [{"index": 0, "embedding": [float("nan")] * 8}]}],
)  # fmt: skip
async def test_a_strange_reply_is_the_endpoints_fault(reply: dict[str, Any]) -> None:
    async def strange(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return reply

    with pytest.raises(UpstreamBroken):
        await UpstreamEmbedder(strange, "ada", 8).embed(["q"], query=True)


class Counting:
    model, dimensions = "counting", 8

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[list[str]] = []
        self.error = error
        self.gate = asyncio.Event()

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        self.batches.append(list(texts))
        await self.gate.wait()
        if self.error:
            raise self.error
        return await HashingEmbedder(8).embed(texts, query=query)


async def test_a_question_is_embedded_once_however_often_and_oddly_it_is_written() -> None:
    inner = Counting()
    inner.gate.set()
    cached = CachedEmbedder(inner)
    for text in ("연차 며칠", " 연차  며칠 ", unicodedata.normalize("NFD", "연차 며칠")):
        await cached.embed([text], query=True)
    assert inner.batches == [["연차 며칠"]]
    await cached.close()


async def test_questions_that_wait_go_together_and_twins_once() -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, batch_size=4)
    asked = [asyncio.create_task(cached.embed([f"q{i % 6}"], query=True)) for i in range(12)]
    await asyncio.sleep(0.01)
    inner.gate.set()
    await asyncio.gather(*asked)
    assert inner.batches == [["q0", "q1", "q2", "q3"], ["q4", "q5"]]
    await cached.close()


async def test_a_full_queue_refuses_at_once() -> None:
    inner = Counting()
    cached = CachedEmbedder(inner, max_waiting=2, batch_size=1)
    asked = [asyncio.create_task(cached.embed([f"q{i}"], query=True)) for i in range(2)]
    await asyncio.sleep(0.01)
    asked.append(asyncio.create_task(cached.embed(["q3"], query=True)))
    await asyncio.sleep(0.01)
    with pytest.raises(UpstreamError):
        await cached.embed(["q4"], query=True)
    inner.gate.set()
    await asyncio.gather(*asked)
    await cached.close()


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    inner = Counting(RuntimeError("boom"))
    inner.gate.set()
    cached = CachedEmbedder(inner)
    asked = [cached.embed(["q"], query=True) for _ in range(3)]
    assert all(isinstance(r, UpstreamError) for r in await asyncio.gather(*asked, return_exceptions=True))
    inner.error = None
    assert (await cached.embed(["q"], query=True)).shape == (1, 8)
    await cached.close()


async def test_one_who_gives_up_does_not_spoil_it_for_others() -> None:
    inner = Counting()
    cached = CachedEmbedder(inner)
    hasty, patient = (asyncio.create_task(cached.embed(["q"], query=True)) for _ in range(2))
    await asyncio.sleep(0.01)
    hasty.cancel()
    inner.gate.set()
    assert (await patient).shape == (1, 8)
    await cached.close()
