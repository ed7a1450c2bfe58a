"""Answers that are given often are asked for again, in the background and within a spend limit.

Samples of a fast model are compared with the kept answer, fact by fact, or a judge says in one token whether the
documents state it. Where most samples contradict it, or the judge does, a person is asked to look. Nothing here is ever
waited for by a caller, and no answer is changed by it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog

from gateway.chat import (
    Answer,
    CacheEntry,
    CacheHit,
    CacheKey,
    CacheOutcome,
    CacheWishes,
    ChatRequest,
    Evidence,
    Opened,
    RequestContext,
    ServedBy,
    Tenant,
)
from gateway.clock import Deadline, Timings, WallClock
from gateway.errors import GatewayError
from gateway.facts import Verdict, compare, signature
from gateway.metrics import Metrics
from gateway.ports import Finding, ReviewQueue
from gateway.retrieval.grounding import documents
from gateway.routing.judge import one_token, says_yes
from gateway.routing.router import Router
from gateway.routing.spend import Errand, Price, prompt_tokens
from gateway.stages import ended

log = structlog.get_logger()
PURPOSE = "verification"
MOST_COUNTED = 10_000  # entries whose hits are counted; the longest unused is forgotten first
MOST_WAITING = 100
TEMPERATURE = 0.7  # samples that always say the same tell nothing
TASK = (
    "Do the documents state what the answer says, and does it answer the question? "
    "One wrong number, name or condition means No. Answer Yes or No only."
)
DENIED = "(no other answer: a judge found that the documents do not state this one)"
MOST_LINE = 900  # characters of the question, and of the answer's first paragraph
DAY_S = 86_400.0
LEFT_OUT = frozenset(
    {"seed", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"}
)


@dataclass(frozen=True, slots=True)
class Verification:
    """How answers are verified."""

    model: str
    samples: int
    after_hits: int
    max_tokens: int  # of a sample
    max_spend: float  # in a day, in the unit of ``price``
    price: Price  # a million tokens cost; without a configured one: 1 for each, so that ``max_spend`` is in millions
    timeout_s: float
    by: Literal["samples", "judge"] = "samples"


@dataclass(slots=True)
class Verifier:
    plan: Verification
    router: Router
    queue: ReviewQueue
    metrics: Metrics
    wall_clock: WallClock = time.time
    _hits: OrderedDict[tuple[CacheKey, float], int] = field(default_factory=OrderedDict)
    _waiting: asyncio.Queue[tuple[CacheEntry, ChatRequest]] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    _worker: asyncio.Task[None] | None = None
    _day: int = 0
    _spent: float = 0.0  # since ``_day`` began

    def served(self, hit: CacheHit, grounded: Callable[[], ChatRequest]) -> None:
        """A kept answer was given; ``grounded`` makes the request that it once was an answer to. Returns at once."""
        entry = hit.entry
        if hit.served_by is not ServedBy.CACHE or not entry.answer.text:
            return
        version = (entry.key, entry.created_at)
        count = self._hits[version] = self._hits.pop(version, 0) + 1
        if len(self._hits) > MOST_COUNTED:
            self._hits.popitem(last=False)
        if count != self.plan.after_hits:
            return
        request = grounded()
        if request.earlier:
            return  # reviewed answers stand alone
        try:
            self._waiting.put_nowait((entry, request))
        except asyncio.QueueFull:
            self.metrics.verified("dropped")
            return
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def drain(self) -> None:
        """Wait until everything so far is verified or given up."""
        await self._waiting.join()

    async def close(self) -> None:
        if self._worker is not None:
            await ended(self._worker)

    async def _work(self) -> None:
        while True:
            entry, request = await self._waiting.get()
            try:
                result = await self._verify(entry, request)
                self.metrics.verified(result)
                if result in {"agreed", "contradicted"}:
                    self.metrics.facts_compared(PURPOSE, result == "agreed")
            except GatewayError as error:
                self.metrics.verified("failed")
                log.info("answer not verified", error=str(error))
            except Exception:
                self.metrics.verified("failed")
                log.warning("answer not verified", exc_info=True)
            finally:
                self._waiting.task_done()

    async def _verify(self, entry: CacheEntry, request: ChatRequest) -> str:
        """agreed, contradicted, unclear or over budget. Raises UpstreamError, Overloaded."""
        plan = self.plan
        if plan.by == "judge":
            return await self._judge(entry, request)
        if not self._take(plan.samples * plan.price.of(prompt_tokens(request.body), plan.max_tokens)):
            return "over budget"
        kept = signature(entry.answer.text)
        samples = [await self._sample(request, number) for number in range(plan.samples)]
        verdicts = [compare(kept, signature(sample)).verdict for sample in samples]
        against = [sample for sample, verdict in zip(samples, verdicts, strict=True) if verdict is Verdict.DIFFERENT]
        if 2 * len(against) <= len(samples):
            return "agreed" if Verdict.SAME in verdicts else "unclear"
        self._found(entry, request, against[0])
        return "contradicted"

    async def _judge(self, entry: CacheEntry, request: ChatRequest) -> str:
        """As ``_verify``, in one token of a model that is shown the answer and the passages it rests on."""
        if not entry.citations:
            return "unclear"
        said = _line(entry.answer.text.strip().split("\n\n", 1)[0])
        lines = [documents(Evidence(entry.citations)), f"Question: {_line(entry.question)}", f"Answer: {said}", TASK]
        messages = [{"role": "user", "content": "\n".join(lines)}]
        if not self._take(self.plan.price.of(prompt_tokens({"messages": messages}), 1)):
            return "over budget"
        yes = says_yes(await self._ask(one_token(self.plan.model, messages)))
        if yes is None:
            return "unclear"
        if yes:
            return "agreed"
        self._found(entry, request, DENIED)
        return "contradicted"

    def _found(self, entry: CacheEntry, request: ChatRequest, fresh: str) -> None:
        """Put the kept answer up for review."""
        system = "\n".join(m.text for m in request.messages if m.role in {"system", "developer"})
        self.queue.offer(
            Finding(
                "verification",
                entry.key.scope.tenant_id,
                entry.requested_model,
                entry.question,
                entry.answer.text,
                fresh,
                entry.namespace,
                system,
                entry.dependencies,
                entry.citations,
            )
        )

    async def _sample(self, request: ChatRequest, number: int) -> str:
        fields: dict[str, Any] = {name: value for name, value in request.body.items() if name not in LEFT_OUT}
        body = {**fields, "max_tokens": self.plan.max_tokens, "temperature": TEMPERATURE, "seed": number}
        return (await self._ask(replace(request, requested_model=self.plan.model, stream=False, body=body))).text

    async def _ask(self, asked: ChatRequest) -> Answer:
        ctx = RequestContext(
            PURPOSE,
            Tenant("gateway"),
            Deadline.after(self.plan.timeout_s),
            CacheWishes(read=False, write=False),
            Timings(),
        )
        opened = Opened(ServedBy.MODEL, CacheOutcome.BYPASS, self.plan.model)
        return await self.router.stream(asked, ctx, opened, lambda event: None, Errand(PURPOSE))

    def _take(self, cost: float) -> bool:
        """Set ``cost`` aside from the day's money if it is there."""
        day = int(self.wall_clock() // DAY_S)
        if day != self._day:
            self._day, self._spent = day, 0.0
        if self._spent + cost > self.plan.max_spend:
            return False
        self._spent += cost
        return True


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST_LINE]
