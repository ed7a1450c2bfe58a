"""Drafts of labelled questions, made and judged as a gateway of this configuration would: to calibrate its gate."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.answers.book import NoBook
from gateway.chat import CacheWishes, ChatRequest, Evidence, Message, RequestContext, Tenant
from gateway.clock import Deadline, Timings
from gateway.errors import GatewayError
from gateway.facts import says
from gateway.in_time import DraftPlan
from gateway.meaning import STANDS_ALONE
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from gateway.plan import Plan
from gateway.retrieval.grounding import ground
from gateway.routing import gate
from gateway.routing.answerability import Answerability
from gateway.routing.calibrating import Sample
from gateway.routing.deployments import Deployments
from gateway.routing.draft import Drafted, looks_at
from gateway.routing.router import Router
from gateway.settings import Settings
from gateway.wiring.accounts import accounts_of
from gateway.wiring.cache import chosen_stores
from gateway.wiring.chat import opened_pipeline
from gateway.wiring.upstreams import deployments_of, opened_upstream, routes_of

PATIENCE_S = 60.0  # for one draft
_REFUSES = re.compile(
    r"찾을 수 없|찾지 못|나와 ?있지 않|포함되어 ?있지 않|확인할 수 없|확인되지 않|알 수 없|죄송"
    r"|do(?:es)? not contain|not (?:in|mentioned|found|specified|provided)|no information|cannot|can't|unable to|sorry",
    re.IGNORECASE,
)


class NothingToAsk(Exception):
    """The configuration has no drafts, or more than one model that makes them."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question and what tells a right answer from a wrong one."""

    text: str
    group: str
    facts: tuple[
        tuple[str, ...], ...
    ]  # all must be in the answer, each in any of its spellings; none: no answer exists
    wrong_facts: tuple[str, ...]  # none may stand in its first paragraph

    def right(self, answer: str) -> bool:
        lead = answer.strip().split("\n\n", 1)[0]
        if not self.facts:
            return bool(_REFUSES.search(lead))
        complete = all(any(says(answer, spelling) for spelling in spellings) for spellings in self.facts)
        return complete and not any(says(lead, wrong) for wrong in self.wrong_facts)


def labelled_of(row: Mapping[str, Any], number: int) -> Labelled:
    """``{"q", "facts", "wrong_facts", "group"}``; a fact is a text or a list of spellings. Raises ValueError."""
    question, facts, wrong = row.get("q"), row.get("facts"), row.get("wrong_facts") or []
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f'line {number} has no question: "q"')
    if not isinstance(facts, list) or not isinstance(wrong, list):
        raise ValueError(f'line {number} has no list of "facts" (empty: the documents do not answer it)')
    spelled = [tuple(map(str, fact)) if isinstance(fact, list) else (str(fact),) for fact in facts]
    return Labelled(question, str(row.get("group") or question), tuple(spelled), tuple(map(str, wrong)))


async def sampled(
    settings: Settings, model: str | None, labelled: Sequence[Labelled], asks: int, on_draft: Callable[[], None],
    patience_s: float = PATIENCE_S,
) -> list[Sample]:  # fmt: skip
    """Every question asked ``asks`` times of the draft model of ``model``, over what retrieval finds. ``patience_s``:
    for one draft.

    Raises NothingToAsk, and GatewayError where not one draft comes back.
    """
    samples: list[Sample] = []
    failure: GatewayError | None = None
    async with drafting(settings, model) as asked:
        for question in labelled:
            evidence = await asked.evidence(question.text)
            for _ in range(asks):
                try:
                    drafted = await asked.draft(question.text, evidence, patience_s)
                    samples.append(_sample(question, evidence, drafted))
                except GatewayError as error:
                    failure = error
                on_draft()
    if not samples and failure is not None:
        raise failure
    return samples


@dataclass(frozen=True, slots=True)
class Drafting:
    """A model that drafts, asked as a request would."""

    pipeline: Pipeline
    plan: Plan
    draft_plan: DraftPlan

    async def evidence(self, text: str) -> Evidence:
        gatherer, embedder = self.plan.gatherer, self.pipeline.finder.embedder
        assert gatherer is not None  # settings: a draft needs documents
        vector = (await embedder.embed([text], query=True))[0] if embedder is not None else None

        async def known() -> Any:
            return vector

        return await gatherer.gather(text, frozenset(), self.plan.collections, known, Deadline.after(PATIENCE_S))

    def over(self, text: str, best: int | None, shown: Evidence) -> ChatRequest:
        """The question over ``shown``: its ``best`` few passages, or all."""
        raw = {"role": "user", "content": text}
        request = ChatRequest(self.plan.model, (Message("user", text, True, raw),), False, False, {"messages": [raw]})
        return replace(request, body=ground(request, shown, system=self.plan.system, best=best))

    def answerability(self, text: str, evidence: Evidence, patience_s: float = PATIENCE_S) -> Answerability:
        """To be found out beside drafts of one question."""
        drafter, ctx = self.pipeline.maker.in_time.drafter, calibration_context(patience_s)
        return drafter.answerability(
            self.draft_plan.model, self.over(text, None, evidence), STANDS_ALONE, evidence, ctx
        )

    async def draft(
        self, text: str, evidence: Evidence, patience_s: float = PATIENCE_S, answerability: Answerability | None = None
    ) -> Drafted:
        """Raises GatewayError."""
        in_time, over = self.pipeline.maker.in_time, partial(self.over, text)
        looks = looks_at(over(None, evidence), over, evidence)
        plan, ctx = self.draft_plan, calibration_context(patience_s)
        return await in_time.drafter.draft(
            plan.model, plan.max_tokens, looks, evidence, ctx, answerability=answerability
        )


def calibration_context(patience_s: float = PATIENCE_S) -> RequestContext:
    return RequestContext("calibration", Tenant("calibration"), Deadline.after(patience_s), CacheWishes(), Timings())


@asynccontextmanager
async def drafting(settings: Settings, model: str | None) -> AsyncIterator[Drafting]:
    """``model``: the one whose drafts are asked for; None: there is but one. Raises NothingToAsk."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(opened_upstream())
        metrics = Metrics()
        router = Router(routes_of(settings), Deployments(deployments_of(settings), time.monotonic), upstream, metrics)
        stores = chosen_stores(_apart(settings), b"calibration", metrics, stack)
        accounts = accounts_of(settings, metrics)
        pipeline = await opened_pipeline(
            settings, router, metrics, accounts, stack, b"calibration", stores, NoBook("drafts are judged, not answers")
        )
        yield Drafting(pipeline, *_drafting(pipeline, model))


def _apart(settings: Settings) -> Settings:
    """With a cache of its own: nothing is read from or written to the one that serves."""
    return settings.model_copy(update={"cache": settings.cache.model_copy(update={"store": "memory"})})


def _drafting(pipeline: Pipeline, model: str | None) -> tuple[Plan, DraftPlan]:
    found = {
        name: (plan, plan.promise.draft)
        for name, plan in pipeline.plans.items()
        if plan.promise is not None and plan.promise.draft is not None and model in (None, name)
    }
    if len(found) != 1:
        which = (
            f"model {model!r} has no draft" if model else f"{len(found)} models have a draft; say which with --model"
        )
        raise NothingToAsk(which if found or model else "no model of this configuration has a draft section")
    return next(iter(found.values()))


def _sample(question: Labelled, evidence: Evidence, drafted: Drafted) -> Sample:
    said, veto = drafted.judged, drafted.verdict.veto
    values = () if veto else gate.measures(said, question.text, evidence)
    return Sample(question.group, veto, values, question.right(said.text), said.found)
