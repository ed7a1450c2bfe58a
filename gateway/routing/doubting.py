"""What speaks against an answer that has begun, and when it is asked for once more, over the nearest passage alone.

A model that reads the wrong line over six passages reads it again when it is asked again; over the passage whose line
is nearest to the question it mostly does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.chat import Answer, Evidence
from gateway.facts import signature
from gateway.routing.gate import Draft, judge, why_unsupported, why_vetoed
from gateway.routing.nearness import Nearness

FINE, REFUSES, BESIDE, UNSUPPORTED = range(4)  # how weak an answer is
UNBORNE = frozenset({"number", "code", "citation"})  # vetoes
PROVISIONAL_TTL_S = 600.0  # of drafts that passed, but not with ease, and of answers with numbers from nowhere
PATIENCE_S = 0.25  # with a look at the lines that is not over when it is needed


@dataclass(slots=True)
class Doubts:
    """Of one question's answers, as they come."""

    question: str
    evidence: Evidence
    look: Callable[[], asyncio.Future[Nearness | None]]  # at the lines; begun once, where there is something to doubt
    looking: asyncio.Future[Nearness | None] | None = None
    draft_refused: bool = False
    readings: list[str] = field(default_factory=list)  # of drafts over what the big model is shown as well

    @property
    def nearness(self) -> Nearness | None:
        """None: not known, or not yet."""
        looking = self.looking
        if looking is None or not looking.done() or looking.cancelled() or looking.exception() is not None:
            return None
        return looking.result()

    @property
    def wary(self) -> bool:
        """A draft rests on a line beside the question: the big model may well do the same."""
        return any(self.beside(text) for text in self.readings)

    def read(self, text: str, *, whole: bool) -> None:
        """One draft did not pass the gate. ``whole``: it was over all passages."""
        if not signature(text).refuses:
            self._begin()
            self.readings += [text] if whole else []

    async def drafted(self, text: str) -> None:
        """None of the drafts passed; the best of them."""
        self.draft_refused = signature(text).refuses
        if not self.draft_refused:
            await self._looked()

    async def answered(self, text: str) -> None:
        """The big model has said a whole sentence."""
        if signature(text).refuses or judge(Draft(text, "stop"), self.question, self.evidence).accepted:
            return
        await self._looked()

    async def _looked(self) -> None:
        await asyncio.wait({self._begin()}, timeout=PATIENCE_S)

    def _begin(self) -> asyncio.Future[Nearness | None]:
        if self.looking is None:
            self.looking = self.look()
        return self.looking

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

    def kept_for_s(self, answer: Answer) -> float | None:
        """Seconds that the big model's answer is kept at most; None: as long as any. A wrong answer that is kept is
        repeated: one whose first paragraph no passage supports, or that is more likely wrong than right, is not kept
        at all. One that rests on a line beside the question may be right, and is kept for a while: the same question
        asked at once gets the same answer."""
        if not self.evidence.passages:
            return None
        lead = answer.text.strip().split("\n\n", 1)[0]
        verdict = judge(Draft(lead, answer.finish_reason), self.question, self.evidence)
        if verdict.veto in UNBORNE or not (verdict.veto or verdict.usable):
            return 0.0
        veto = why_vetoed(Draft(answer.text, answer.finish_reason), self.question, self.evidence)
        return PROVISIONAL_TTL_S if veto in UNBORNE or self.beside(lead) else None
