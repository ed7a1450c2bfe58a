"""Token log-probabilities that know, mostly, where an answer is wrong (pure).

Shaped so that the minimum over an answer separates right from wrong with an AUC of about .92, as measured on a real
1.5B model (research of 2026-11, 52 questions): 85 % of wrong answers betray themselves, the rest look right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from bench.provider.mistakes import fact_pattern

BETRAYED_RATE = 0.85
# Lowest logprob of a right answer and of a changed fact: minus LogN(ln median, sigma).
# P(wrong lower than right) = .993, so AUC = .85 * .993 + .15 * .5 = .92
RIGHT_MINIMUM = (0.35, 0.50)
WRONG_MINIMUM = (1.80, 0.45)
_FILLERS = (
    " the",
    "은",
    " 약",
    "0",
    " a",
    "의",
    "1",
    " 및",
    ",",
    " and",
    "에",
    "5",
    " 또는",
    "로",
    " of",
    "2",
    ".",
    "이",
    " 각",
    "일",
)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]  # most likely first; holds the token itself when it is among them


def token_logprobs(tokens: Sequence[str], doubtful: Sequence[str], rng: Random, top: int) -> list[TokenLogprob]:
    """One per token. ``doubtful``: parts of the text that are not from the passages. ``top``: alternatives, 0 to 20."""
    floor = -_lognormal(rng, *RIGHT_MINIMUM)
    low = -_lognormal(rng, *WRONG_MINIMUM)
    unsure = _tokens_inside(tokens, doubtful) if rng.random() < BETRAYED_RATE else []
    values = [floor * rng.random() ** 6 for _ in tokens]  # most tokens are near certain
    if values:
        values[rng.randrange(len(values))] = floor
    for nth, position in enumerate(unsure):
        values[position] = low if nth == 0 else low * rng.random()
    return [
        TokenLogprob(token, value, _alternatives(token, value, top))
        for token, value in zip(tokens, values, strict=True)
    ]


def _tokens_inside(tokens: Sequence[str], parts: Sequence[str]) -> list[int]:
    """Positions of tokens that overlap any of ``parts``, in order."""
    text, ends = "".join(tokens), list(accumulate(map(len, tokens)))
    spans = [match.span() for part in parts for match in fact_pattern(part).finditer(text)]
    return [
        i for i, end in enumerate(ends) if any(start < end and end - len(tokens[i]) < stop for start, stop in spans)
    ]


def _alternatives(token: str, logprob: float, top: int) -> tuple[tuple[str, float], ...]:
    """``top`` tokens that share the probability: the rest halves from one to the next."""
    if top == 0:
        return ()
    rest = max(1e-9, 1.0 - math.exp(logprob))
    others = [filler for filler in _FILLERS if filler != token][:top]
    found = [(token, logprob), *((other, math.log(rest * 0.5 ** (n + 1))) for n, other in enumerate(others))]
    return tuple(sorted(found, key=lambda pair: -pair[1])[:top])


def _lognormal(rng: Random, median: float, sigma: float) -> float:
    return median * math.exp(sigma * rng.gauss(0.0, 1.0))
