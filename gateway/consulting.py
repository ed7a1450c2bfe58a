"""Before an answer is made: does a judge say that it is there already, or on its way?

Asked about are kept answers that the semantic rule could not tell (``Look.doubts``) and questions under way
(``Twins``), all at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.cache.decision import plain
from gateway.cache.grey import Grey, grey
from gateway.cache.semantic import Doubtful
from gateway.cache.twins import Near
from gateway.chat import CachedQuestion, CacheEntry, CacheHit, Neighbor, RequestContext, ServedBy
from gateway.ports import Doubt, Judge, Ruling
from gateway.routing.judge import AUDITED
from gateway.stages import ended, until

GRACE_S = 0.2  # that an answer which is ready waits for the judge; nearly all verdicts are there by then


@dataclass(frozen=True, slots=True)
class Consulted:
    """The same question: kept (``hit``) or under way (``leader``)."""

    hit: CacheHit | None = None
    leader: Near | None = None
    margin: float | None = None
    sure: bool = False
    audit: bool = False  # not to be served: answered afresh, and compared


@dataclass(frozen=True, slots=True)
class Consultant:
    judge: Judge | None
    chance: Callable[[], float] = random.random

    async def consult(
        self,
        question: str,
        doubts: Sequence[Doubtful],
        near: Sequence[Near],
        ctx: RequestContext,
        contests: Callable[[CacheHit], bool] = lambda hit: False,
    ) -> Consulted | None:
        """What is judged to be the same question with the largest margin, before all what is not contested; None:
        nothing is."""
        leaders = {n.neighbor.question.key: n for n in near}
        if near and plain(near[0].neighbor.question.text) == plain(question):
            return Consulted(leader=near[0])
        if self.judge is None:
            return None
        flying = grey(question, [n.neighbor for n in near])
        rulings = await asyncio.gather(
            *(self._doubted(question, d, ctx) for d in doubts),
            *(self._rule(question, g, "", ctx) for g in flying),
        )
        found = [
            Consulted(hit=d.hit(), margin=r.margin, sure=r.sure)
            for d, r in zip(doubts, rulings, strict=False)
            if r.same
        ]
        found += [
            Consulted(leader=leaders[g.neighbor.question.key], margin=r.margin, sure=r.sure)
            for g, r in zip(flying, rulings[len(doubts) :], strict=True)
            if r.same
        ]

        def order(one: Consulted) -> tuple[bool, float]:
            return one.hit is None or not contests(one.hit), one.margin if one.margin is not None else 0.0

        best = max(found, key=order, default=None)
        if best is None or best.hit is None or best.hit.served_by is ServedBy.REVIEWED:
            return best
        if best.margin is not None and self.chance() < AUDITED:
            return Consulted(best.hit, None, best.margin, best.sure, audit=True)
        return best

    async def _doubted(self, question: str, doubt: Doubtful, ctx: RequestContext) -> Ruling:
        """Held against the wording that is nearest, and against the one that was answered: what a chain of wordings
        leads to, each the same as the next, may be another question. At once where money is plenty."""
        near, entry = doubt.near, doubt.entry
        wordings = [near]
        if plain(near.neighbor.question.text) != plain(entry.question):
            answered = grey(question, [Neighbor(CachedQuestion(entry.question, entry.key), near.neighbor.similarity)])
            if not answered:
                return Ruling(False)
            wordings += answered
        works = (self._rule(question, each, entry.answer.text, ctx) for each in wordings)
        rulings = await (until(_denied, *works) if self._judges_freely else _one_by_one(works))
        margins = [ruling.margin for ruling in rulings if ruling.margin is not None]
        same = all(ruling.same for ruling in rulings)
        return Ruling(same, min(margins, default=None), rulings[-1].sure)

    @property
    def _judges_freely(self) -> bool:
        return self.judge is not None and self.judge.plenty

    async def _rule(self, question: str, near: Grey, answer: str, ctx: RequestContext) -> Ruling:
        assert self.judge is not None
        return await self.judge.rule(Doubt(question, near.neighbor.question.text, answer, bool(near.veto)), ctx)


async def _one_by_one(works: Iterable[Awaitable[Ruling]]) -> list[Ruling]:
    """Up to the first that is denied. The first begins at once: money that is short goes to kept answers before it goes
    to questions under way."""
    rulings: list[Ruling] = []
    for work in works:
        rulings.append(await work)
        if _denied(rulings[-1]):
            break
    return rulings


def _denied(ruling: Ruling) -> bool:
    return not ruling.same


async def unless_ready(
    consulting: asyncio.Task[Consulted | None], ready: asyncio.Event | None = None
) -> Consulted | None:
    """What the judge says; None where it has not spoken ``GRACE_S`` after the answer that is made meanwhile is
    ``ready``."""
    if ready is not None:
        made = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([consulting, made], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([consulting], timeout=GRACE_S)
        finally:
            await ended(made)
        if not consulting.done():
            await ended(consulting)
            return None
    return await consulting


async def confirmed(judge: Judge | None, question: str, entry: CacheEntry, ctx: RequestContext) -> bool:
    """A second judge, if there is one, says as well that ``entry`` answers ``question``."""
    if judge is None:
        return False
    return (await judge.rule(Doubt(question, entry.question, entry.answer.text, vetoed=False), ctx)).same
