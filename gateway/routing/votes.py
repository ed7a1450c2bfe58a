"""What several answers to one question say of each other. Pure.

Models that are asked apart, over other cuts of the passages, seldom err alike: an answer that two more give is mostly
right, one that stands alone while another finds nothing is mostly not. That holds for documents of any kind, where
overlap of words and nearness of meaning say little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.chat import Evidence
from gateway.facts import Verdict, compare, signature
from gateway.routing.gate import features, nearest, normal, sentences


@dataclass(frozen=True, slots=True)
class Votes:
    agree: int = 0  # others that state the same facts, or rest on the same line
    refused: int = 0  # others that say that nothing is there
    others: int = 0


def votes_on(text: str, others: Iterable[str], evidence: Evidence) -> Votes:
    """A refusal agrees with nobody; it is counted among ``refused`` of the others."""
    own, line, agree, refused, count = signature(text), line_of(text, evidence), 0, 0, 0
    for other in others:
        count += 1
        said = signature(other)
        if said.refuses:
            refused += 1
        elif not own.refuses:
            agree += compare(own, said).verdict is Verdict.SAME or line == line_of(other, evidence)
    return Votes(agree, refused, count)


def line_of(text: str, evidence: Evidence) -> str:
    """The line of the passages that the first sentence rests on; the sentence itself where there is none."""
    sentence = next(iter(sentences(normal(text))), "")
    said = features(sentence)
    return nearest(said, evidence.passages).text if said and evidence.passages else sentence
