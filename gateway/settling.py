"""An answer is settled before it is given: what an earlier answer, the documents or another sample speak against waits.

The first paragraph of every answer from documents (where a time is promised and nothing was answered before: the first
sentence) is held back until it is whole, and looked at: does it state a number or a code that no passage states, refuse
although passages were found, contradict the earlier answer to the same question, or a second sample asked for beside
it? Where nothing speaks against it, it streams on. Otherwise more samples are taken, and the best supported one is
given. Never retracts: nothing was sent so far.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.cache.replay import replay
from gateway.chat import (
    CacheEntry,
    CacheHit,
    CacheOutcome,
    Evidence,
    Json,
    Passage,
    Send,
)
from gateway.clock import Deadline
from gateway.facts import Comparison, Verdict, compare, signature, unsupported
from gateway.metrics import Metrics
from gateway.retrieval.grounding import SEED
from gateway.routing.gate import answers_another, misplaced
from gateway.routing.nearness import Nearness
from gateway.routing.spend import Allowance
from gateway.samples import Ask, Sample, lead_of
from gateway.stages import beside

TEMPERATURE = 0.5  # of samples beyond the first: at 0 they would repeat it, faults and all
MOST_SAMPLES = 3
REFUSES = ("refusal",)
_CITED = re.compile(r"\[doc(\d+)\]", re.IGNORECASE)

AGAIN = -1  # the number of the sample that the earlier answer's own question is asked for again


@dataclass(slots=True)
class Matter:
    """What an answer is held against, and how it went."""

    question: str
    evidence: Evidence
    earlier: CacheEntry | None = None  # what this question was answered with before, on the same documents
    contested: bool = False  # it was another wording's, and not plainly an answer to this one
    refuted: bool = False  # and what was found for this one does not bear it out
    sure: bool = False  # a judge is sure that the two ask the same
    confirms: Callable[[], Awaitable[bool]] | None = None  # a second judge, where it is not
    witnesses: int = 0  # samples beside the first one
    due: Deadline | None = None  # the promised time, if any: then the first sentence is the lead
    may_ask: Callable[[], bool] = lambda: True  # sets aside the cost of one more sample, if there is room
    near: Callable[[], Awaitable[Nearness | None]] | None = None  # looks which lines are near to the question
    nearness: Nearness | None = None  # what it saw
    result: str = ""  # fine, second, third, earlier, doubtful or unfinished
    flip: Comparison | None = None  # how the fresh answer contradicts the earlier one
    fresh: str = ""  # the answer that the earlier one was compared with
    overruled: bool = False  # contested, and asked again its own question was answered otherwise as well

    @property
    def disputed(self) -> bool:
        """The earlier answer and a fresh one contradict each other, and either may be the right one."""
        return self.flip is not None and not self.contested

    @property
    def kept_earlier(self) -> bool:
        return self.result == "earlier"

    async def look(self) -> None:
        if self.near is not None:
            self.nearness, self.near = await self.near(), None

    def asking(self, question: str) -> Matter:
        """The same over the same documents, for another question."""
        return self if question == self.question else replace(self, question=question, near=None, nearness=None)


@dataclass(frozen=True, slots=True)
class Settling:
    """How far a model's answers are settled."""

    witnesses: int  # samples beside the first one where nothing was answered before
    allowance: Allowance  # for samples beyond the first
    fresh: bool = True  # also where nothing was answered before


