"""What a scope learned survives its process, is shared by replicas, and is nobody else's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.cache.calibrated import AdaptiveRule
from gateway.cache.features import NAMES
from gateway.cache.labels import KEPT, LABEL, Labels
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.cache.remembering import FileShelf, RedisShelf, Remembering, Shelf
from gateway.chat import Scope
from gateway.errors import StoreUnavailable
from tests.cache.makers import SECRET
from tests.cache.test_calibrated import paraphrase, rule, teach

SCOPE = Scope("acme", "5c")


@pytest.fixture(params=["file", "redis"])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    if request.param == "file":
        yield FileShelf(tmp_path / "learned")
        return
    link = RedisLink(redis_client(request.getfixturevalue("redis_url"), timeout_s=2.0), timeout_s=2.0)
    yield RedisShelf(link)
    await link.close()


def taught(lookups: int = 600, seed: int = 1) -> AdaptiveRule:
    learner = rule(audited=0.05)
    teach(learner, 1.0, lookups, seed=seed)
    return learner


def untaught(scope: Scope) -> bytes:
    learner = rule()
    learner.take(scope, b"")
    return learner.dump(scope)


def scores(learner: AdaptiveRule) -> list[float]:
    return [learner.decide(*paraphrase(number, 0.96 + number / 1_000)).probability or 0.0 for number in range(20)]


def labels(at: range) -> Labels:
    made = Labels()
    for second in at:
        made.add(float(second), np.full(len(NAMES), second % 7 / 7), 1.0, second % 3 > 0, False)
    return made


async def test_a_scope_serves_after_a_restart_as_before(shelf: Shelf) -> None:
    before = taught()
    await Remembering(before, shelf, SECRET).flush()
    after = rule(audited=0.0)
    await Remembering(after, shelf, SECRET).recall(SCOPE)
    hits = [after.decide(*paraphrase(number, 0.985)).neighbor is not None for number in range(20)]
    assert all(hits)
    assert np.allclose(scores(before), scores(after), atol=0.01)  # rows are kept in half precision


async def test_replicas_put_together_what_each_of_them_saw(shelf: Shelf) -> None:
    one, other = taught(150, seed=3), taught(150, seed=4)
    ours, theirs = Remembering(one, shelf, SECRET), Remembering(other, shelf, SECRET)
    await ours.flush()
    await theirs.flush()  # reads ours, and writes both
    third = rule()
    await Remembering(third, shelf, SECRET).recall(SCOPE)
    assert len(third.dump(SCOPE)) == len(other.dump(SCOPE)) > len(one.dump(SCOPE))


@pytest.mark.parametrize("planted", [b"", b"x", b"\0" * 5_000])
async def test_a_damaged_or_planted_value_is_as_if_there_were_none(shelf: Shelf, planted: bytes) -> None:
    await shelf.save(SCOPE, planted)
    fresh = rule()
    await Remembering(fresh, shelf, SECRET).recall(SCOPE)
    assert scores(fresh) == scores(rule())


async def test_what_was_learned_elsewhere_or_under_another_secret_does_not_count(shelf: Shelf) -> None:
    await Remembering(taught(), shelf, SECRET).flush()
    stolen = await shelf.load(SCOPE)
    assert stolen is not None
    await shelf.save(Scope("globex", "5d"), stolen)
    flipped = bytearray(stolen)
    flipped[-1] ^= 1
    await shelf.save(Scope("acme", "5e"), bytes(flipped))
    for scope, secret in ((Scope("globex", "5d"), SECRET), (Scope("acme", "5e"), SECRET), (SCOPE, b"another")):
        fresh = rule()
        await Remembering(fresh, shelf, secret).recall(scope)
        assert fresh.dump(scope) == untaught(scope), scope


async def test_it_is_written_at_the_end_and_read_once(shelf: Shelf) -> None:
    learner = taught()
    async with Remembering(learner, shelf, SECRET).running():
        pass
    again = rule()
    remembering = Remembering(again, shelf, SECRET)
    await asyncio.gather(*(remembering.recall(SCOPE) for _ in range(5)))
    assert again.dump(SCOPE) == learner.dump(SCOPE)


async def test_a_store_that_is_away_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    link = RedisLink(redis_client("redis://127.0.0.1:1/0"))
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    for away in (RedisShelf(link), FileShelf(blocked)):
        learner = taught()
        before = scores(learner)
        remembering = Remembering(learner, away, SECRET)
        await remembering.recall(Scope("acme", "new"))
        await remembering.flush()
        with pytest.raises(StoreUnavailable):
            await away.save(SCOPE, b"x")
        assert scores(learner) == pytest.approx(before, abs=0.02)
    await link.close()


async def test_files_are_bounded_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path, max_files=20)
    for number in range(201):
        await shelf.save(Scope("acme", f"{number:02x}"), b"x")
    modes = [entry.stat().st_mode for entry in os.scandir(tmp_path)]
    assert len(modes) <= 20 + 100
    assert all(mode & 0o077 == 0 for mode in modes)
    assert await shelf.load(Scope("acme", f"{200:02x}")) == b"x"


def test_labels_are_bounded_and_keep_the_newest() -> None:
    kept = labels(range(1, 3 * KEPT))
    assert [len(kept.recent), kept.recent["at"][-1]] == [KEPT, 3 * KEPT - 1]
    assert len(Labels.load(kept.dump())) == KEPT


def test_merging_comes_to_the_same_in_any_order_and_twice_is_once() -> None:
    one, other = labels(range(0, 600, 2)), labels(range(1, 1_400, 3))
    ours, theirs = labels(range(0, 600, 2)), labels(range(1, 1_400, 3))
    assert ours.merge(other.recent)
    assert theirs.merge(one.recent)
    assert (ours.recent["at"] == theirs.recent["at"]).all()
    assert not ours.merge(other.recent)
    ours.add(0.0, np.zeros(len(NAMES)), 1.0, True, False)  # after a merge there is room again
    assert ours.recent["at"][-1] > theirs.recent["at"][-1]


def test_what_cannot_be_is_left_out() -> None:
    good = labels(range(1, 30))
    data = good.dump()
    for damaged in (b"", data[:-1], data[1:], b"labels 0" + data[8:], data * 99):
        assert len(Labels.load(damaged)) == 0
    head = len(data) - 29 * LABEL.itemsize
    poisoned = np.frombuffer(data[head:], LABEL).copy()
    poisoned["row"][3, 0], poisoned["score"][4], poisoned["at"][5] = np.inf, np.nan, np.nan
    assert len(Labels.load(data[:head] + poisoned.tobytes())) == 26
