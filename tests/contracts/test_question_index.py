"""What every QuestionIndex promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from gateway.cache.memory import MemoryIndex
from gateway.cache.redis_index import RedisIndex
from gateway.cache.redis_journal import JournalIndex
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.chat import CachedQuestion, Scope
from gateway.ports import QuestionIndex
from tests.cache.makers import SECRET, Wall, key, unit

SCOPE = key().scope


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=["memory", "redis resp2", "redis resp3", "journal resp2", "journal resp3"])
async def index(request: pytest.FixtureRequest, wall: Wall) -> AsyncIterator[QuestionIndex]:
    if request.param == "memory":
        yield MemoryIndex(wall_clock=wall)
        return
    url = f"{request.getfixturevalue('redis_url')}?protocol={request.param[-1]}"
    wall.now = 4_000_000_000.0  # Redis expires keys by its own clock: keep ours ahead of it
    link = RedisLink(redis_client(url, timeout_s=1), timeout_s=1)
    kind = JournalIndex if request.param.startswith("journal") else RedisIndex
    yield kind(link, SECRET, max_ttl_s=400, wall_clock=wall)
    await link.close()


async def test_the_most_similar_question_comes_first(index: QuestionIndex) -> None:
    await index.add(CachedQuestion("연차는 며칠?", key("a")), unit(1, 0, 0, 0), 60)
    await index.add(CachedQuestion("병가는 며칠?", key("b")), unit(1, 1, 0, 0), 60)
    await index.add(CachedQuestion("식비 한도는?", key("c")), unit(0, 0, 1, 0), 60)
    found = await index.search(SCOPE, unit(1, 0.1, 0, 0), 2)
    assert [neighbor.question.text for neighbor in found] == ["연차는 며칠?", "병가는 며칠?"]
    assert found[0].similarity == pytest.approx(0.995, abs=0.005)
    assert found[0].question.key == key("a")


async def test_search_never_leaves_its_scope(index: QuestionIndex) -> None:
    await index.add(CachedQuestion("q", key("a")), unit(1, 0), 60)
    assert await index.search(Scope("acme", "other"), unit(1, 0), 5) == []
    assert await index.search(Scope("globex", SCOPE.digest), unit(1, 0), 5) == []


async def test_a_question_ends_with_its_time_to_live(index: QuestionIndex, wall: Wall) -> None:
    await index.add(CachedQuestion("short", key("a")), unit(1, 0), 10)
    await index.add(CachedQuestion("long", key("b")), unit(1, 0.1), 390)
    wall.now += 11
    assert [n.question.text for n in await index.search(SCOPE, unit(1, 0), 5)] == ["long"]
    wall.now += 350  # some buckets later
    assert [n.question.text for n in await index.search(SCOPE, unit(1, 0), 5)] == ["long"]
    wall.now += 50
    assert await index.search(SCOPE, unit(1, 0), 5) == []


async def test_the_same_question_is_found_once_with_its_latest_answer(index: QuestionIndex, wall: Wall) -> None:
    await index.add(CachedQuestion("q", key("old")), unit(1, 0), 300)
    wall.now += 150
    await index.add(CachedQuestion("q", key("new")), unit(1, 0), 300)
    found = await index.search(SCOPE, unit(1, 0), 5)
    assert [neighbor.question.key.digest for neighbor in found] == ["new"]


async def test_several_questions_may_share_one_answer(index: QuestionIndex) -> None:
    await index.add(CachedQuestion("one wording", key("a")), unit(1, 0), 60)
    await index.add(CachedQuestion("another", key("a")), unit(0, 1), 60)
    assert {n.question.key.digest for n in await index.search(SCOPE, unit(1, 1), 5)} == {"a"}


async def test_vectors_of_another_size_are_another_index(index: QuestionIndex) -> None:
    await index.add(CachedQuestion("q", key("a")), unit(1, 0), 60)
    assert await index.search(SCOPE, unit(1, 0, 0), 5) == []
    await index.add(CachedQuestion("q", key("a")), unit(1, 0, 0), 60)
    assert len(await index.search(SCOPE, unit(1, 0, 0), 5)) == 1


async def test_similarity_is_the_cosine_within_quantisation(index: QuestionIndex) -> None:
    generator = np.random.default_rng(7)
    rows = [unit(*generator.normal(size=64)) for _ in range(100)]
    for number, row in enumerate(rows):
        await index.add(CachedQuestion(str(number), key(str(number))), row, 60)
    wanted = unit(*generator.normal(size=64))
    for neighbor in await index.search(SCOPE, wanted, 8):
        true = float(rows[int(neighbor.question.text)] @ wanted)
        assert neighbor.similarity == pytest.approx(true, abs=0.01)
