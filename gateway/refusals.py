"""A kept refusal is not the last word: the question may have been answered in other words since.

Models misread some wordings and say that nothing is there. Such an answer is kept like any other, but when it is asked
for again, what near wordings were answered meanwhile is looked at, now and then.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.cache.semantic import Look, SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.chat import CacheEntry, CacheHit, CacheKey, ServedBy
from gateway.clock import Clock
from gateway.consulting import Consultant, confirmed
from gateway.facts import signature
from gateway.finding import Finder
from gateway.plan import Asking, Job
from gateway.retrieval.question import search_text
from gateway.stages import Stages, beside

AGAIN_S = 30.0  # between two looks at one refusal: a look may cost a few verdicts of the judge
MOST = 1_000  # refusals remembered


@dataclass(slots=True)
class Refusals:
    semantic: SemanticCache | None
    finder: Finder
    stages: Stages
    writer: CacheWriter
    cost: Callable[[Asking], float]  # of one more answer: what a judge may spend is a share of it
    clock: Clock = time.monotonic
    _looked: OrderedDict[CacheKey, float] = field(default_factory=OrderedDict)

    def doubted(self, job: Job, hit: CacheHit) -> bool:
        """A refusal, from documents, of a model with a judge who could find a better answer."""
        return (
            self.semantic is not None
            and job.looks_again
            and hit.served_by is ServedBy.CACHE
            and bool(hit.entry.evidence)
            and _refuses(hit.entry)
        )

    async def answered_since(self, job: Job, refusal: CacheHit) -> CacheHit | None:
        """What a near wording was answered since, if it is recognised as this question and what is found for this one
        bears the answer out. This wording is then an alias of it."""
        if not self.doubted(job, refusal) or not self._due(refusal.entry.key):
            return None
        asking, hit = await self._looked_up(job, refusal)
        if hit is None and asking.doubts:
            hit = await self._judged(asking)
        if hit is None or hit.served_by is not ServedBy.CACHE or _refuses(hit.entry) or asking.contests(hit):
            return None
        self.writer.alias(job.keys, job.request, hit.entry.key, asking.evidence, None)
        return hit

    async def _looked_up(self, job: Job, refusal: CacheHit) -> tuple[Asking, CacheHit | None]:
        ctx, text = job.ctx, search_text(job.request)
        assert self.semantic is not None
        async with beside() as start:
            begun = self.finder.begin(job, text, start)
            looking = self.semantic.look(
                job.keys, job.request.question, asyncio.shield(begun.vector), asyncio.shield(begun.evidence),
                ctx.wishes, judged=True, rechecked=True, beyond=refusal.entry.key,
            )  # fmt: skip
            budget = ctx.deadline.within(self.finder.budgets.semantic_s)
            look = await self.stages.attempt(ctx, "cache_semantic", looking, budget, Look(None))
            asking = Asking(job, None, look.doubts, await begun.evidence, None, ctx.deadline.clock())
        return asking, look.hit

    async def _judged(self, asking: Asking) -> CacheHit | None:
        """What the judge is sure of, or both judges agree on: by its words alone this wording is misread."""
        ctx, plan, question = asking.job.ctx, asking.job.plan, asking.job.request.question
        assert plan.judge is not None
        plan.judge.earn(self.cost(asking))
        consulting = Consultant(plan.judge).consult(question, asking.doubts, (), ctx, asking.contests)
        budget = ctx.deadline.within(self.finder.budgets.judge_s)
        found = await self.stages.attempt(ctx, "judge", consulting, budget, None)
        if found is None or found.hit is None or found.audit:
            return None
        return found.hit if found.sure or await confirmed(plan.second_judge, question, found.hit.entry, ctx) else None

    def _due(self, key: CacheKey) -> bool:
        """It was not looked at for a while; now it counts as looked at."""
        now = self.clock()
        if now - self._looked.get(key, -math.inf) < AGAIN_S:
            return False
        self._looked[key] = now
        self._looked.move_to_end(key)
        if len(self._looked) > MOST:
            self._looked.popitem(last=False)
        return True


def _refuses(entry: CacheEntry) -> bool:
    return signature(entry.answer.text).refuses
