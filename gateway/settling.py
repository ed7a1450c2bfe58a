"""An answer is settled before it is given: what an earlier answer, the documents or another sample speak against waits.

The first paragraph of every answer from documents (where a time is promised and nothing was answered before: the first
sentence) is held back until it is whole, and weighed as any answer is (``routing/doubting.py``): by its numbers, its
log-probabilities, and what other samples say. Where it is sure, it streams on. Otherwise more samples are taken, and
the likeliest is given; where none is likely right, that the documents do not say it. Shortly before the promised time
the likeliest so far is. Never retracts: nothing was sent so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from gateway.facts import Comparison, Verdict, compare, signature
from gateway.metrics import Metrics
from gateway.retrieval.grounding import SEED
from gateway.routing.doubting import GIVEN, Doubts, Said
from gateway.routing.gate import CITATION, REFUSES, why_unsupported
from gateway.routing.leads import CERTAIN, Weight, agree, undecided, weights
from gateway.routing.spend import Allowance
from gateway.routing.weighing import Scale
from gateway.samples import Ask, Sample, lead_of

TEMPERATURE = 0.5  # of samples beyond the first: at 0 they would repeat it, faults and all
MOST_SAMPLES = 5
LAST_CALL_S = 0.8  # before the promised time: nothing is held back any longer that is likely right so far
FEWEST_TO_WITHHOLD = 3
AT_ONCE = 6.0  # average answers' cost that may be spent on samples at once: one question may take them all
NTH = ("fine", "second", "third", "fourth", "fifth")
Choice = Sample | CacheEntry | Callable[[Send], None]  # one of the samples, the earlier answer, or that there is none
AGAIN = (-1, -2)  # the numbers of the samples that the earlier answer's own question is asked for again


@dataclass(slots=True)
class Matter:
    """What an answer is held against, and how it went."""

    question: str
    evidence: Evidence
    earlier: CacheEntry | None = None  # what this question was answered with before, on the same documents
    contested: bool = False  # it was another wording's, and what was found for this one does not bear it out
    sure: bool = False  # a judge is sure that the two ask the same
    confirms: Callable[[], Awaitable[bool]] | None = None  # a second judge, where it is not
    witnesses: int = 0  # samples beside the first one
    due: Deadline | None = None  # the promised time, if any
    may_ask: Callable[[], bool] = lambda: True  # sets aside the cost of one more sample, if there is room
    scale: Scale = field(default_factory=Scale)  # of the log-probabilities of the model that answers
    none: Callable[[Send], None] | None = None  # tells that the documents do not say it
    result: str = ""  # fine, second, third, earlier, doubtful, none or unfinished
    weight: Weight = CERTAIN  # of what was given
    flip: Comparison | None = None  # how the fresh answer contradicts the earlier one
    fresh: str = ""  # the answer that the earlier one was compared with
    overruled: bool = False  # contested, and asked again its own question was answered otherwise as well

    @property
    def brief(self) -> bool:
        """The first sentence is the lead: a time is promised, and nothing was answered before."""
        return self.due is not None and self.earlier is None

    @property
    def disputed(self) -> bool:
        """The earlier answer and a fresh one contradict each other, and either may be the right one."""
        return self.flip is not None and not self.contested

    @property
    def kept_earlier(self) -> bool:
        return self.result == "earlier"

    def asking(self, question: str) -> Matter:
        """The same over the same documents, for another question."""
        return self if question == self.question else replace(self, question=question)


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
        samples = [Sample(ask, 0, matter.brief)]
        try:
            for number in range(1, 1 + matter.witnesses):
                if matter.may_ask():
                    samples.append(Sample(ask, number, matter.brief))
            choice = await _settled_in_time(ask, samples, matter)
            self.metrics.settled(matter.result)  # with its last event the caller may leave: this task is cancelled then
            match choice:
                case Sample():
                    await choice.give(send)
                case CacheEntry():
                    replay(CacheHit(choice, CacheOutcome.EXACT), send)
                case _:
                    choice(send)
        finally:
            await asyncio.gather(*(sample.stop() for sample in samples))


async def _settled_in_time(ask: Ask, samples: list[Sample], matter: Matter) -> Choice:
    """Where the promised time is nearly up before all is settled: what it leaves, if anything."""
    if matter.due is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, matter.due.remaining_s() - LAST_CALL_S)):
                return await _settled(ask, samples, matter)
        if (choice := _so_far(samples, matter)) is not None:
            return choice
    return await _settled(ask, samples, matter)


async def _settled(ask: Ask, samples: list[Sample], matter: Matter) -> Choice:
    first, earlier = samples[0], matter.earlier
    lead = await first.lead()
    if earlier is not None and (matter.contested or _stands(earlier, matter)):
        comparison = compare(signature(lead), signature(earlier.answer.text))
        if comparison.verdict is Verdict.UNCLEAR:
            comparison = compare(signature(await first.whole()), signature(earlier.answer.text))
        if _no_other(comparison.verdict, lead, earlier, matter):
            return _keep_earlier(earlier, matter)
        if comparison.verdict is Verdict.DIFFERENT:
            matter.flip, matter.fresh = comparison, first.text
    while len(samples) < MOST_SAMPLES and await _in_doubt(samples, matter) and matter.may_ask():
        samples.append(Sample(ask, len(samples), matter.brief))
    best = await _best(samples, matter)
    if best is not None and matter.disputed and not await _outweighs(ask, best, matter):
        best = None
    if earlier is not None and (best is None or await _after_all(best, earlier, matter)):
        return _keep_earlier(earlier, matter)
    assert best is not None
    if matter.contested:
        matter.overruled = await _overruled(ask, await best.lead(), matter)
    if matter.none is not None and _unlikely(matter.weight, len(samples)):
        matter.result = "none"
        return matter.none
    matter.result = NTH[samples.index(best)] if matter.weight.sure else "doubtful"
    return best


def _keep_earlier(earlier: CacheEntry, matter: Matter) -> CacheEntry:
    matter.result, matter.weight = "earlier", CERTAIN
    return earlier


def _so_far(samples: Sequence[Sample], matter: Matter) -> Choice | None:
    """The earlier answer, where the documents bear it out and it is not contested; else the likeliest of what is there,
    as far as it is likely right, be it only the beginning of the first sample."""
    earlier = matter.earlier
    if earlier is not None and not matter.contested and _stands(earlier, matter):
        return _keep_earlier(earlier, matter)
    told = [sample for sample in samples if sample.told]
    if not told:
        begun = samples[0].text
        likely = Doubts(matter.question, matter.evidence).confidence(begun, None, False) > GIVEN
        matter.result = "unfinished"
        return samples[0] if begun.strip() and likely else None
    said = [Said(sample.lead_so_far(), matter.scale.read(sample.lowest)) for sample in told]
    found = weights(said, matter.question, matter.evidence)
    best = max(range(len(told)), key=found.__getitem__)
    matter.result, matter.weight = "unfinished", found[best]
    return told[best] if found[best].confidence >= GIVEN else None


def doubts_of(lead: str, matter: Matter) -> str:
    """Why the documents do not bear out an answer's first paragraph; "" where they do. Its citations may be of other
    evidence."""
    if not matter.evidence.passages:
        return ""
    said = CITATION.sub("", lead)
    return REFUSES if signature(lead).refuses else why_unsupported(said, matter.question, matter.evidence)


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
    numbers = dict.fromkeys(int(number) for number in CITATION.findall(lead_of(entry.answer.text)))
    return tuple(entry.citations[n - 1] for n in numbers if 1 <= n <= len(entry.citations))


def _no_other(verdict: Verdict, lead: str, earlier: CacheEntry, matter: Matter) -> bool:
    """The earlier answer says what the fresh one does, or, if it is to the same question and no worse, at least nothing
    else."""
    if matter.contested:
        return agree(lead, lead_of(earlier.answer.text), matter.evidence)
    if verdict is not Verdict.UNCLEAR:
        return verdict is Verdict.SAME
    return bool(doubts_of(lead, matter)) >= bool(doubts_of(lead_of(earlier.answer.text), matter))


async def _after_all(best: Sample, earlier: CacheEntry, matter: Matter) -> bool:
    """What is to be given says what was given before: by other samples than the first, or that nothing is found. Or it
    is not sure, or finds nothing, while nothing speaks against the answer to what a judge is sure, or two judges say,
    is the same question."""
    lead, before = await best.lead(), lead_of(earlier.answer.text)
    refuses, refused = signature(lead).refuses, signature(before).refuses
    if not matter.contested:
        return refuses and refused
    if agree(lead, before, matter.evidence):
        return True
    if refused or (matter.weight.sure and not refuses):
        return False
    if doubts_of(earlier.answer.text, matter.asking(earlier.question)):
        return False
    return matter.sure or (matter.confirms is not None and await matter.confirms())


async def _outweighs(ask: Ask, best: Sample, matter: Matter) -> bool:
    """A wording that is always read amiss does not replace the answer that another one was given."""
    if matter.earlier is None or matter.earlier.question == matter.question:
        return True
    return await _overruled(ask, await best.lead(), matter)


async def _overruled(ask: Ask, lead: str, matter: Matter) -> bool:
    """The documents refute the earlier answer, as one to its own question, and not this one; or that question, asked
    anew, is answered as this one, and not as before. Else the two are different questions, or nobody knows which answer
    is right: each keeps its own."""
    if matter.earlier is None or signature(lead).refuses:
        return False
    before, own = lead_of(matter.earlier.answer.text), matter.asking(matter.earlier.question)
    if doubts_of(before, own) and not doubts_of(lead, matter):
        return True
    for number in AGAIN:
        told = await _told(ask, number) if matter.may_ask() else ""
        if not told or agree(told, before, matter.evidence):
            return False
        if agree(told, lead, matter.evidence):
            return True
    return False


async def _told(ask: Ask, number: int) -> str:
    sample = Sample(ask, number)
    try:
        return await sample.lead()
    finally:
        await sample.stop()


async def _heard(samples: Sequence[Sample], matter: Matter) -> list[Said]:
    """What they say, and last the earlier answer where one contradicts it."""
    said = [Said(await sample.lead(), matter.scale.read(sample.lowest)) for sample in samples]
    before = matter.earlier if matter.flip is not None else None
    return said if before is None else [*said, Said(lead_of(before.answer.text))]


async def _in_doubt(samples: Sequence[Sample], matter: Matter) -> bool:
    """Whether one more sample could change what is given."""
    alive = [sample for sample in samples if not sample.failed]
    heard = await _heard(alive, matter)
    if matter.disputed and any(agree(one.text, heard[-1].text, matter.evidence) for one in heard[:-1]):
        return False  # the earlier answer stands
    opinions = 2 if matter.disputed else 1 if matter.witnesses > 0 or matter.flip is not None else 0
    return not alive or undecided(heard, opinions, matter.question, matter.evidence)


async def _best(samples: Sequence[Sample], matter: Matter) -> Sample | None:
    """The likeliest sample; None: the earlier answer stands."""
    alive = [sample for sample in samples if not sample.failed]
    if not alive:
        await samples[0].whole()  # raises
    for sample in alive:
        matter.scale.saw(sample.lowest)
    found = weights(await _heard(alive, matter), matter.question, matter.evidence)
    best = max(range(len(alive)), key=found.__getitem__)
    matter.weight = found[best]
    return None if matter.disputed and not _beats(found[best], found[-1]) else alive[best]


def _unlikely(best: Weight, samples: int) -> bool:
    """Not to be given: more likely wrong, and of three or more none says the same. One's log-probabilities alone do not
    tell: small models are unsure of all they say."""
    return best.confidence < GIVEN and not best.agree and samples >= FEWEST_TO_WITHHOLD


def _beats(best: Weight, earlier: Weight) -> bool:
    """What is sure takes the place of the earlier answer, which was settled once, where three samples say so and none
    says the other, or the documents refute that."""
    return best.sure and (best.agree > earlier.agree + 1 or earlier.confidence < GIVEN)


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
