"""Which facts of an answer its documents do not state. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from gateway.facts.quantities import Quantity, equal
from gateway.facts.signature import Facts, signature


def unsupported(answer: str, passages: Iterable[str], question: str = "") -> tuple[str, ...]:
    """Quantities and codes of the answering sentence that neither a passage nor the question states; for a log.

    An empty result means that nothing speaks against the answer, not that it is right.
    """
    lead = signature(answer).lead
    known = [_stated(text) for text in passages]
    if question:
        known.append(_stated(question))
    said = [quantity for facts in known for quantity in facts.quantities]
    codes = frozenset().union(*(facts.codes for facts in known)) if known else frozenset()
    lost = [_shown(q) for q in lead.quantities if not any(_supports(q, other) for other in said)]
    return (*lost, *sorted(lead.codes - codes))


def _supports(one: Quantity, other: Quantity) -> bool:
    return equal(one, other) or (not other.kind and one.value == other.value)


@lru_cache(maxsize=1_000)
def _stated(text: str) -> Facts:
    return signature(text).whole


def _shown(quantity: Quantity) -> str:
    return f"{quantity.value:g} {quantity.kind}".strip()
