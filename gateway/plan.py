"""What is decided about a request before work begins, and what is known once the cache could not answer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.answers.serving import Case
from gateway.cache.admission import Limits
from gateway.cache.keys import Keys, Sharing
from gateway.cache.semantic import Doubtful
from gateway.chat import CacheHit, CacheKey, ChatRequest, Evidence, Passage, RequestContext, ServedBy
from gateway.consulting import Consulted
from gateway.in_time import Promise
from gateway.meaning import STANDS_ALONE, Meaning
from gateway.ports import Judge, Vector
from gateway.retrieval.gather import Gatherer
from gateway.routing.plain import is_plain
from gateway.routing.rewriting import Rewriter
from gateway.routing.rivals import said_better
from gateway.samples import lead_of
from gateway.settling import Matter, Settling, borne_out, cited, doubts_of


@dataclass(frozen=True, slots=True)
class Plan:
    """How questions to one model name are answered."""

    model: str
    answers_with: str  # model whose deployments answer; "" when it is the requested one
    caches: bool
    sharing: Sharing  # completed per request with the caller's key, groups and namespace
    limits: Limits  # on what is kept
    collections: tuple[str, ...] = ()
    gatherer: Gatherer | None = None
    system: str | None = None  # instructions for grounding; None: the built-in ones
    notice: Mapping[str, str] = field(
        default_factory=dict
    )  # where nothing is found, by language; else the model says so
    rewriter: Rewriter | None = None  # of follow-ups
    judge: Judge | None = None  # of questions that similarity cannot tell apart
    second_judge: Judge | None = (
        None  # the answering model itself, where the first is not sure and it refuses to answer
    )
    settling: Settling | None = None  # what an answer is held against before it is given; None: it streams as it comes
    promise: Promise | None = None  # a time by which there is an answer, and what helps to keep it


@dataclass(frozen=True, slots=True)
class Job:
    """One request with all that was decided about it before work began."""

    ctx: RequestContext
    request: ChatRequest
    plan: Plan
    keys: Keys
    reads: bool
    writes: bool
    case: Case | None = None  # what reviewed answers there are that may bear on it

    @property
    def checked(self) -> bool:
        """Its answer is held against documents before it is given, or rests on none. Only then other wordings may get
        it."""
        return self.plan.gatherer is None or is_plain(self.request)

    @property
    def looks_again(self) -> bool:
        """When a refusal that is kept for it is asked for again, a judge looks at what was answered since."""
        plan = self.plan
        return plan.judge is not None and plan.settling is not None and self.writes and self.keys.semantic


@dataclass(frozen=True, slots=True)
class Asking:
    """A question that the cache alone could not answer, with what was found for it."""

    job: Job
    flight: str | None  # under which other wordings may join
    doubts: tuple[Doubtful, ...]  # kept answers that a judge may find to be the one
    evidence: Evidence
    vector: Vector | None
    began: float  # on the deadline's clock
    meaning: Meaning = STANDS_ALONE
    doubted: Consulted | None = None  # what the judge would have served: this time answered afresh, and compared
    reused: tuple[Passage, ...] = ()  # found for another wording alone, which the judge took for this question
    followed: set[CacheKey] = field(default_factory=set)  # whose events were passed on
    landed: list[CacheHit] = field(default_factory=list)  # answers of flights that ended, and this wording contests

    @property
    def shown(self) -> Evidence:
        """What the model is shown: what was found for this wording, and what another one adds."""
        if not self.reused:
            return self.evidence
        there = (*self.evidence.passages, *self.reused)
        return replace(
            self.evidence, passages=tuple(sorted(there, key=lambda p: (p.collection, p.document, p.position)))
        )

    def contests(self, hit: CacheHit) -> bool:
        """What was found for this wording does not bear out the answer that it is to be given. A person's is not
        doubted."""
        if hit.served_by is ServedBy.REVIEWED or self.job.plan.settling is None or not self.evidence.passages:
            return False
        apart = set(hit.entry.evidence).isdisjoint(self.evidence.ids)
        return apart or not borne_out(hit.entry, self.job.request.question, self.evidence)

    def against(self, found: Consulted) -> Asking:
        """To be answered afresh and compared with ``found``. Where this wording contests it, with what that cites
        among the evidence: it may only have been found badly."""
        if found.hit is None or found.audit:
            return replace(self, doubted=found)
        there = set(self.evidence.ids)
        more = tuple(p for p in cited(found.hit.entry) if p.id not in there)
        return replace(self, doubted=found, reused=more)

    def refutes(self, lead: str) -> bool:
        """As ``contests`` for the first paragraph of an answer that is still being made for another wording."""
        if self.job.plan.settling is None or not self.evidence.passages:
            return False
        question = self.job.request.question
        return said_better(question, lead, self.evidence) or bool(doubts_of(lead, Matter(question, self.evidence)))

    def without_neighbours(self) -> Asking:
        """Of the kept answers only those that another line of the documents does not answer better."""
        question, evidence = self.job.request.question, self.evidence
        kept = (d for d in self.doubts if not said_better(question, lead_of(d.entry.answer.text), evidence))
        return replace(self, doubts=tuple(kept))
