"""What speaks against an answer that has begun, and when it is asked for once more, over the nearest passage alone.

A model that reads the wrong line over six passages reads it again when it is asked again; over the passage whose line
is nearest to the question it mostly does not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.chat import Answer, Evidence
from gateway.facts import Verdict, compare, signature
from gateway.routing.gate import Draft, judge, why_unsupported, why_vetoed
from gateway.routing.nearness import Nearness

FINE, OPPOSED, REFUSES, BESIDE, UNSUPPORTED = range(5)  # how weak an answer is
UNBORNE = frozenset({"number", "code", "citation"})  # vetoes
PROVISIONAL_TTL_S = 600.0  # of drafts that passed, but not with ease, and of answers with numbers from nowhere
PATIENCE_S = 0.25  # with a look at the lines that is not over when it is needed


@dataclass(slots=True)
class Doubts:
    """Of one question's answers, as they come."""

    question: str  # what was asked; of a follow-up what it stands for, where that is known
    evidence: Evidence
    looking: asyncio.Future[Nearness | None] | None  # at the lines; None: nobody does
    draft: str = ""  # one that did not pass, but is more likely right than wrong
    draft_refuses: bool = False  # over all passages, over few and over the nearest

    @property
    def nearness(self) -> Nearness | None:
        """None: not known, or not yet."""
        looking = self.looking
        if looking is None or not looking.done() or looking.cancelled() or looking.exception() is not None:
            return None
        return looking.result()

    async def looked(self) -> Nearness | None:
        """``nearness``, waited for a while."""
        if self.looking is not None:
            await asyncio.wait({self.looking}, timeout=PATIENCE_S)
        return self.nearness

    async def place(self, text: str) -> float | None:
        """``Nearness.place`` of an answer."""
        nearness = await self.looked()
        return None if nearness is None else nearness.place(text)

    def weakness(self, text: str, whole: bool) -> int:
        """Of a text that has begun; ``whole``: with its first sentence. Two models that both say that nothing is there
        are believed."""
        if signature(text).refuses:
            return FINE if self.draft_refuses else REFUSES
        said = text if whole else text[: text.rfind(" ") + 1]  # half a number is another number
        if why_unsupported(said, self.question, self.evidence):
            return UNSUPPORTED
        if not whole:
            return FINE
        return BESIDE if self.beside(text) else OPPOSED if self.opposed(text) else FINE

    def beside(self, text: str) -> bool:
        nearness = self.nearness
        return nearness is not None and not signature(text).refuses and nearness.beside(text)

    def opposed(self, text: str) -> bool:
        """The draft says something else."""
        return bool(self.draft) and compare(signature(text), signature(self.draft)).verdict is Verdict.DIFFERENT

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
