"""Which line of the passages is nearest to a question in meaning, and with it the likeliest passage.

Overlap of words cannot tell "the interest is 1.8 %" from "the limit is 50 million" where the question says neither in
the document's words; an embedder mostly can. Only the order of the lines counts, never a cosine by itself, so that
nothing has to be set for another embedder.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from gateway.chat import Evidence, Passage
from gateway.errors import GatewayError
from gateway.ports import Embedder, Vector
from gateway.routing.gate import Unit, features, normal, units

MOST_LINES = 12  # that share most words with the question: on two cores a line takes 12 ms, the first time
FEWEST_LINES = 4  # among fewer there is little to choose
MOST_CHARS = 300  # of a line with its heading
BATCH = 4  # lines a turn: what was done is kept where time is up
PATIENCE_S = 1.0  # about the time until there is something to judge
MOST_WAITING = 4  # questions; more than that, and their lines would come too late


@dataclass(frozen=True, slots=True)
class Line:
    passage: int  # its place in the evidence
    unit: Unit
    near: float  # cosine to the question


@dataclass(frozen=True, slots=True)
class Nearness:
    """The lines of ``evidence`` that say most of the question, and how near to it they are."""

    evidence: Evidence
    lines: tuple[Line, ...]

    @property
    def nearest_first(self) -> Evidence:
        """The evidence with scores by which the passage of the nearest line is the likeliest."""
        best = max(self.lines, key=lambda line: line.near).passage
        most = max(passage.score for passage in self.evidence.passages)
        return replace(
            self.evidence,
            passages=tuple(
                replace(passage, score=most + 1) if n == best else passage
                for n, passage in enumerate(self.evidence.passages)
            ),
        )


class Lines:
    """Vectors of lines, each made once."""

    def __init__(self, embedder: Embedder, most: int = 8_000) -> None:
        """``most``: lines kept, 1.5 KB each with the local embedder."""
        self._embedder = embedder
        self._most = most
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._busy = asyncio.Lock()
        self._waiting = 0

    async def near(self, question: str, evidence: Evidence) -> Nearness | None:
        """None where the embedder fails or is late: nothing is known then."""
        likely = _likely(question, evidence.passages)
        if len(likely) < FEWEST_LINES:
            return None
        texts = [_with_heading(unit, evidence.passages[n]) for n, unit in likely]
        with suppress(TimeoutError, GatewayError):
            async with asyncio.timeout(PATIENCE_S):
                asked = (await self._embedder.embed([question], query=True))[0]
                rows = await self._vectors(texts)
                return Nearness(
                    evidence,
                    tuple(Line(n, unit, float(row @ asked)) for (n, unit), row in zip(likely, rows, strict=True)),
                )
        return None

    async def _vectors(self, texts: Sequence[str]) -> list[Vector]:
        """One question's at a time. Raises TimeoutError where too many wait."""
        if all(text in self._kept for text in texts):
            return [self._recalled(text) for text in texts]
        if self._waiting >= MOST_WAITING:
            raise TimeoutError
        self._waiting += 1
        try:
            return await self._made(texts)
        finally:
            self._waiting -= 1

    async def _made(self, texts: Sequence[str]) -> list[Vector]:
        async with self._busy:
            missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                for text, row in zip(batch, await self._embedder.embed(batch, query=False), strict=True):
                    self._kept[text] = np.asarray(row, np.float32)
            found = [self._recalled(text) for text in texts]
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _recalled(self, text: str) -> Vector:
        self._kept.move_to_end(text)
        return self._kept[text]


def _likely(question: str, passages: Sequence[Passage]) -> list[tuple[int, Unit]]:
    """The lines that share most words with the question, those in their headings counted half."""
    asked = features(normal(question))
    found = [(n, unit) for n, passage in enumerate(passages) for unit in units(passage)]
    found.sort(key=lambda line: -(len(asked & line[1].features) + 0.5 * len(asked & line[1].around)))
    return found[:MOST_LINES]


def _with_heading(unit: Unit, passage: Passage) -> str:
    return f"{passage.section or passage.title}: {unit.text}"[:MOST_CHARS]
