"""Which statement answers the question: idf-weighted overlap of features (pure)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from bench.provider.features import features, weight
from bench.provider.passages import Prompt
from bench.provider.reading import fit, widened
from bench.provider.statements import Statement, statements

# Chosen on the questions of examples/handbook with the six likeliest passages each: 2 % of 437 answerable questions are
# refused for it, 8 of 12 unanswerable ones; so are 55 % of the answerable ones when their document is taken away.
ENOUGH = 0.28  # coverage that the best statement must have
CONTEXT_SHARE = 0.45  # worth of a feature found only in title or heading
ELSEWHERE_SHARE = 0.12  # … only elsewhere in the same passage


@dataclass(frozen=True, slots=True)
class Ranked:
    statement: Statement
    score: float
    coverage: float  # share of the question's weight found in the statement (half: in its context), in [0, 1]


@lru_cache(maxsize=2_000)
def rank(prompt: Prompt) -> tuple[Ranked, ...]:
    """Every statement of the prompt's passages, best first."""
    units = [unit for passage in prompt.passages for unit in statements(passage)]
    if not units:
        return ()
    asked = features(widened(prompt.question))
    own = [features(unit.text) for unit in units]
    context = [features(unit.context) for unit in units]
    spread = Counter(feature for mine, around in zip(own, context, strict=True) for feature in asked & (mine | around))
    worth = {f: weight(f) * math.log(1 + (len(units) - spread[f] + 0.5) / (spread[f] + 0.5)) for f in asked}
    plain = features(prompt.question)  # without idf: what all passages share says that they are about the question
    total = sum(map(weight, plain)) or 1.0
    elsewhere: dict[str, set[str]] = {}
    for unit, mine in zip(units, own, strict=True):
        elsewhere.setdefault(unit.passage, set()).update(asked & mine)
    ranked = []
    for position, (unit, mine, around) in enumerate(zip(units, own, context, strict=True)):
        said = sum(worth[f] for f in asked & mine)
        framed = sum(worth[f] for f in asked & (around - mine))
        near = sum(worth[f] for f in elsewhere[unit.passage] - mine - around)
        score = said + CONTEXT_SHARE * framed + ELSEWHERE_SHARE * near
        score *= fit(prompt.question, unit.text, unit.context)
        score *= 1 - 0.1 * min(1.0, len(unit.text) / 300) - 0.05 * position / len(units)  # shorter and earlier first
        covered = sum(map(weight, plain & mine)) + 0.5 * sum(map(weight, plain & (around - mine)))
        # Rounded, since sums over sets depend on their order, which differs from process to process.
        ranked.append(Ranked(unit, round(score, 9), round(covered / total, 9)))
    ranked.sort(key=lambda r: -r.score)
    return tuple(ranked)
