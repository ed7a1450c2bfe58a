"""What each number in a question counts: 어른 2명 and 아이 3명 are not 어른 3명 and 아이 2명. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from gateway.cache.lexical import stems
from gateway.cache.numbers import Number

_ATTACHED = re.compile(r"\s?[가-힣]+")  # counter and particle: "명", "시부터"


@dataclass(frozen=True, slots=True)
class Counted:
    value: float
    before: str  # nearest content word on either side, up to the next number; "" where there is none
    behind: str


def counted(text: str, numbers: Sequence[Number]) -> tuple[Counted, ...]:
    """Of a question in NFKC and lower case with these numbers, in their order."""
    if len(numbers) < 2:
        return ()
    starts, ends = [number.start for number in numbers], [number.end for number in numbers]
    gaps = [_gap(text, end, start) for end, start in zip([0, *ends], [*starts, len(text)], strict=True)]
    return tuple(
        Counted(number.value, before[-1] if before else "", behind[0] if behind else "")
        for number, before, behind in zip(numbers, gaps, gaps[1:], strict=False)
    )


def exchanged(one: Sequence[Counted], other: Sequence[Counted]) -> bool:
    """Two numbers stand for each other's things, on one side of them or on both, and neither where it stood."""
    if not one or not other:
        return False
    mine, theirs = _once(one), _once(other)
    for a, b in combinations(mine.keys() & theirs.keys(), 2):
        sides = [
            ((getattr(mine[a], side), getattr(mine[b], side)), (getattr(theirs[a], side), getattr(theirs[b], side)))
            for side in ("before", "behind")
        ]
        told = [(here, there) for here, there in sides if here[0] != here[1]]
        if any(here == there[::-1] for here, there in told) and not any(here == there for here, there in told):
            return True
    return False


def _gap(text: str, start: int, end: int) -> tuple[str, ...]:
    attached = _ATTACHED.match(text, start, end) if start else None
    return stems(text[attached.end() if attached else start : end])


def _once(found: Sequence[Counted]) -> Mapping[float, Counted]:
    counts = Counter(one.value for one in found)
    return {one.value: one for one in found if counts[one.value] == 1}
