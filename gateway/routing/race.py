"""Draft against big model against the promised time: who answers, decided once and never taken back.

``MOVES`` (``moves.py``) is the whole policy. Until a commit nothing is sent; after it, only the committed one speaks.

    I1  at most one commit                           I5  exactly one end: Closed, or an error
    I2  what is sent is what the committed one said, I6  no draft without the gate's word, or the label
        and after it at most a section of details    I7  an answer that was not streaming by then ends by the promise
    I3  what was started ends, or is cancelled
    I4  guesses stay within the allowance
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from gateway.chat import AnswerEvent, Send
from gateway.clock import Deadline
from gateway.errors import GatewayError
from gateway.facts import signature
from gateway.routing.contender import Big, Contender, Reading
from gateway.routing.doubting import GIVEN, SURE, Said
from gateway.routing.draft import Drafted
from gateway.routing.gate import REFUSES
from gateway.routing.moves import MOVES, Draft, Move, Time
from gateway.routing.spend import Allowance
from gateway.stages import ended

log = structlog.get_logger()

RESERVE_S = 0.4  # before the promise: time to decide and to write
MIN_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Timing:
    """When the big model starts if nothing has been decided: seconds after the draft."""

    arm_s: float | None  # None: only once the draft's verdict is known
    patience_s: float  # a draft that takes longer is late
    guess: float = 0.0  # cost of starting the big model before the verdict
    due_s: float = 0.0  # a big model that is sure waits for a draft so long


def timing(
    mode: str, acceptance: float, median_s: float, due_s: float, late_s: float, latest_s: float, guess: float
) -> Timing:
    """The dial between money and time (papers.md §9–10.3).

    ``acceptance``: share of drafts that pass lately. ``latest_s``: a big model started later is not done in time.
    """
    patience_s = max(MIN_PATIENCE_S, late_s)
    auto = 0.0 if acceptance < 0.3 else median_s if acceptance < 0.7 else late_s
    arm_s = {"cascade": None, "armed": median_s, "race": 0.0, "auto": min(auto, max(0.0, latest_s))}[mode]
    return Timing(arm_s, patience_s, guess, due_s)


@dataclass(frozen=True, slots=True)
class Rung:
    """One fallback: a name, and how to tell it. ``tell`` sends a whole answer and returns True, or sends nothing."""

    name: str
    tell: Callable[[Drafted | None, Send], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Again:
    """A second answer of the big model, where the first is not sure."""

    confidence: Callable[[str, float | None, bool, Said | None], float]  # of its beginning: ``Doubts.confidence``
    read: Callable[[str, float | None], Reading]  # as much of an answer as is there
    start: Callable[[], Callable[[Send], Awaitable[object]] | None]  # how to ask; None: there is no money for it
    astray: Callable[[], bool]  # all that drafts have said so far is likely wrong
    none: Callable[[Send], None]  # what is told where no answer is likely right


@dataclass(frozen=True, slots=True)
class Runners:
    """What takes part. Starting is the race's business."""

    big: Callable[[Send], Awaitable[object]]  # sends Opened at its first content token, deltas, Closed
    draft: Callable[[Callable[[], None]], Awaitable[Drafted]] | None  # calls it when more of what drafts say is known
    tell_draft: Callable[[Drafted, Send], None]  # an accepted draft
    ladder: Sequence[Rung]  # in order; a "draft" rung gets the draft if it is usable
    background: Callable[[Coroutine[Any, Any, None]], bool]  # takes over a late answer; False: no room
    details: Callable[[Drafted, Send], Awaitable[None]] | None = (
        None  # appends to a draft that was told without its end
    )
    again: Again | None = None
    keep: Callable[[AnswerEvent, float], None] | None = (
        None  # hears the big model's answer, and how likely it is right, if it is given or finished for the next caller
    )


@dataclass(frozen=True, slots=True)
class Result:
    committed: str  # "big", "draft", "ladder" or "none"
    rung: str  # of the ladder; "" where the answer is not a fallback
    draft: Draft
    guessed: bool  # the big model was started before the draft's verdict


async def race(runners: Runners, timing: Timing, promise: Deadline, allowance: Allowance, send: Send) -> Result:
    """Send one whole answer. Raises the big model's UpstreamError where there is nothing better to give."""
    run = _Race(runners, timing, promise, allowance, send)
    try:
        return await run.run()
    finally:
        await run.stop()


