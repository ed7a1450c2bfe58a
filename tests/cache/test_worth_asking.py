"""A judge errs now and then: only what is likely the same question is put to him."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gateway.cache.decision import Decision
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.semantic import WORTH_ASKING, SemanticCache
from gateway.chat import CachedQuestion, CacheKey, CacheWishes, Evidence, Neighbor
from gateway.ports import Vector
from tests.cache.makers import Record, Wall, ask, entry, evidence, keys_of, passage, unit


class Unsure:
    """Serves nothing by itself; knows the chance of each kept answer."""

    candidates = 8

    def __init__(self, chances: Mapping[str, float]) -> None:
        self.chances = chances

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        return Decision(None, "uncertain")

    def chance(self, asked: str, neighbors: Sequence[Neighbor], key: CacheKey) -> float | None:
        return self.chances.get(key.digest)

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> None:
        """Learns nothing."""

    def repeated(self, agreed: bool) -> None:
        """Learns nothing."""


async def asked_about(chances: Mapping[str, float], found: Evidence | None) -> set[str]:
    wall = Wall()
    store, index = MemoryStore(wall_clock=wall), MemoryIndex(wall_clock=wall)
    request = ask("휴가 일수 알려 주세요")
    keys = keys_of(request)
    for number, name in enumerate(("likely", "maybe", "hardly")):
        under = CacheKey(keys.scope, name)
        kept = entry(under, question=f"연차는 며칠인가요 {name}?")
        if found is not None:
            kept = replace(kept, evidence=found.ids, dependencies=found.dependencies, epoch=found.epoch)
        await store.put(kept)
        await index.add(CachedQuestion(kept.question, under), unit(1, number / 10), 60)
    cache = SemanticCache(store, index, rule=Unsure(chances), record=Record({"hr/a.md": "v1"}), wall_clock=wall)

    async def vector() -> Vector:
        return unit(1, 0)

    fresh: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
    fresh.set_result(found or Evidence())
    look = await cache.look(keys, request.question, vector(), fresh if found else None, CacheWishes(), judged=True)
    return {doubt.entry.key.digest for doubt in look.doubts}


CHANCES = {"likely": WORTH_ASKING, "maybe": WORTH_ASKING - 0.01, "hardly": WORTH_ASKING / 2}


@pytest.mark.parametrize(
    ("chances", "documents", "asked"),
    [
        (CHANCES, False, {"likely"}),
        (CHANCES, True, {"likely", "maybe", "hardly"}),  # which the documents must bear out as well
        ({}, False, {"likely"}),  # nothing is known of chances: the nearest alone
    ],
)
async def test_only_what_is_likely_is_put_to_the_judge(
    chances: Mapping[str, float], documents: bool, asked: set[str]
) -> None:
    found = evidence(passage("a.md", "v1")) if documents else None
    assert await asked_about(chances, found) == asked
