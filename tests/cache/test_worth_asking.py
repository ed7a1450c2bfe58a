"""A judge errs now and then: only what is likely the same question is put to him."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from gateway.cache.asking import JUDGE_ERRS, LOWEST, MAX_WRONG, Asking
from gateway.cache.decision import Decision
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.semantic import SemanticCache
from gateway.chat import CachedQuestion, CacheKey, CacheWishes, Evidence, Neighbor
from gateway.ports import Vector
from tests.cache.makers import Record, Wall, ask, entry, evidence, keys_of, passage, unit


class Unsure:
    """Serves nothing by itself; knows which kept answers a judge should look at, if anything."""

    candidates = 8

    def __init__(self, worth: Collection[str] | None) -> None:
        self.worth = worth

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        return Decision(None, "uncertain")

    def worth_asking(
        self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]
    ) -> Sequence[CacheKey] | None:
        return None if self.worth is None else [key for key in keys if key.digest in self.worth]

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> None:
        """Learns nothing."""

    def repeated(self, agreed: bool) -> None:
        """Learns nothing."""


async def asked_about(worth: Collection[str] | None, found: Evidence | None) -> set[str]:
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
    cache = SemanticCache(store, index, rule=Unsure(worth), record=Record({"hr/a.md": "v1"}), wall_clock=wall)

    async def vector() -> Vector:
        return unit(1, 0)

    fresh: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
    fresh.set_result(found or Evidence())
    look = await cache.look(keys, request.question, vector(), fresh if found else None, CacheWishes(), judged=True)
    return {doubt.entry.key.digest for doubt in look.doubts}


@pytest.mark.parametrize(
    ("worth", "documents", "asked"),
    [
        ({"likely"}, False, {"likely"}),
        ({"likely"}, True, {"likely", "maybe", "hardly"}),  # which the documents must bear out as well
        (None, False, {"likely"}),  # nothing is known of chances: the nearest alone
    ],
)
async def test_only_what_is_likely_is_put_to_the_judge(
    worth: Collection[str] | None, documents: bool, asked: set[str]
) -> None:
    found = evidence(passage("a.md", "v1")) if documents else None
    assert await asked_about(worth, found) == asked


def asking(chances: Sequence[float]) -> Asking:
    seen = Asking()
    for chance in chances:
        seen.see(chance)
    return seen


def test_among_likely_answers_unlikely_ones_are_asked_about_too_and_alone_they_are_not() -> None:
    assert asking([0.9] * 50 + [0.25] * 10).floor() <= 0.25
    assert asking([0.9] * 2 + [0.25] * 60).floor() > 0.25
    assert asking([0.25] * 60).floor() > 1


def test_what_is_hardly_the_same_is_never_asked_about() -> None:
    assert asking([0.95] * 400 + [0.1]).floor() == LOWEST


@pytest.mark.parametrize("chances", [[], [0.0], [1.0], [0.0, 1.0]])
def test_no_chances_and_the_ends_are_no_trouble(chances: Sequence[float]) -> None:
    assert LOWEST <= asking(chances).floor() <= 2


def test_a_judges_yeses_are_as_often_wrong_as_allowed() -> None:
    """A judge of just the errors that are assumed, over many mixes of chances."""
    dice = np.random.default_rng(1)
    for likely, not_likely in ((1.0, 4.0), (2.0, 2.0), (5.0, 1.0), (0.5, 0.5)):
        chances = dice.beta(likely, not_likely, size=20_000)
        floor = asking(chances[:2_000].tolist()).floor()
        right = dice.random(len(chances)) < chances
        yes = (chances >= floor) & (right != (dice.random(len(chances)) < JUDGE_ERRS))
        assert (yes & ~right).sum() <= 1.5 * MAX_WRONG * max(1, yes.sum()) + 5
