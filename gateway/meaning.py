"""What a question stands for that says too little by itself ("그럼 인턴은요?"), found out beside the answer to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.chat import Evidence


@dataclass(frozen=True, slots=True)
class Meant:
    text: str  # the question that stands alone
    evidence: Evidence | None = None  # where that finds best what the question's own words did not find: both


class Meaning:
    """Of one question. Without ``finding`` it stands for itself."""

    def __init__(self, finding: asyncio.Task[Meant | None] | None = None) -> None:
        self.finding = finding

    @property
    def text(self) -> str:
        """ "": it stands for itself, or what it stands for is not known, or not yet."""
        finding = self.finding
        if finding is None or not finding.done() or finding.cancelled() or finding.exception() is not None:
            return ""
        meant = finding.result()
        return meant.text if meant is not None else ""

    async def known(self) -> Meant | None:
        """Waits for it; whoever finds it out sees to it that this is not for long."""
        return await asyncio.shield(self.finding) if self.finding is not None else None


STANDS_ALONE = Meaning()
