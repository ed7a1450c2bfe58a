"""Which kept questions are worth a judge: near ones that the rule did not take, and that nothing contradicts. Pure.

A veto that rests on what only one of the two questions says ("a year", a role, a name) makes the rule refuse and a
judge look twice; one where both say something, and not the same, is final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.cache.facets import Facets, facets, soft_conflict, veto
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


def contradicts(one: Facets, other: Facets) -> bool:
    """Both say something about one thing, and not the same."""
    return (
        one.language != other.language
        or (_unshared(one.numbers, other.numbers) and _unshared(other.numbers, one.numbers))
        or bool(one.codes - other.codes and other.codes - one.codes)
        or any(a and b and not a & b for a, b in zip(one.hard, other.hard, strict=True))
        or soft_conflict(one, other)
        or (one.order != other.order and sorted(one.order) == sorted(other.order))
    )


def _unshared(mine: tuple[tuple[float, str], ...], theirs: tuple[tuple[float, str], ...]) -> bool:
    """Some quantity is only mine; a unit that only one names is no difference."""
    left = list(theirs)
    for value, unit in mine:
        match = next((x for x in left if x[0] == value and (x[1] == unit or not unit or not x[1])), None)
        if match is None:
            return True
        left.remove(match)
    return False
