"""May a question that was asked before answer this one? Neighbours in, one of them or a reason out."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.cache.facets import facets, veto
from gateway.cache.names import fold
from gateway.chat import CacheKey, Neighbor

STRICT_SIMILARITY = 0.975  # measured: half the wrong hits of 0.96 on bank and FAQ questions, for half the hits


@dataclass(frozen=True, slots=True)
class Decision:
    neighbor: Neighbor | None  # the question whose answer may be served; None is a miss
    reason: str  # why not; "" on a hit
    probability: float | None = None  # that the nearest answer not refused is right, where calibrated


class Rule(Protocol):
    """One way to decide. ``candidates`` is how many neighbours it wants to see."""

    @property
    def candidates(self) -> int: ...

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision: ...

    def worth_asking(
        self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]
    ) -> Sequence[CacheKey] | None:
        """Which of the neighbours' answers ``keys`` a judge should look at; None where nothing is known of that."""

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> CacheKey | None:
        """A miss was answered: ``same`` tells for kept answers whether the fresh one states the same facts.

        The kept answer that it would have served, or None.
        """

    def repeated(self, agreed: bool) -> None:
        """The very same question was answered once more: ``agreed`` tells whether with the same facts."""


@dataclass(frozen=True, slots=True)
class StrictRule:
    """Near in meaning and no difference in anything that a question turns on. Needs no calibration."""

    min_similarity: float = STRICT_SIMILARITY
    candidates: int = 8

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        reason = "nothing near"
        wanted = facets(asked)
        for neighbor in neighbors:  # most similar first
            if plain(neighbor.question.text) == plain(asked):
                return Decision(neighbor, "", 1.0)
            if neighbor.similarity < self.min_similarity:
                break
            difference = veto(wanted, facets(neighbor.question.text))
            if not difference:
                return Decision(neighbor, "")
            reason = difference
        return Decision(None, reason)

    def worth_asking(self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]) -> None:
        """Knows nothing of chances."""

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> CacheKey | None:
        """Learns nothing."""
        return None

    def repeated(self, agreed: bool) -> None:
        """Learns nothing."""


def decide(asked: str, neighbors: Sequence[Neighbor], rule: Rule | None = None) -> Decision:
    """The neighbour that may answer ``asked`` by ``rule`` (strict where none is given)."""
    return (rule or StrictRule()).decide(asked, neighbors)


def plain(text: str) -> str:
    """The question without what never matters: case (of ordinary words), spacing, closing punctuation. NFC."""
    return "".join(fold(unicodedata.normalize("NFC", text)).split()).rstrip("?!.~。？！")
