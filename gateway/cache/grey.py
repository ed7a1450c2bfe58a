"""Which kept questions are worth a judge: near ones that the rule did not take, and that nothing contradicts. Pure.

A veto that rests on what only one of the two questions says ("a year", a role, a name) makes the rule refuse and a
judge look twice; one where both say something, and not the same, is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.cache.facets import contradicts, facets, veto
from gateway.chat import CacheKey, Neighbor

MOST_DOUBTS = 3  # kept answers that one question is compared with


@dataclass(frozen=True, slots=True)
class Grey:
    neighbor: Neighbor
    veto: str  # why the rule would refuse this neighbour whatever its similarity; "" where it would not


def grey(asked: str, neighbors: Sequence[Neighbor], most: int = MOST_DOUBTS) -> list[Grey]:
    """At most ``most`` kept answers, each by its nearest question that does not contradict ``asked``."""
    wanted = facets(asked)
    found: dict[CacheKey, Grey] = {}
    for neighbor in neighbors:  # most similar first
        kept = facets(neighbor.question.text)
        if neighbor.question.key not in found and neighbor.question.text and not contradicts(wanted, kept):
            found[neighbor.question.key] = Grey(neighbor, veto(wanted, kept))
    return list(found.values())[:most]
