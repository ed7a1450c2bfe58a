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
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gateway.chat import AnswerEvent, Send
from gateway.clock import Deadline
from gateway.errors import GatewayError
from gateway.routing.contender import Big, Contender
from gateway.routing.doubting import GIVEN
from gateway.routing.draft import Drafted
from gateway.routing.gate import REFUSES
from gateway.routing.moves import MOVES, Draft, Move, Time
from gateway.routing.spend import Allowance
from gateway.routing.twice import Again, Check, Twice, told
from gateway.stages import ended

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
    checked: Callable[[Check], None] = lambda check: None  # hears what the big model said of a draft that passed
    roomy: Callable[[], bool] = lambda: True  # it may be heard out after the draft was given


@dataclass(frozen=True, slots=True)
class Result:
    committed: str  # "big", "draft", "ladder" or "none"
    rung: str  # of the ladder; "" where the answer is not a fallback
    draft: Draft
    guessed: bool  # the big model was started before the draft's verdict


async def race(runners: Runners, timing: Timing, promise: Deadline, allowance: Allowance, send: Send) -> Result:
    """Send one whole answer. Raises the big model's UpstreamError where there is nothing better to give."""
    news = asyncio.Event()
    run = _Race(runners, timing, promise, allowance, send, news, Twice(news, runners.again))
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
    news: asyncio.Event
    big: Twice
    drafted: Drafted | None = None
    draft_state: Draft = Draft.FAILED
    draft_task: asyncio.Task[None] | None = None
    check: Check = Check.SILENT  # what the big model has said of the draft
    guessed: bool = False
    climbed: bool = False  # the ladder was tried and had nothing
    began: float = 0.0
    big_began: float = 0.0

    async def run(self) -> Result:
        clock = self.promise.clock
        self.began = clock()
        if self.runners.draft is not None:
            self.draft_state = Draft.RUNNING
            self.draft_task = asyncio.create_task(self._draft(self.runners.draft))
        while True:
            self.news.clear()
            self._look_at_the_clock(clock())
            self.big.let_the_second_lead()
            if self._in_doubt():
                self.big.ask_again()
            match await self._move(clock()):
                case Move.WAIT:
                    await self._news_or(self._next_instant(clock()))
                case Move.START:
                    self._start_big()
                case Move.BIG:
                    return await self._commit_big()
                case Move.DRAFT:
                    return await self._commit_draft()
                case Move.NONE:
                    return self._commit_none()
                case Move.LADDER:
                    if (rung := await self._climb()) is not None:
                        return self._result("ladder", rung)
                    self.climbed = True
                case Move.FAIL:
                    assert self.big.first is not None
                    assert self.big.first.error is not None
                    raise self.big.first.error

    async def stop(self) -> None:
        """Cancel what still runs and wait for its end."""
        if self.draft_task is not None:
            await ended(self.draft_task)
        await self.big.stop()

    async def _move(self, now: float) -> Move:
        move = MOVES[self._time(now), self.draft_state, self.big.state]
        if self._unanswered(now):
            return Move.NONE
        if move is Move.BIG:
            move = await self._reconsidered()
        passed = self.draft_state is Draft.PASSED and move in (Move.DRAFT, Move.BIG)
        return await self._checked(move) if passed else move

    def _time(self, now: float) -> Time:
        if self.climbed:
            return Time.OVER
        return Time.UP if now >= self.promise.at - RESERVE_S else Time.LEFT

    def _next_instant(self, now: float) -> float | None:
        """Seconds until the clock alone may change something; None: only news can."""
        instants = [] if self.climbed else [self.promise.at - RESERVE_S]
        if self.draft_state in (Draft.RUNNING, Draft.DUE):
            instants += [self.began + self.timing.due_s, self.began + self.timing.patience_s]
            if self.big.first is None and self.timing.arm_s is not None:
                instants.append(self.began + self.timing.arm_s)
        elif self.big.state is Big.RUNNING:
            instants.append(self.big_began + self.timing.patience_s)
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
        if self.big.first is None and arm_s is not None and now >= self.began + arm_s:
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
        self.big_began = self.promise.clock()
        self.big.start(self.runners.big)

    async def _draft(self, ask: Callable[[Callable[[], None]], Awaitable[Drafted]]) -> None:
        try:
            self.drafted = await ask(self.news.set)
            verdict = self.drafted.verdict
            self.draft_state = Draft.PASSED if verdict.accepted else Draft.USABLE if verdict.usable else Draft.FAILED
        except GatewayError:  # told where it was asked for
            pass
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

    def _in_doubt(self) -> bool:
        """A second answer will be wanted, unless a draft passes."""
        if self.big.first is None or self.big.state is Big.SURE or self.draft_state is Draft.PASSED:
            return False
        return self.big.in_doubt() or self._draft_went_wrong()

    async def _reconsidered(self) -> Move:
        """The big model's answer is not sure, or hardly will be: it is asked once more while there is time, and what is
        more likely right is given, or a draft that has passed by then. Nothing that is more likely wrong is given."""
        first = self.big.first
        if self.guessed:
            self.allowance.give_back(self.timing.guess)  # it is not in vain
        if self.runners.again is None or first is None:
            return Move.BIG
        await self._until_decided(first)
        if self._unanswered(self.promise.clock()):
            return Move.NONE
        if self.draft_state is Draft.PASSED and (not told(first) or self.big.unsure(first)):
            return Move.DRAFT
        better = self.big.take_the_likelier()
        if better.error is not None:
            return MOVES[self._time(self.promise.clock()), self.draft_state, better.state]
        return Move.NONE if self.big.judged() and 0 <= self.big.worth(better) < GIVEN else Move.BIG

    async def _until_decided(self, first: Contender) -> None:
        """Asks once more where that may help. A refusal that nothing bears out yet waits for drafts instead."""
        clock, last_call = self.promise.clock, self.promise.at - RESERVE_S
        while self.draft_state is not Draft.PASSED and (left_s := last_call - clock()) > 0:
            self.news.clear()
            if self._unanswered(clock()):
                return
            drafting = self.draft_state in (Draft.RUNNING, Draft.DUE, Draft.LATE)
            patience_s = self.began + self.timing.patience_s - clock()
            if drafting and patience_s > 0 and self.big.refuses_alone():
                await self._news_or(min(left_s, patience_s))
                continue
            if self.big.unsure(first) or (self._draft_went_wrong() and not told(first)):
                self.big.ask_again()
            if not self.big.undecided(drafting):
                return
            await self._news_or(left_s)

    async def _checked(self, move: Move) -> Move:
        """The draft has passed. Where the big model has said something else by now it is asked once more, and believed
        if it says so again."""
        assert self.drafted is not None
        left_s = max(0.0, self.promise.at - RESERVE_S - self.promise.clock())
        self.check = await self.big.check(self.drafted.answer.text, left_s)
        if self.check is not Check.SILENT:
            self.runners.checked(self.check)
        if self.check is Check.AGREED:
            self.drafted = replace(self.drafted, verdict=replace(self.drafted.verdict, sure=True))
        if self.check is Check.UPHELD:
            return Move.DRAFT
        if self.check is Check.OUTVOTED:
            self.big.take_the_likelier()
            return Move.BIG
        return move

    async def _commit_draft(self) -> Result:
        assert self.drafted is not None
        self.runners.tell_draft(self.drafted, self.send)
        if self.runners.details is not None:
            await self.stop()  # the big model begins anew, with the draft before its eyes
            await self.runners.details(self.drafted, self.send)
        elif self.check is Check.SILENT:
            self._check_later(self.drafted.answer.text)
        return self._result("draft")

    def _check_later(self, draft: str) -> None:
        """What the big model is about to say is heard out, where somebody takes that over: if it outvotes the draft,
        its answer is kept for the next caller."""
        big = self.big
        if self.runners.again is None or big.first is None or not self.runners.roomy():
            return

        async def check() -> None:
            try:
                await big.heard_out(draft)
                found = await big.check(draft, None)
                self.runners.checked(found)
                if found is Check.OUTVOTED:
                    await self._keep_late(big.take_the_likelier(), big)
            finally:
                await big.stop()

        self._leave_to_others(check())

    def _unanswered(self, now: float) -> bool:
        """The draft model is done, and all it says speaks against an answer; nor has the big model one that is likely
        right, or any by when drafts are late, or a whole sentence when time is up."""
        again, first = self.runners.again, self.big.first
        done = self.draft_state in (Draft.USABLE, Draft.FAILED)
        if again is None or first is None or first.error is not None or not done or not again.unanswered():
            return False
        if first.state is Big.RUNNING:
            return now >= self.big_began + self.timing.patience_s
        return not self.big.likely() and (self.big.judged() or self._time(now) is Time.UP)

    def _commit_none(self) -> Result:
        """Where the big model has not spoken its answer is still worth having for the next caller."""
        assert self.runners.again is not None
        self.runners.again.none(self.send)
        if self.big.state is Big.RUNNING:
            self._let_big_finish()
        return self._result("none")

    async def _commit_big(self) -> Result:
        first = self.big.first
        assert first is not None
        if self.draft_task is not None:
            self.draft_task.cancel()
        first.speak(partial(self._give, first))
        await first.over()
        if first.error is not None:
            raise first.error
        return self._result("big")

    def _give(self, held: Contender, event: AnswerEvent) -> None:
        self._keep(self.big, held, event)  # before the last listener can leave and end its flight
        self.send(event)

    def _keep(self, big: Twice, held: Contender, event: AnswerEvent) -> None:
        if self.runners.keep is not None:
            self.runners.keep(event, big.worth(held))

    async def _climb(self) -> str | None:
        usable = self.drafted if self.draft_state is Draft.USABLE else None
        for rung in self.runners.ladder:
            if await rung.tell(usable, self.send):
                self._let_big_finish()
                return rung.name
        return None

    def _let_big_finish(self) -> None:
        """What comes late is still worth keeping, where somebody takes it over."""
        big, first = self.big, self.big.first
        if first is None or first.task is None or first.task.done():
            return

        async def rest() -> None:
            try:
                await self._keep_late(first, big)
            finally:
                await big.stop()

        self._leave_to_others(rest())

    async def _keep_late(self, held: Contender, big: Twice) -> None:
        await held.over()
        held.speak(partial(self._keep, big, held))

    def _leave_to_others(self, work: Coroutine[Any, Any, None]) -> None:
        """They stop the big model in the end."""
        if self.runners.background(work):
            self.big = Twice(self.news, None)
        else:
            work.close()

    def _result(self, committed: str, rung: str = "") -> Result:
        return Result(committed, rung, self.draft_state, self.guessed)
