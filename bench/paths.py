"""Two ways to ask a question about documents: as an application of 2023 did it, and through a gateway.

Both use the openai SDK, as applications do, with its own retries. Seconds are what the application's user waits.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from openai import AsyncOpenAI, OpenAIError, omit

from bench.handbook import Question
from gateway.chat import Evidence
from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.grounding import documents
from gateway.retrieval.sources.embedded import EmbeddedSource

REWRITE = (
    "Rewrite the user's message as one search query over company documents. "
    "Answer with the query only, in at most 1 sentences."
)
STAND_ALONE = (
    "Rewrite the user's follow-up as one stand-alone question over company documents. Answer with the question only."
)
INSTRUCTIONS_2023 = (
    "You are a helpful assistant. Answer the question using the documents below and cite them as [docN]."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one ask came to."""

    question: Question
    answer: str
    error: str  # "" where there is an answer
    seconds: float  # sent → last token
    first_token_s: float  # sent → first token the user sees
    stages: Mapping[str, float] = field(default_factory=dict)  # seconds
    cache: str = ""
    tokens: int = 0  # that the provider billed for this ask; 0 where the answer came from the cache
    served_by: str = ""  # cache, model, draft, stale or quote; "" for the direct path
    labelled: bool = False  # the answer said that it is less than a full one


class DirectPath:
    """Sequential, without streaming: rewrite → embed → search → prompt → wait for the whole answer.

    A follow-up is searched by what the rewriting makes of it, a first question by its own words.
    Search runs in process and there is no reranker, which is kinder to this path than 2023 was: the services it would
    call added about 0.9 s (retrieval 0.25 s, reranking 0.6 s).
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        model: str,
        rewrite_model: str,
        embedding_model: str,
        source: EmbeddedSource,
        top_k: int = 6,
    ) -> None:
        self._client = client
        self._model = model
        self._rewrite_model = rewrite_model
        self._embedding_model = embedding_model
        self._source = source
        self._top_k = top_k
        self.max_tokens: int | None = None

    async def ask(self, question: Question) -> Outcome:
        began = time.monotonic()
        marks: dict[str, float] = {}
        try:
            query = await self._rewritten(question)
            marks["rewrite"] = time.monotonic()
            if self._embedding_model:
                await self._client.embeddings.create(model=self._embedding_model, input=query)
            marks["embed"] = time.monotonic()
            passages = await self._source.search(
                Search(query if question.turns else question.text, self._top_k, frozenset(), _no_vector),
                Deadline.after(10),
            )
            marks["search"] = time.monotonic()
            system = f"{INSTRUCTIONS_2023}\n\n{documents(Evidence(tuple(passages)))}"
            reply = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "system", "content": system}, *question.messages],
                max_tokens=self.max_tokens or omit,
            )
            marks["answer"] = time.monotonic()
        except OpenAIError as error:
            seconds = time.monotonic() - began
            return Outcome(question, "", str(error), seconds, seconds, _durations(began, marks))
        text = reply.choices[0].message.content or ""
        seconds = time.monotonic() - began
        tokens = reply.usage.total_tokens if reply.usage else 0
        return Outcome(question, text, "", seconds, seconds, _durations(began, marks), tokens=tokens)

    async def _rewritten(self, question: Question) -> str:
        text = question.text
        if not self._rewrite_model:
            return "\n".join([*(said for role, said in question.turns if role == "user"), text])
        instructions, asked, limit = REWRITE, text, 30
        if question.turns:
            earlier = next((said for role, said in reversed(question.turns) if role == "user"), "")
            instructions, asked, limit = STAND_ALONE, f"Earlier question: {earlier}\nFollow-up: {text}", 80
            asked = f"{instructions}\n{asked}"
        reply = await self._client.chat.completions.create(
            model=self._rewrite_model,
            messages=[{"role": "system", "content": instructions}, {"role": "user", "content": asked}],
            max_tokens=limit,
        )
        return reply.choices[0].message.content or text


class GatewayPath:
    """One streamed chat completion; the gateway does the rest."""

    def __init__(self, client: AsyncOpenAI, model: str) -> None:
        self._client = client
        self._model = model
        self.max_tokens: int | None = None

    async def ask(self, question: Question) -> Outcome:
        began = time.monotonic()
        first: float | None = None
        pieces: list[str] = []
        tokens = 0
        stages: dict[str, float] = {}
        cache = served_by = ""
        labelled = False
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                model=self._model,
                messages=question.messages,
                stream=True,
                stream_options={"include_usage": True},
                max_tokens=self.max_tokens or omit,
            )
            cache = reply.headers.get("x-ocho-cache", "")
            served_by = reply.headers.get("x-ocho-served-by", "").replace("pending", "model")
            stages = _server_timing(reply.headers.get("server-timing", ""))
            async for chunk in reply.parse():
                if told := (chunk.model_extra or {}).get("ocho"):  # by drafts and fallbacks, in their first chunk
                    served_by, labelled = str(told["served_by"]), bool(told["labelled"])
                if chunk.choices and chunk.choices[0].delta.content:
                    first = first or time.monotonic() - began
                    pieces.append(chunk.choices[0].delta.content)
                if chunk.usage:
                    tokens = chunk.usage.total_tokens
        except OpenAIError as error:
            seconds = time.monotonic() - began
            return Outcome(question, "".join(pieces), str(error), seconds, first or seconds, stages, cache)
        seconds = time.monotonic() - began
        billed = tokens if cache in {"miss", "bypass"} else 0
        text = "".join(pieces)
        return Outcome(question, text, "", seconds, first or seconds, stages, cache, billed, served_by, labelled)


async def _no_vector() -> Vector | None:
    return None


def _durations(began: float, marks: Mapping[str, float]) -> dict[str, float]:
    durations: dict[str, float] = {}
    for stage, ended in marks.items():
        durations[stage] = ended - began
        began = ended
    return durations


def _server_timing(header: str) -> dict[str, float]:
    return {name: float(ms) / 1000 for name, ms in re.findall(r"([\w.-]+);dur=([\d.]+)", header)}
