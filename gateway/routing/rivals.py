"""Is an answer the answer to this question, or to its neighbour? Pure.

"The interest rate of the housing loan is 1.8 %" is borne out by the documents and close to "what is the limit of the
housing loan?", and still no answer: another line says "housing loan" and "limit" as well.
"""

from __future__ import annotations

from gateway.chat import Evidence
from gateway.routing.gate import features, nearest, normal, units


def said_better(question: str, answer: str, evidence: Evidence) -> bool:
    """Another line of the passages says all of the question that the answer and the line it rests on do, and more of
    it in its own words. ``answer``: its first paragraph."""
    if not evidence.passages:
        return False
    asked, said = features(normal(question)), features(normal(answer))
    own = nearest(said, evidence.passages)
    mine = asked & (own.features | own.around | said)
    others = (unit for passage in evidence.passages for unit in units(passage) if unit is not own)
    return any(mine < asked & (unit.features | unit.around) and not asked & unit.features <= mine for unit in others)
