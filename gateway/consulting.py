"""Before an answer is made: does a judge say that it is there already, or on its way?

Asked about are kept answers that the semantic rule could not tell (``Look.doubts``) and questions under way
(``Twins``), all at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.cache.decision import plain
from gateway.cache.grey import Grey, grey
from gateway.cache.semantic import Doubtful
from gateway.cache.twins import Near
from gateway.chat import CacheHit, RequestContext
from gateway.ports import Doubt, Judge, Ruling
from gateway.routing.judge import AUDITED


@dataclass(frozen=True, slots=True)
class Consulted:
    """The same question: kept (``hit``) or under way (``leader``)."""

    hit: CacheHit | None = None
    leader: Near | None = None
    margin: float | None = None
    audit: bool = False  # not to be served: answered afresh, and compared


@dataclass(frozen=True, slots=True)
class Consultant:
    judge: Judge | None
    chance: Callable[[], float] = random.random

    async def consult(
        self, question: str, doubts: Sequence[Doubtful], near: Sequence[Near], ctx: RequestContext
    ) -> Consulted | None:
        """What is judged to be the same question with the largest margin; None: nothing is."""
        leaders = {n.neighbor.question.key: n for n in near}
        if near and plain(near[0].neighbor.question.text) == plain(question):
            return Consulted(leader=near[0])
        if self.judge is None:
            return None
        flying = grey(question, [n.neighbor for n in near])
        rulings = await asyncio.gather(
            *(self._rule(question, d.near, d.entry.answer.text, ctx) for d in doubts),
            *(self._rule(question, g, "", ctx) for g in flying),
        )
        found = [Consulted(hit=d.hit(), margin=r.margin) for d, r in zip(doubts, rulings, strict=False) if r.same]
        found += [
            Consulted(leader=leaders[g.neighbor.question.key], margin=r.margin)
            for g, r in zip(flying, rulings[len(doubts) :], strict=True)
            if r.same
        ]
        best = max(found, key=lambda f: f.margin if f.margin is not None else 0.0, default=None)
        if best is not None and best.hit is not None and best.margin is not None and self.chance() < AUDITED:
            return Consulted(best.hit, None, best.margin, audit=True)
        return best

    async def _rule(self, question: str, near: Grey, answer: str, ctx: RequestContext) -> Ruling:
        assert self.judge is not None
        return await self.judge.rule(Doubt(question, near.neighbor.question.text, answer, bool(near.veto)), ctx)