@dataclass(slots=True)
class _Race:
    runners: Runners
    timing: Timing
    promise: Deadline
    allowance: Allowance
    send: Send
    news: asyncio.Event = field(default_factory=asyncio.Event)
    drafted: Drafted | None = None
    draft_state: Draft = Draft.FAILED
    draft_task: asyncio.Task[None] | None = None
    big: Contender | None = None
    second: Contender | None = None  # what the big model says when it is asked again
    guessed: bool = False
    climbed: bool = False  # the ladder was tried and had nothing
    began: float = 0.0

    async def run(self) -> Result:
        clock = self.promise.clock
        self.began = clock()
        if self.runners.draft is not None:
            self.draft_state = Draft.RUNNING
            self.draft_task = asyncio.create_task(self._draft(self.runners.draft))
        while True:
            self.news.clear()
            self._look_at_the_clock(clock())
            self._let_the_second_lead()
            if self.big is not None and self._in_doubt(self.big):
                self._ask_again()
            time = self._time(clock())
            move = MOVES[time, self.draft_state, self._big_state()]
            match await self._reconsidered() if move is Move.BIG else move:
                case Move.WAIT:
                    await self._news_or(self._next_instant(clock()))
                case Move.START:
                    self._start_big()
                case Move.BIG:
                    return await self._commit_big()
                case Move.DRAFT:
                    assert self.drafted is not None
                    self.runners.tell_draft(self.drafted, self.send)
                    if self.runners.details is not None:
                        await self.stop()  # the big model begins anew, with the draft before its eyes
                        await self.runners.details(self.drafted, self.send)
                    return self._result("draft")
                case Move.NONE:
                    assert self.runners.again is not None
                    self.runners.again.none(self.send)
                    return self._result("none")
                case Move.LADDER:
                    if (rung := await self._climb()) is not None:
                        return self._result("ladder", rung)
                    self.climbed = True
                case Move.FAIL:
                    assert self.big is not None
                    assert self.big.error is not None
                    raise self.big.error

    async def stop(self) -> None:
        """Cancel what still runs and wait for its end."""
        asked = (contender.task for contender in (self.big, self.second) if contender is not None)
        await ended(*(task for task in (self.draft_task, *asked) if task is not None))
        self.big = self.second = None  # which know this race: together they would wait for the garbage collector

    def _big_state(self) -> Big:
        if self.big is None:
            return Big.IDLE
        known = self.big.state is Big.TALKING and self.runners.again is not None and self._told(self.big)
        return Big.SURE if known and not self._unsure(self.big) else self.big.state

    def _time(self, now: float) -> Time:
        if self.climbed:
            return Time.OVER
        return Time.UP if now >= self.promise.at - RESERVE_S else Time.LEFT

    def _next_instant(self, now: float) -> float | None:
        """Seconds until the clock alone may change something; None: only news can."""
        instants = [] if self.climbed else [self.promise.at - RESERVE_S]
        if self.draft_state in (Draft.RUNNING, Draft.DUE):
            instants += [self.began + self.timing.due_s, self.began + self.timing.patience_s]
            if self.big is None and self.timing.arm_s is not None:
                instants.append(self.began + self.timing.arm_s)
        ahead = [instant - now for instant in instants if instant > now]
        return min(ahead, default=None)

    async def _news_or(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()

    def _look_at_the_clock(self, now: float) -> None:
        """Arm the big model when its time has come and the allowance has room; notice a late draft."""
        if self.draft_state not in (Draft.RUNNING, Draft.DUE):
            return
        arm_s = self.timing.arm_s
        if self.big is None and arm_s is not None and now >= self.began + arm_s:
            if self.allowance.take(self.timing.guess):
                self.guessed = True
                self._start_big()
            else:
                self.timing = replace(self.timing, arm_s=None)
        if now >= self.began + self.timing.patience_s:
            self.draft_state = Draft.LATE
        elif now >= self.began + self.timing.due_s:
            self.draft_state = Draft.DUE

    def _start_big(self) -> None:
        self.big = self._contender(self.runners.big)

    def _contender(self, ask: Callable[[Send], Awaitable[object]]) -> Contender:
        again = self.runners.again
        contender = Contender(self.news, again.read) if again is not None else Contender(self.news)
        contender.start(ask)
        return contender

    async def _draft(self, ask: Callable[[Callable[[], None]], Awaitable[Drafted]]) -> None:
        try:
            self.drafted = await ask(self.news.set)
            verdict = self.drafted.verdict
            self.draft_state = Draft.PASSED if verdict.accepted else Draft.USABLE if verdict.usable else Draft.FAILED
        except GatewayError as error:
            log.info("draft failed", error=str(error))
        finally:
            if self.drafted is None:
                self.draft_state = Draft.FAILED
            self.news.set()

    def _draft_went_wrong(self) -> bool:
        """It says something, but not surely the right thing; or no draft could be had, and nobody agrees. While it is
        judged: all of it so far is likely wrong."""
        if self.draft_state in (Draft.RUNNING, Draft.DUE, Draft.LATE):
            return self.runners.again is not None and self.runners.again.astray()
        failed = self.draft_state in (Draft.USABLE, Draft.FAILED)
        return failed and (self.drafted is None or self.drafted.verdict.veto != REFUSES)

    def _in_doubt(self, big: Contender) -> bool:
        """A second answer will be wanted, unless a draft passes."""
        if self._big_state() is Big.SURE or self.draft_state is Draft.PASSED:
            return False
        unlikely = big.reading in (Reading.WHOLE, Reading.UNLIKELY) and self._worth(big) < GIVEN
        return unlikely or big.reading is Reading.DOUBTFUL or self._draft_went_wrong()

    def _ask_again(self) -> None:
        again = self.runners.again
        if again is None or self.second is not None:
            return
        if (ask := again.start()) is not None:
            self.second = self._contender(ask)

    def _let_the_second_lead(self) -> None:
        """Where it speaks, or still may, and the first does not."""
        if self.big is not None and self.second is not None and _lead(self.second) > _lead(self.big):
            self.big, self.second = self.second, self.big

    async def _reconsidered(self) -> Move:
        """The big model's answer is not sure, or hardly will be: it is asked once more while there is time, and what is
        more likely right is given, or a draft that has passed by then. Nothing that is more likely wrong is given."""
        again, first, last_call = self.runners.again, self.big, self.promise.at - RESERVE_S
        if self.guessed:
            self.allowance.give_back(self.timing.guess)  # it is not in vain
        if again is None or first is None:
            return Move.BIG
        while self.draft_state is not Draft.PASSED and (left_s := last_call - self.promise.clock()) > 0:
            self.news.clear()
            if self._unsure(first) or (self._draft_went_wrong() and not self._told(first)):
                self._ask_again()
            if not self._undecided(first):
                break
            await self._news_or(left_s)
        if self.draft_state is Draft.PASSED and (not self._told(first) or self._unsure(first)):
            return Move.DRAFT
        better = first
        if self.second is not None:
            if self._worth(self.second) > self._worth(first):
                better, self.big, self.second = self.second, self.second, first
            self.second.cancel()
        if better.error is not None:
            return MOVES[self._time(self.promise.clock()), self.draft_state, better.state]
        judged = better.reading in (Reading.WHOLE, Reading.UNLIKELY)
        return Move.NONE if judged and 0 <= self._worth(better) < GIVEN else Move.BIG

    def _worth(self, held: Contender) -> float:
        """How likely its answer is right; of one that has only begun no more is known than what speaks against it."""
        if held.error is not None or not held.told:
            return -1.0
        if self.runners.again is None:
            return 1.0
        if held.reading is Reading.UNLIKELY:
            return 0.0
        other = self.second if held is self.big else self.big
        beside = Said(other.told, other.lowest) if other is not None and self._told(other) and other.told else None
        whole = held.reading is Reading.WHOLE
        found = self.runners.again.confidence(held.told, held.lowest, whole, beside)
        return found if whole else SURE if held.reading is Reading.AGREED else min(GIVEN, found)

    def _told(self, held: Contender) -> bool:
        """Enough of it is there to know how likely it is right."""
        return held.reading in (Reading.AGREED, Reading.WHOLE)

    def _unsure(self, held: Contender) -> bool:
        return self._worth(held) < (SURE if self._told(held) else GIVEN)

    def _undecided(self, first: Contender) -> bool:
        """No answer is given before its first sentence is whole, and that there is none not before the draft's verdict,
        while there is time."""
        likeliest = max(self._worth(held) for held in (first, self.second) if held is not None)
        drafting = self.draft_state in (Draft.RUNNING, Draft.DUE, Draft.LATE) and likeliest < GIVEN
        waits = self.second is not None and self._unsure(first) and self._matters(self.second, first)
        return self._matters(first, self.second) or drafting or waits

    def _matters(self, held: Contender, other: Contender | None) -> bool:
        """What it will say may change what is given. Even of one that will not be given itself: the other may say the
        same, and is as unsure of it then."""
        if held.reading is not Reading.UNLIKELY or other is None:
            return not self._told(held)
        return self._worth(other) >= GIVEN and not signature(other.told).refuses

    async def _commit_big(self) -> Result:
        assert self.big is not None
        if self.draft_task is not None:
            self.draft_task.cancel()
        self.big.speak(partial(self._give, self.big))
        await self.big.over()
        if self.big.error is not None:
            raise self.big.error
        return self._result("big")

    def _give(self, held: Contender, event: AnswerEvent) -> None:
        self._keep(held, event)  # before the last listener can leave and end its flight
        self.send(event)

    def _keep(self, held: Contender, event: AnswerEvent) -> None:
        if self.runners.keep is not None:
            self.runners.keep(event, self._worth(held))

    async def _climb(self) -> str | None:
        usable = self.drafted if self.draft_state is Draft.USABLE else None
        for rung in self.runners.ladder:
            if await rung.tell(usable, self.send):
                self._let_big_finish()
                return rung.name
        return None

    def _let_big_finish(self) -> None:
        """What comes late is still worth keeping, where somebody takes it over."""
        if self.big is None or self.big.task is None or self.big.task.done():
            return
        task, big = self.big.task, self.big

        async def rest() -> None:
            try:
                await task
                big.speak(partial(self._keep, big))
            finally:
                await ended(task)

        work = rest()
        if self.runners.background(work):
            self.big = None
        else:
            work.close()

    def _result(self, committed: str, rung: str = "") -> Result:
        return Result(committed, rung, self.draft_state, self.guessed)


def _lead(held: Contender) -> int:
    """0: it has failed, 1: it is silent so far, 2: it speaks."""
    return 0 if held.error is not None else 1 if held.state is Big.RUNNING else 2
