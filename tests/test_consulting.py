"""Whom the judge is asked about, and what counts among his verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from gateway.cache.grey import Grey
from gateway.cache.semantic import Doubtful
from gateway.cache.twins import Flying, Near
from gateway.chat import CachedQuestion, CacheHit, CacheWishes, Neighbor, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.consulting import GRACE_S, Consultant, Consulted, unless_ready
from gateway.ports import Doubt, Ruling
from tests.cache.makers import entry, key
from tests.virtual_time import run

CTX = RequestContext("1", Tenant("acme"), Deadline.after(5), CacheWishes(), Timings())
ASKED, NEXT, FIRST = "연차를 언제까지 신청해요?", "연차는 며칠 전까지 올려야 돼?", "연차 신청 기한은 언제인가요?"


class Judge:
    """Says yes to the pairs it was told."""

    def __init__(self, plenty: bool = True, **margins: float) -> None:
        self.margins, self.plenty = margins, plenty
        self.asked: list[str] = []

    def earn(self, cost: float) -> None: ...

    def learn(self, margin: float, right: bool) -> None: ...

    async def rule(self, doubt: Doubt, ctx: RequestContext) -> Ruling:
        self.asked.append(doubt.kept)
        margin = self.margins.get({NEXT: "next", FIRST: "first"}.get(doubt.kept, "other"), -5.0)
        return Ruling(margin > 0, margin, margin > 4)


def doubtful(text: str, question: str, under: str = "a1") -> Doubtful:
    kept = entry(key(under), question=question)
    return Doubtful(Grey(Neighbor(CachedQuestion(text, kept.key), 0.9), ""), kept)


async def consult(
    judge: Judge, doubts: Sequence[Doubtful], contests: Callable[[CacheHit], bool] = lambda hit: False
) -> Consulted | None:
    return await Consultant(judge, chance=lambda: 1.0).consult(ASKED, doubts, (), CTX, contests)


async def test_a_chain_of_wordings_is_held_against_the_one_that_was_answered() -> None:
    judge = Judge(next=5.0)
    assert await consult(judge, [doubtful(NEXT, FIRST)]) is None
    assert judge.asked == [NEXT, FIRST]
    found = await consult(Judge(next=5.0, first=3.0), [doubtful(NEXT, FIRST)])
    assert found is not None
    assert (found.margin, found.sure) == (3.0, False)


async def test_while_money_is_short_the_second_wording_is_asked_about_after_a_yes_to_the_first() -> None:
    judge = Judge(plenty=False, first=3.0)
    assert await consult(judge, [doubtful(NEXT, FIRST)]) is None
    assert judge.asked == [NEXT]
    judge = Judge(plenty=False, next=5.0, first=3.0)
    found = await consult(judge, [doubtful(NEXT, FIRST)])
    assert found is not None
    assert (found.margin, found.sure) == (3.0, False)


async def test_money_that_is_short_goes_to_kept_answers_first() -> None:
    under_way = Near(Neighbor(CachedQuestion(FIRST, key("c3")), 0.9), cast(Flying, None))
    for plenty in (True, False):
        judge = Judge(plenty=plenty)
        await Consultant(judge).consult(ASKED, [doubtful(NEXT, NEXT)], [under_way], CTX)
        assert sorted(judge.asked) == sorted([NEXT, FIRST])
    assert judge.asked == [NEXT, FIRST]


async def test_the_answered_wording_itself_is_judged_once() -> None:
    judge = Judge(first=5.0)
    found = await consult(judge, [doubtful(FIRST, FIRST)])
    assert found is not None
    assert (found.margin, found.sure) == (5.0, True)
    assert judge.asked == [FIRST]


async def test_what_the_evidence_bears_out_comes_before_a_larger_margin() -> None:
    doubts = [doubtful(FIRST, FIRST, "a1"), doubtful(NEXT, NEXT, "b2")]
    judge = Judge(first=9.0, next=3.0)
    larger = await consult(judge, doubts)
    assert larger is not None
    assert larger.hit is not None
    assert larger.hit.entry.key == key("a1")
    found = await consult(judge, doubts, lambda hit: hit.entry.key == key("a1"))
    assert found is not None
    assert found.hit is not None
    assert found.hit.entry.key == key("b2")


@pytest.mark.parametrize(
    ("spoken_s", "ready_s", "found", "at_s"),
    [
        (0.7, 1.0, True, 0.7),
        (1.1, 1.0, True, 1.1),  # a ready answer waits a little
        (1.5, 1.0, False, 1.0 + GRACE_S),
        (1.5, 9.0, True, 1.5),
        (1.5, None, True, 1.5),  # nothing is made meanwhile
    ],
)
def test_a_ready_answer_hardly_waits_for_the_judge(
    spoken_s: float, ready_s: float | None, found: bool, at_s: float
) -> None:
    async def scene() -> tuple[bool, float, bool]:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        async def consult() -> Consulted | None:
            await asyncio.sleep(spoken_s)
            return Consulted()

        consulting = asyncio.create_task(consult())
        if ready_s is not None:
            loop.call_later(ready_s, ready.set)
        said = await unless_ready(consulting, ready if ready_s is not None else None)
        return said is not None, loop.time(), consulting.cancelled()

    said, at, cancelled = run(scene())
    assert (said, cancelled) == (found, not found)
    assert at == pytest.approx(at_s)
