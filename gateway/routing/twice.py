"""The big model's answer and, where it is asked once more, its second one: how likely each is right.

Each takes part as a contender. Where an answer is doubted, the other counts like one more draft; where both contradict
a draft that passed the gate, they outvote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from gateway.chat import Send
from gateway.facts import signature
from gateway.routing.contender import Big, Contender, Reading
from gateway.routing.doubting import GIVEN, SURE, Said
from gateway.stages import ended


@dataclass(frozen=True, slots=True)
class Again:
    """How the big model's answers are judged, and how it is asked once more."""

    confidence: Callable[[str, float | None, bool, Said | None], float]  # of its beginning: ``Doubts.confidence``
    read: Callable[[str, float | None], Reading]  # as much of an answer as is there
    start: Callable[[], Callable[[Send], Awaitable[object]] | None]  # how to ask; None: there is no money for it
    astray: Callable[[], bool]  # all that drafts have said so far is likely wrong
    unanswered: Callable[[], bool]  # all that is known so far speaks against an answer
    none: Callable[[Send], None]  # what is told where no answer is likely right
    agree: Callable[[str, str], bool]  # two answers state the same facts


class Check(StrEnum):
    """What the big model says of a draft that passed."""

    AGREED = "agreed"
    UPHELD = "upheld"  # it said something else, but not twice
    OUTVOTED = "outvoted"  # it said something else twice
    SILENT = "silent"  # nothing that counts