@dataclass(slots=True)
class Settler:
    metrics: Metrics

    async def settle(self, ask: Ask, matter: Matter, send: Send) -> None:
        """Send one whole answer. Raises the first sample's error where there is nothing else to give."""
        samples = [Sample(ask, 0, matter.due)]
        try:
            for number in range(1, 1 + matter.witnesses):
                if matter.may_ask():
                    samples.append(Sample(ask, number, matter.due))
            async with beside() as start:
                await self._settle(ask, samples, matter, start(matter.look()), send)
        finally:
            await asyncio.gather(*(sample.stop() for sample in samples))

    async def _settle(
        self, ask: Ask, samples: list[Sample], matter: Matter, looking: asyncio.Task[None], send: Send
    ) -> None:
        first = samples[0]
        lead = await first.lead_in_time()
        if lead is None and not doubts_of(first.text, matter):
            matter.result = "unfinished"
            self.metrics.settled(matter.result)
            await first.give(send)
            return
        lead = lead if lead is not None else await first.lead()
        await looking
        earlier = matter.earlier
        if earlier is not None and (matter.contested or _stands(earlier, matter)):
            comparison = compare(signature(lead), signature(earlier.answer.text))
            if comparison.verdict is Verdict.UNCLEAR:
                comparison = compare(signature(await first.whole()), signature(earlier.answer.text))
            if _no_other(comparison.verdict, lead, earlier, matter):
                self._keep_earlier(earlier, matter, send)
                return
            if comparison.verdict is Verdict.DIFFERENT:
                matter.flip, matter.fresh = comparison, first.text
        while len(samples) < MOST_SAMPLES and await _in_doubt(samples, matter) and matter.may_ask():
            samples.append(Sample(ask, len(samples), matter.due))
        best = await _best(samples, matter)
        if best is not None and matter.disputed and not await _outweighs(ask, best, matter):
            best = None
        if earlier is not None and (best is None or await _after_all(best, earlier, matter)):
            self._keep_earlier(earlier, matter, send)
            return
        assert best is not None
        if matter.contested:
            matter.overruled = await _overruled(ask, await best.lead(), matter)
        doubtful = bool(doubts_of(await best.lead(), matter))
        matter.result = "doubtful" if doubtful else ("fine", "second", "third")[samples.index(best)]
        self.metrics.settled(matter.result)  # with its last event the caller may leave, and this task is cancelled
        await best.give(send)

    def _keep_earlier(self, earlier: CacheEntry, matter: Matter, send: Send) -> None:
        matter.result = "earlier"
        self.metrics.settled(matter.result)
        replay(CacheHit(earlier, CacheOutcome.EXACT), send)


def doubts_of(lead: str, matter: Matter) -> tuple[str, ...]:
    """What the documents do not bear out of an answer's first paragraph."""
    passages = [f"{p.title} {p.section} {p.text}" for p in matter.evidence.passages]
    if not passages:
        return ()
    if signature(lead).refuses:
        return REFUSES
    wrong = misplaced(lead, matter.question, matter.evidence)
    return unsupported(lead, passages, matter.question) or ((wrong,) if wrong else ())


def weakness(answer: str, matter: Matter) -> int:
    """0 where nothing speaks against an answer, 1 where it may be one to another question, 2 where the documents speak
    against it."""
    if doubts_of(answer, matter):
        return 2
    beside = matter.nearness is not None and matter.nearness.beside(answer)
    return int(beside or answers_another(answer, matter.question, matter.evidence))


def _stands(earlier: CacheEntry, matter: Matter) -> bool:
    """The documents bear the earlier answer out: a wrong one must not spread. What it rested on itself counts as
    well: those documents have not changed."""
    there = set(matter.evidence.ids)
    more = () if matter.contested else tuple(p for p in earlier.citations if p.id not in there)
    known = replace(matter.evidence, passages=(*matter.evidence.passages, *more))
    return not doubts_of(earlier.answer.text, replace(matter, evidence=known))


def borne_out(entry: CacheEntry, question: str, evidence: Evidence) -> bool:
    """What was found for ``question`` states what the kept answer does, and holds a passage that it cites."""
    lead = lead_of(entry.answer.text)
    if doubts_of(lead, Matter(question, evidence)):
        return False
    ids = {passage.id for passage in cited(entry)}
    return not ids or not ids.isdisjoint(evidence.ids)


def cited(entry: CacheEntry) -> tuple[Passage, ...]:
    """The passages that the first paragraph of a kept answer cites."""
    numbers = dict.fromkeys(int(number) for number in _CITED.findall(lead_of(entry.answer.text)))
    return tuple(entry.citations[n - 1] for n in numbers if 1 <= n <= len(entry.citations))


def _no_other(verdict: Verdict, lead: str, earlier: CacheEntry, matter: Matter) -> bool:
    """The earlier answer says what the fresh one does, or at least nothing else: the latter is enough where it was
    not refuted, and the fresh one is no better."""
    if verdict is not Verdict.UNCLEAR:
        return verdict is Verdict.SAME
    return not matter.refuted and weakness(lead, matter) >= weakness(earlier.answer.text, matter)


