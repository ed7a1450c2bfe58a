"""What speaks against an answer that has begun, and when it is asked for once more, over the nearest passage alone.

A model that reads the wrong line over six passages reads it again when it is asked again; over the passage whose line
is nearest to the question it mostly does not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from gateway.chat import Evidence
from gateway.facts import signature
from gateway.routing.gate import Draft, judge, why_unsupported
from gateway.routing.nearness import Nearness

FINE, REFUSES, BESIDE, UNSUPPORTED = range(4)  # how weak an answer is
PATIENCE_S = 0.15  # with a look at the lines that is not over when it is needed


@dataclass(slots=True)
class Doubts:
    """Of one question's answers, as they come."""

    question: str
    evidence: Evidence
    looking: asyncio.Future[Nearness | None]  # at the lines
    draft_refused: bool = False
    readings: list[str] = field(default_factory=list)  # of drafts over what the big model is shown as well

    @property
    def nearness(self) -> Nearness | None:
        """None: not known, or not yet."""
        over = self.looking.done() and not self.looking.cancelled() and self.looking.exception() is None
        return self.looking.result() if over else None

    @property
    def wary(self) -> bool:
        """A draft rests on a line beside the question: the big model may well do the same."""
        return any(self.beside(text) for text in self.readings)

    async def drafted(self, text: str) -> None:
        """The draft did not pass the gate."""
        self.draft_refused = signature(text).refuses
        if not self.draft_refused:
            await self._look()

    async def answered(self, text: str) -> None:
        """The big model has said a whole sentence."""
        if signature(text).refuses or judge(Draft(text, "stop"), self.question, self.evidence).accepted:
            return
        await self._look()

    async def _look(self) -> None:
        await asyncio.wait({self.looking}, timeout=PATIENCE_S)

    def weakness(self, text: str, whole: bool) -> int:
        """Of a text that has begun; ``whole``: with its first sentence. Two models that both say that nothing is there
        are believed."""
        if signature(text).refuses:
            return FINE if self.draft_refused else REFUSES
        said = text if whole else text[: text.rfind(" ") + 1]  # half a number is another number
        if why_unsupported(said, self.question, self.evidence):
            return UNSUPPORTED
        return BESIDE if whole and self.beside(text) else FINE

    def beside(self, text: str) -> bool:
        nearness = self.nearness
        return nearness is not None and not signature(text).refuses and nearness.beside(text)
