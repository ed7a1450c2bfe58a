"""Which statement a model takes whose reading errors are set, since it was told what answers the question (pure).

Overlap of words (``ranking.py``) reads documents that it was not made for far worse than a real small model does, and
then a bench measures the stand-in. Here the right statement is taken but for ``Faults.misreads``; what is taken instead
is the one that most words speak for, as real small models copy the neighbouring fact. Where no statement answers, a
model says so with ``Faults.honesty``, and else takes such a one as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bench.provider.config import Faults
from bench.provider.passages import Prompt
from bench.provider.ranking import Ranked
from bench.provider.truths import Gold

STEADY_SHARE = 0.7  # with seed and temperature 0 an answer repeats this often; real providers do not always either


@dataclass(frozen=True, slots=True)
class Taken:
    """The statements in the order in which the model takes them; none: it says that nothing answers. ``amiss``: the
    first is not what answers."""

    statements: Sequence[Ranked]
    amiss: bool = False


def taken(prompt: Prompt, ranked: Sequence[Ranked], gold: Gold, faults: Faults, rng: Random, *, steady: bool) -> Taken:
    """``steady``: the same prompt is mostly read in the same way."""
    repeated, fresh = Random(f"{prompt.question} {[p.name for p in prompt.passages]}").random(), rng.random()
    chance = repeated if steady and rng.random() < STEADY_SHARE else fresh
    stating = _stating(ranked, gold)
    others = [one for one in ranked if one not in stating]
    if not stating:
        return Taken((), False) if chance < faults.honesty or not others else Taken(others, True)
    if others and chance < faults.misreads:
        return Taken(others, True)
    return Taken([*stating, *others])


def _stating(ranked: Sequence[Ranked], gold: Gold) -> list[Ranked]:
    """Those of the document where the answer stands before all others that happen to say the same. Where it takes more
    than one statement of it, the one with most words in common."""
    found = [one for one in ranked if gold.stands_in(one.statement.text)]
    of_document = [one for one in ranked if gold.document and gold.document in one.statement.context]
    together = gold.stands_in(" ".join(one.statement.text for one in of_document), siblings_too=True)
    return [one for one in found if one in of_document] or found or (of_document[:1] if together else [])