async def _after_all(best: Sample, earlier: CacheEntry, matter: Matter) -> bool:
    """What is to be given says what was given before: by other samples than the first, or that nothing is found. Or it
    says so now, while nothing speaks against the answer to what a judge is sure, or two judges say, is the same
    question."""
    fresh, before = signature(await best.lead()), signature(earlier.answer.text)
    if fresh.refuses and not before.refuses:
        if not matter.contested or weakness(earlier.answer.text, matter.asking(earlier.question)) > 1:
            return False
        return matter.sure or (matter.confirms is not None and await matter.confirms())
    if fresh.refuses and not matter.contested:
        return True
    return matter.contested and compare(fresh, before).verdict is Verdict.SAME


async def _outweighs(ask: Ask, best: Sample, matter: Matter) -> bool:
    """A wording that is always read amiss does not replace the answer that another one was given."""
    if matter.earlier is None or matter.earlier.question == matter.question:
        return True
    return await _overruled(ask, await best.lead(), matter)


async def _overruled(ask: Ask, lead: str, matter: Matter) -> bool:
    """More speaks against the earlier answer, as one to its own question, than against this one; or that question,
    asked once more, is answered as this one, and not as before. Else the two are different questions, or nobody knows
    which answer is right: each keeps its own."""
    if matter.earlier is None or signature(lead).refuses:
        return False
    own = matter.asking(matter.earlier.question)
    if weakness(lead, matter) < weakness(matter.earlier.answer.text, own):
        return True
    if not matter.may_ask():
        return False
    again = Sample(ask, AGAIN)
    try:
        told = signature(await again.lead())
    finally:
        await again.stop()
    if told.refuses or compare(told, signature(lead)).verdict is not Verdict.SAME:
        return False
    return compare(told, signature(matter.earlier.answer.text)).verdict is Verdict.DIFFERENT


async def _in_doubt(samples: Sequence[Sample], matter: Matter) -> bool:
    """Whether one more sample could change what is given."""
    leads = [await sample.lead() for sample in samples if not sample.failed]
    if matter.disputed or not leads:
        return True
    if len(leads) == 1:
        return weakness(leads[0], matter) > 0 or len(samples) > 1
    votes, borne_out = _votes(leads), [not doubts_of(lead, matter) for lead in leads]
    if any(borne_out):
        return matter.witnesses > 0 and not any(n for n, fine in zip(votes, borne_out, strict=True) if fine)
    if len(samples) <= 1 + matter.witnesses:  # all over the same passages: that they agree says little
        return True
    return max(votes) == 0 or not all(doubts_of(lead, matter) == REFUSES for lead in leads)


async def _best(samples: Sequence[Sample], matter: Matter) -> Sample | None:
    """The sample that most others agree with, among those the documents bear out; None: the earlier answer stands."""
    alive = [sample for sample in samples if not sample.failed]
    if not alive:
        await samples[0].whole()  # raises
    leads = [await sample.lead() for sample in alive]
    if matter.disputed and matter.earlier is not None:
        leads.append(matter.earlier.answer.text)
    votes = _votes(leads)
    weak = [weakness(lead, matter) for lead in leads]
    order = sorted(range(len(leads)), key=lambda n: (weak[n] > 1, -votes[n], weak[n]))
    best = order[0]
    if matter.disputed and matter.earlier is not None and _as_good(len(alive), best, weak, votes):
        return None
    return alive[best]


def _as_good(earlier: int, best: int, weak: Sequence[int], votes: Sequence[int]) -> bool:
    """Nothing beats the earlier answer: what is as well borne out does not replace it."""
    return (weak[earlier], -votes[earlier]) <= (weak[best], -votes[best])


def _votes(leads: Sequence[str]) -> list[int]:
    """How many of the others state the same facts as each."""
    signed = [signature(lead) for lead in leads]
    return [
        sum(compare(one, other).verdict is Verdict.SAME for m, other in enumerate(signed) if m != n)
        for n, one in enumerate(signed)
    ]


def contradicted(earlier: CacheEntry | None, text: str) -> bool:
    """``text`` states other facts than the earlier answer."""
    return earlier is not None and compare(signature(text), signature(earlier.answer.text)).verdict is Verdict.DIFFERENT


def another_sample(asked: Json, grounded: Json, number: int) -> dict[str, Any]:
    """The body of sample ``number``: drawn anew where the caller left that to us."""
    body = {**grounded, "seed": SEED + number}
    return body if asked.get("temperature") is not None else body | {"temperature": TEMPERATURE}


def kept_of(matter: Matter) -> str:
    """Which answer a flip ended with: the earlier or the fresh one, or a correction that another wording called for."""
    return "earlier" if matter.kept_earlier else "corrected" if matter.contested else "fresh"
