"""First paragraphs of answers to one question, held against each other: which is the likeliest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.chat import Evidence
from gateway.facts import Verdict, compare, signature
from gateway.routing.doubting import GIVEN, MOST_AGREE, SURE, Doubts, Said
from gateway.routing.votes import line_of


class Weight(NamedTuple):
    """What speaks for one of them. The greatest is the likeliest: of the sure ones, that which most agree with."""

    sure: bool
    agree: int  # others that state the same
    confidence: float
    answers: bool  # it is no refusal


CERTAIN = Weight(True, 0, 1.0, True)


def weights(said: Sequence[Said], question: str, evidence: Evidence) -> list[Weight]:
    """What the documents refute has no say in the others."""
    borne_out = {n for n, one in enumerate(said) if _confidence(one, (), question, evidence) > 0.0}
    return [_weight(one, [said[m] for m in sorted(borne_out - {n})], question, evidence) for n, one in enumerate(said)]


def _weight(one: Said, others: Sequence[Said], question: str, evidence: Evidence) -> Weight:
    found = _confidence(one, others, question, evidence)
    agreeing = sum(agree(one.text, other.text, evidence) for other in others)
    sure = found >= SURE or (found > GIVEN and agreeing >= MOST_AGREE)
    return Weight(sure, agreeing, found, not signature(one.text).refuses)


def _confidence(one: Said, others: Sequence[Said], question: str, evidence: Evidence) -> float:
    if not evidence.passages:
        return 1.0
    return Doubts(question, evidence, [other.text for other in others]).confidence(one.text, one.lowest, True)


def agree(one: str, other: str, evidence: Evidence) -> bool:
    """They state the same facts, or that nothing is there; or rest on the same line and do not contradict each other.
    Words and codes in common prove nothing: the question has brought them up."""
    said, told = signature(one), signature(other)
    if said.refuses or told.refuses:
        return said.refuses and told.refuses
    verdict = compare(said, told).verdict
    stated = said.lead.quantities or said.lead.rates
    if verdict is Verdict.SAME and stated:
        return True
    return verdict is not Verdict.DIFFERENT and line_of(one, evidence) == line_of(other, evidence)


def undecided(said: Sequence[Said], opinions: int, question: str, evidence: Evidence) -> bool:
    """The likeliest is not sure, fewer than ``opinions`` others agree with it, or another one that is sure says
    something else, and as many agree with that."""
    found = weights(said, question, evidence)
    best = max(range(len(said)), key=found.__getitem__)
    if not found[best].sure or found[best].agree < opinions:
        return True
    rivals = [n for n, weight in enumerate(found) if weight.sure and weight.agree >= found[best].agree]
    return any(_contradict(said[best].text, said[n].text) for n in rivals)


def _contradict(one: str, other: str) -> bool:
    return compare(signature(one), signature(other)).verdict is Verdict.DIFFERENT
