"""A reranking service behind one HTTP call: a model that reads question and passage puts what was found in order.

``cohere``: POST {"model", "query", "documents", "top_n"} → {"results": [{"index", "relevance_score"}]}, as Cohere,
Jina, vLLM, Infinity, Xinference and LiteLLM speak it. ``tei``: POST {"query", "texts"} → [{"index", "score"}], as
Hugging Face's text-embeddings-inference does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import aiohttp

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.retrieval.sources.rest import SourceError, post

MOST_CHARS = 2_000  # of a passage: longer ones are cut by the models themselves

Kind = Literal["cohere", "tei"]


class HttpReranker:
    """Callable as ``gather.Rerank``."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        kind: Kind = "cohere",
        model: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._kind = kind
        self._model = model
        self._headers = dict(headers or {})

    async def __call__(self, text: str, passages: Sequence[Passage], deadline: Deadline) -> Sequence[Passage]:
        """``passages``, best first, with the service's scores; those it leaves out follow in their order. Raises
        SourceError, aiohttp.ClientError or TimeoutError."""
        reply = await post(self._session, self._url, self._body(text, passages), self._headers, deadline)
        scores = self._scores(reply, len(passages))
        least = min(scores.values(), default=0.0)
        scored = [replace(passage, score=scores.get(number, least)) for number, passage in enumerate(passages)]
        order = sorted(range(len(passages)), key=lambda n: (n not in scores, -scored[n].score, n))
        return [scored[n] for n in order]

    def _body(self, text: str, passages: Sequence[Passage]) -> Mapping[str, Any]:
        texts = [_readable(passage)[:MOST_CHARS] for passage in passages]
        if self._kind == "tei":
            return {"query": text, "texts": texts, "truncate": True}
        named = {"model": self._model} if self._model else {}
        return {**named, "query": text, "documents": texts, "top_n": len(texts)}

    def _scores(self, reply: Any, count: int) -> dict[int, float]:
        """Score by number of the passage."""
        rows = reply if self._kind == "tei" else reply.get("results") if isinstance(reply, dict) else None
        field = "score" if self._kind == "tei" else "relevance_score"
        try:
            scores = {int(row["index"]): float(row[field]) for row in rows or ()}
        except (TypeError, KeyError, ValueError) as error:
            raise SourceError(f"{self._url}: no list of index and {field}") from error
        if not scores or not all(0 <= number < count for number in scores):
            raise SourceError(f"{self._url}: the reply ranks none of the passages, or others")
        return scores


def _readable(passage: Passage) -> str:
    heading = passage.section or passage.title
    return f"{heading}\n{passage.text}" if heading else passage.text
