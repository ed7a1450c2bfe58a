"""What speaks against an answer that has begun, and when it is asked for once more, over the nearest passage alone.

A model that reads the wrong line over six passages reads it again when it is asked again; over the passage whose line
is nearest to the question it mostly does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.chat import Evidence
from gateway.facts import signature
from gateway.routing.gate import Draft, judge, why_unsupported
from gateway.routing.nearness import Nearness

FINE, REFUSES, BESIDE, UNSUPPORTED = range(4)  # how weak an answer is


@dataclass(slots=True)
class Doubts:
    """Of one question's answers, as they come."""

    question: str
    evidence: Evidence
    near: Callable[[], Awaitable[Nearness | None]]
    nearness: Nearness | None = None
    looked: bool = False
    draft_refused: bool = False
    wary: bool = False  # the draft rested on a line beside the question: the big model may well do the same

    async def drafted(self, text: str) -> None:
        """A draft that did not pass the gate has said ``text``."""
        self.draft_refused = signature(text).refuses
        if not self.draft_refused:
            await self.look()
            self.wary = self.nearness is not None and self.nearness.beside(text)

    async def answered(self, text: str) -> None:
        """The big model has said a whole sentence, and nobody has looked at the lines so far."""
        if (
            not self.looked
            and not signature(text).refuses
            and not judge(Draft(text, "stop"), self.question, self.evidence).accepted
        ):
            await self.look()

    async def look(self) -> None:
        if not self.looked:
            self.looked, self.nearness = True, await self.near()

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
        return self.nearness is not None and self.nearness.beside(text)
