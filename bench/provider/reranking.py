"""A reranker of passages: the share of the question that a passage's best statement covers (pure).

As able as the stand-in's answers are, which rest on the same ranking of statements; no stand-in for a cross-encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from bench.provider.passages import Passage, Prompt
from bench.provider.profiles import LatencyProfile
from bench.provider.ranking import rank
from bench.provider.wire import ApiError

MEDIAN_S, SIGMA = 0.6, 0.4  # of one call: the reranking stage of 2023; the spread is a judgement


def relevance(question: str, documents: Sequence[str]) -> list[float]:
    """One score in [0, 1] per document, in order."""
    passages = tuple(Passage(f"doc{n}", "", text) for n, text in enumerate(documents))
    scores = dict.fromkeys((passage.name for passage in passages), 0.0)
    for ranked in rank(Prompt(question, passages, True, None)):
        name = ranked.statement.passage
        scores[name] = max(scores[name], min(1.0, ranked.coverage))
    return list(scores.values())


def reply(body: Mapping[str, Any]) -> dict[str, Any]:
    """Cohere's answer to Cohere's question. Raises ApiError."""
    question, documents = body.get("query"), body.get("documents")
    if not isinstance(question, str) or not isinstance(documents, list) or not documents:
        raise ApiError(400, "Give 'query' as a string and 'documents' as an array of strings.", "invalid_type")
    scores = relevance(question, list(map(str, documents)))
    best = sorted(range(len(scores)), key=lambda n: (-scores[n], n))[: body.get("top_n") or len(scores)]
    return {"results": [{"index": n, "relevance_score": round(scores[n], 6)} for n in best]}


def draw_s(profile: LatencyProfile, rng: Random) -> float:
    return 0.0 if profile.name == "instant" else MEDIAN_S * rng.lognormvariate(0.0, SIGMA)