class Twice:
    """Without ``again`` there is one answer, and none is doubted. ``news`` is set whenever more is known."""

    def __init__(self, news: asyncio.Event, again: Again | None) -> None:
        self.first: Contender | None = None
        self.second: Contender | None = None
        self.again = again
        self._news = news

    @property
    def state(self) -> Big:
        if self.first is None:
            return Big.IDLE
        known = self.first.state is Big.TALKING and self.again is not None and told(self.first)
        return Big.SURE if known and not self.unsure(self.first) else self.first.state

    def start(self, ask: Callable[[Send], Awaitable[object]]) -> None:
        self.first = self._contender(ask)

    def ask_again(self) -> None:
        """If there is money, and it has not been."""
        if self.again is None or self.second is not None:
            return
        if (ask := self.again.start()) is not None:
            self.second = self._contender(ask)

    def _contender(self, ask: Callable[[Send], Awaitable[object]]) -> Contender:
        contender = Contender(self._news, self.again.read) if self.again is not None else Contender(self._news)
        contender.start(ask)
        return contender

    def let_the_second_lead(self) -> None:
        """Where it speaks, or still may, and the first does not."""
        if self.first is not None and self.second is not None and _lead(self.second) > _lead(self.first):
            self.first, self.second = self.second, self.first

    def take_the_likelier(self) -> Contender:
        """It leads from now on; the other is hung up on."""
        assert self.first is not None
        if self.second is not None:
            if self.worth(self.second) > self.worth(self.first):
                self.first, self.second = self.second, self.first
            self.second.cancel()
        return self.first

    def worth(self, held: Contender) -> float:
        """How likely its answer is right; of one that has only begun no more is known than what speaks against it."""
        if held.error is not None or not held.told:
            return -1.0
        if self.again is None:
            return 1.0
        if held.reading is Reading.UNLIKELY:
            return 0.0
        other = self.second if held is self.first else self.first
        beside = Said(other.told, other.lowest) if other is not None and told(other) and other.told else None
        whole = held.reading is Reading.WHOLE
        found = self.again.confidence(held.told, held.lowest, whole, beside)
        return found if whole else SURE if held.reading is Reading.AGREED else min(GIVEN, found)

    def unsure(self, held: Contender) -> bool:
        return self.worth(held) < (SURE if told(held) else GIVEN)

    def likely(self) -> bool:
        """One of the answers is judged and likely right."""
        heard = [held for held in (self.first, self.second) if held is not None and told(held)]
        return any(self.worth(held) >= GIVEN for held in heard)

    def judged(self) -> bool:
        """It is known how likely the first answer is right."""
        return self.first is not None and self.first.reading in (Reading.WHOLE, Reading.UNLIKELY)

    def in_doubt(self) -> bool:
        """What is there of the first answer makes it unsure, or more likely wrong than right."""
        assert self.first is not None
        return self.first.reading is Reading.DOUBTFUL or (self.judged() and self.worth(self.first) < GIVEN)

    def refuses_alone(self) -> bool:
        """Its first answer says that nothing is found, and nothing bears that out yet. Drafts will tell, for less than
        another answer costs."""
        held = self.first
        return held is not None and told(held) and signature(held.told).refuses and self.unsure(held)

    def undecided(self, drafting: bool) -> bool:
        """No answer is given before its first sentence is whole, and that there is none not before the draft's verdict
        (``drafting``)."""
        assert self.first is not None
        likeliest = max(self.worth(held) for held in (self.first, self.second) if held is not None)
        waits = self.second is not None and self.unsure(self.first) and self._matters(self.second, self.first)
        return self._matters(self.first, self.second) or (drafting and likeliest < GIVEN) or waits

    def _matters(self, held: Contender, other: Contender | None) -> bool:
        """What it will say may change what is given. Even of one that will not be given itself: the other may say the
        same, and is as unsure of it then."""
        if held.reading is not Reading.UNLIKELY or other is None:
            return not told(held)
        return self.worth(other) >= GIVEN and not signature(other.told).refuses

    async def check(self, draft: str, left_s: float | None) -> Check:
        """Hold a draft that passed against what is said so far: asks again where that contradicts it. ``left_s``: the
        caller waits so long for that; None: nobody does. A refusal is quick, and mostly wrong beside such a draft: for
        that no caller waits."""
        first, again = self.first, self.again
        if first is None or again is None or not told(first) or self.worth(first) < GIVEN:
            return Check.SILENT
        if again.agree(first.told, draft):
            return Check.AGREED
        if first.reading is not Reading.WHOLE or (left_s is not None and signature(first.told).refuses):
            return Check.SILENT
        self.ask_again()
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._until_whole(self.second)
        return Check.OUTVOTED if self._bears_out(first, self.second, draft) else Check.UPHELD

    def _bears_out(self, first: Contender, second: Contender | None, draft: str) -> bool:
        """The second answer says what the first does, and not what ``draft`` does."""
        if self.again is None or second is None or second.reading is not Reading.WHOLE or self.worth(second) < GIVEN:
            return False
        return self.again.agree(first.told, second.told) and not self.again.agree(second.told, draft)

    async def heard_out(self, draft: str) -> None:
        """Until the first answer has said what ``draft`` does, or its first sentence."""
        agree = self.again.agree if self.again is not None else lambda one, other: True
        while (held := self.first) is not None and held.reading is not Reading.WHOLE:
            if held.reading is Reading.AGREED and agree(held.told, draft):
                return
            self._news.clear()
            await self._news.wait()

    async def _until_whole(self, held: Contender | None) -> None:
        while held is not None and held.reading is not Reading.WHOLE:
            self._news.clear()
            await self._news.wait()

    async def stop(self) -> None:
        """Cancel what still runs and wait for its end."""
        held = [contender for contender in (self.first, self.second) if contender is not None]
        self.first = self.second = None  # whose listeners know the race: together they would wait for the collector
        await ended(*(contender.task for contender in held if contender.task is not None))


def told(held: Contender) -> bool:
    """Enough of it is there to know how likely it is right."""
    return held.reading in (Reading.AGREED, Reading.WHOLE)


def _lead(held: Contender) -> int:
    """0: it has failed, 1: it is silent so far, 2: it speaks."""
    return 0 if held.error is not None else 1 if held.state is Big.RUNNING else 2
