"""Which lines are near to a question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.chat import Evidence, Passage
from gateway.embedding.cached import CachedEmbedder
from gateway.embedding.hashing import HashingEmbedder
from gateway.embedding.local import LocalEmbedder
from gateway.errors import UpstreamError
from gateway.ports import Vectors
from gateway.routing.doubting import PATIENCE_S, Doubts
from gateway.routing.nearness import BATCH, MOST_LINES, MOST_WAITING, Lines, Nearness
from gateway.routing.nearness import PATIENCE_S as LONGEST_S
from tests.virtual_time import run

CAR = Passage(
    "hb", "car.md", "1", 0, "법인차량 규정", "법인차량 규정 > 예약",
    "- 법인차량은 이용 하루 전 16시까지 예약해야 한다.\n"
    "- 법인차량 예약을 취소하려면 이용 2시간 전까지 총무팀에 알려야 한다.\n"
    "- 법인차량은 한 번에 최대 3일까지 빌릴 수 있다.", 0.9,
)  # fmt: skip
ROOM = Passage(
    "hb", "room.md", "1", 0, "회의실 규정", "회의실 규정 > 예약",
    "- 회의실은 온스페이스에서 예약한다.\n"
    "- 회의실 예약을 취소하려면 시작 30분 전까지 온스페이스에서 취소해야 한다.\n"
    "- 대회의실은 한 번에 최대 4시간까지 예약할 수 있다.", 0.5,
)  # fmt: skip
FOUND = Evidence((CAR, ROOM))
ASKED = "법인차량 예약은 언제까지 취소해야 하나요?"


class Counting(HashingEmbedder):
    """Takes its time, and counts what it embeds."""

    def __init__(self, seconds: float = 0.0, fails: bool = False) -> None:
        super().__init__()
        self.seconds = seconds
        self.fails = fails
        self.lines: list[str] = []

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if self.fails:
            raise UpstreamError("no embedder today")
        if not query:
            await asyncio.sleep(self.seconds * len(texts))
            self.lines += texts
        return await super().embed(texts, query=query)


async def test_the_nearest_line_is_the_one_that_answers() -> None:
    lines = Lines(CachedEmbedder(LocalEmbedder(1)))
    near = await lines.near(ASKED, FOUND)
    while near is None:  # the first call loads the model
        near = await lines.near(ASKED, FOUND)
    assert "취소하려면 이용 2시간 전까지" in max(near.lines, key=lambda line: line.near).unit.text


async def test_the_passage_of_the_nearest_line_comes_first() -> None:
    near = await Lines(HashingEmbedder()).near(ASKED, Evidence((replace(CAR, score=0.1), ROOM)))
    assert near is not None
    first = max(near.nearest_first.passages, key=lambda passage: passage.score)
    assert first.document == "car.md"
    assert [p.document for p in near.nearest_first.passages] == ["car.md", "room.md"]  # the numbers stay


async def test_a_line_is_embedded_once_and_only_so_many_of_them_are() -> None:
    embedder = Counting()
    lines = Lines(embedder)
    many = Passage(
        "hb", "many.md", "1", 0, "t", "s", "\n".join(f"법인차량 예약 취소 {n}번째 줄" for n in range(40)), 0.1
    )
    for _ in range(2):
        assert await lines.near(ASKED, Evidence((CAR, ROOM, many))) is not None
    assert len(embedder.lines) == len(set(embedder.lines)) == MOST_LINES


async def test_only_so_many_lines_are_kept() -> None:
    embedder = Counting()
    lines = Lines(embedder, most=3)
    for _ in range(2):
        assert await lines.near(ASKED, FOUND) is not None
    assert len(embedder.lines) > 6


def test_a_slow_embedder_holds_nothing_up_and_its_work_is_not_lost() -> None:
    async def play() -> tuple[Nearness | None, float, Nearness | None]:
        embedder, clock = Counting(seconds=LONGEST_S / (BATCH + 1)), asyncio.get_running_loop().time
        lines = Lines(embedder)
        first, waited_s = await lines.near(ASKED, FOUND), clock()
        return first, waited_s, await lines.near(ASKED, FOUND)

    first, waited_s, second = run(play())
    assert first is None
    assert waited_s == pytest.approx(LONGEST_S)
    assert second is not None


async def test_where_nothing_can_be_told_nothing_is_said() -> None:
    assert await Lines(Counting(fails=True)).near(ASKED, FOUND) is None
    short = Passage("hb", "a.md", "1", 0, "t", "s", "한 줄이다.", 1.0)
    assert await Lines(HashingEmbedder()).near(ASKED, Evidence((short,))) is None
    assert await Lines(HashingEmbedder()).near(ASKED, Evidence()) is None


def doubts(embedder: HashingEmbedder | None = None) -> Doubts:
    lines = Lines(embedder or HashingEmbedder())
    return Doubts(ASKED, FOUND, asyncio.ensure_future(lines.near(ASKED, FOUND)))


def test_a_look_that_is_not_over_is_waited_for_but_not_for_long() -> None:
    async def play() -> tuple[float, bool]:
        lines, clock = Lines(Counting(seconds=0.1)), asyncio.get_running_loop().time
        looking = asyncio.ensure_future(lines.near(ASKED, FOUND))
        it = Doubts(ASKED, FOUND, looking)
        await it.looked()
        waited_s, known = clock(), it.nearness is not None
        looking.cancel()
        return waited_s, known

    waited_s, known = run(play())
    assert waited_s == pytest.approx(PATIENCE_S)
    assert not known


def test_a_queue_for_the_embedder_is_not_joined_when_it_is_long() -> None:
    async def play() -> list[Nearness | None]:
        lines = Lines(Counting(seconds=0.01))
        asks = [Evidence((replace(CAR, section=f"{n}"), ROOM)) for n in range(MOST_WAITING + 2)]
        return list(await asyncio.gather(*(lines.near(ASKED, found) for found in asks)))

    found = run(play())
    assert all(found[:MOST_WAITING])
    assert found[MOST_WAITING:] == [None, None]
