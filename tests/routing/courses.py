"""A race run on a virtual clock: what everybody would do if left alone, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from gateway.chat import Answer, AnswerEvent, CacheOutcome, Closed, Delta, Opened, Send, ServedBy
from gateway.clock import Deadline
from gateway.errors import GatewayError, UpstreamBroken
from gateway.routing import gate
from gateway.routing.contender import Reading
from gateway.routing.details import Section
from gateway.routing.draft import Drafted
from gateway.routing.gate import Verdict
from gateway.routing.race import Result, Rung, Runners, Timing, race
from gateway.routing.spend import Allowance
from gateway.routing.told import Telling
from gateway.routing.twice import Again
from tests.virtual_time import run

PROMISE_S = 5.0
HARD_S = 60.0
GRAIN_S = 1e-6


@dataclass(frozen=True)
class Course:
    """What everybody would do if left alone."""

    draft_s: float = 1.0
    draft: str = "passed"  # passed, usable, failed, error, none
    first_token_s: float = 1.0
    token_s: float = 0.1
    tokens: int = 5
    big: str = "ok"  # ok, refused (before content), lost (the same, and asked again it answers), broken (third token)
    ladder: tuple[str, ...] = ()  # rungs that have something to tell
    on_expiry: tuple[str, ...] = ("draft", "stale", "quote")
    arm_s: float | None = None
    patience_s: float = 2.6
    due_s: float = 0.0
    room: bool = True
    balance: float = 10.0
    leaves_s: float | None = None
    again: str = "off"  # off, better, bad, lie, broken, dear: what the second answer is like, if the first is not sure
    agrees: bool = False  # what the big model says agrees with a draft from its first word on
    agrees_s: float | None = None  # when a look of the draft model has said the same as the big model
    astray_s: float | None = None  # … or something that is likely wrong
    doubtful: bool = False  # … that it will not be sure is known from its first word on
    unlikely: bool = False  # … and that it is not given
    again_s: float | None = None  # first token of the second answer, if not as of the first
    first: str = ""  # how the first answer begins, if not as ``again`` says
    roomy: bool = True  # the deployment has room to hear the big model out after a draft
    unanswered: bool = False  # all that the draft model says speaks against an answer
    refuses: bool = False  # the big model says that nothing is found
    contradicts: bool = False  # the big model says something else than the draft
    details: str = "off"  # off, ok, silent, unsupported (third sentence), broken, refused


SENTENCES = ("첫째 문장입니다. ", "둘째 문장입니다 [doc1]. ", "셋째는 99일입니다. ", "넷째 문장입니다.")
HEADING = "\n\n**자세히**\n\n"
REFUSAL = "문서에서 찾을 수 없습니다. "
CONFIDENCE = {"big": 1.0, "bad": 0.7, "lie": 0.2}  # by how an answer begins


@dataclass
class Seen:
    """What happened."""

    events: list[AnswerEvent] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)  # started and not ended
    started: list[str] = field(default_factory=list)
    background: list[asyncio.Task[None]] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)  # what the big model said of a draft that passed
    kept: list[str] = field(default_factory=list)  # answers of the big model that were offered to the cache
    result: Result | None = None
    error: GatewayError | None = None
    ended_at: float = 0.0
    left_running: tuple[str, ...] = ()
    agrees: bool = False
    astray: bool = False

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def opened(self) -> list[Opened]:
        return [e for e in self.events if isinstance(e, Opened)]

    @property
    def closed(self) -> int:
        return sum(isinstance(e, Closed) for e in self.events)


def tell(send: Send, served_by: ServedBy, text: str, *, labelled: bool = False) -> None:
    send(Opened(served_by, CacheOutcome.MISS, "m", labelled=labelled))
    send(delta(text))
    send(Closed(answer(text)))


def delta(text: str) -> Delta:
    return Delta.of({"choices": [{"index": 0, "delta": {"content": text}}]})


def answer(text: str) -> Answer:
    return Answer(({"index": 0, "message": {"content": text}, "finish_reason": "stop"},), "m")


def drafted(kind: str) -> Drafted:
    veto = gate.REFUSES if kind == "refused" else ""
    verdict = Verdict(0.9, veto, kind == "passed", kind in {"passed", "usable"}, False)
    return Drafted(answer("draft"), verdict, "d", gate.Draft("draft", "stop"))


def piece(course: Course, name: str, n: int) -> str:
    """Of what the big model says."""
    return f"{name}{n} {REFUSAL if course.refuses else ''}"


def play(course: Course) -> Seen:
    return run(_play(course))


async def _play(course: Course) -> Seen:
    loop = asyncio.get_running_loop()
    seen = Seen()

    def hear(event: AnswerEvent) -> None:
        seen.events.append(event)
        seen.at.append(loop.time())

    async def call(name: str, work: Coroutine[Any, Any, Any]) -> Any:
        seen.started.append(name)
        seen.running[name] = loop.time()
        try:
            return await work
        finally:
            del seen.running[name]

    async def ask_draft(news: Callable[[], None]) -> Drafted:
        look_s = course.agrees_s or course.astray_s
        if look_s is not None:
            await asyncio.sleep(look_s)
            seen.agrees, seen.astray = course.agrees_s is not None, course.astray_s is not None
            news()
        await asyncio.sleep(course.draft_s - (look_s or 0.0))
        if course.draft == "error":
            raise UpstreamBroken("draft broke")
        return drafted(course.draft)

    first = course.first or ("bad" if course.again != "off" else "big")

    async def ask_big(send: Send, name: str = first) -> None:
        again = "again" in seen.running
        await asyncio.sleep(course.again_s if again and course.again_s is not None else course.first_token_s)
        lost = course.big == "lost" and not again
        if course.big == "refused" or lost or (course.again == "broken" and name == "big"):
            raise UpstreamBroken("big refused")
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"))
        for n in range(course.tokens):
            if course.big == "broken" and n == 3:
                raise UpstreamBroken("big broke")
            send(delta(piece(course, name, n)))
            await asyncio.sleep(course.token_s)
        send(Closed(answer("big")))

    async def rung(name: str, usable: Drafted | None, send: Send) -> bool:
        if name == "draft":
            if usable is None:
                return False
            tell(send, ServedBy.DRAFT, "quick: draft", labelled=True)
            return True
        if name not in course.ladder:
            return False
        tell(send, ServedBy(name), name, labelled=True)
        return True

    async def ask_details(send: Send) -> None:
        await asyncio.sleep(course.first_token_s)
        if course.details == "refused":
            raise UpstreamBroken("details refused")
        send(Opened(ServedBy.MODEL, CacheOutcome.MISS, "big"))
        for n, sentence in enumerate(SENTENCES if course.details != "silent" else ()):
            for start in range(0, len(sentence), 5):
                send(delta(sentence[start : start + 5]))
                await asyncio.sleep(course.token_s)
            if course.details == "broken" and n == 1:
                raise UpstreamBroken("details broke")
        send(Closed(answer("".join(SENTENCES))))

    telling: list[Telling] = []

    def begin(drafted: Drafted, send: Send) -> None:
        telling.append(Telling(Opened(ServedBy.DRAFT, CacheOutcome.MISS, "m"), send))
        telling[0].begin("draft")

    async def details(drafted: Drafted, send: Send) -> None:
        def supported(sentence: str) -> bool:
            return course.details != "unsupported" or "99" not in sentence

        section = Section(drafted.answer, telling[0], HEADING, supported)
        await section.append(lambda hear: call("details", ask_details(hear)))

    def take(work: Coroutine[Any, Any, None]) -> bool:
        if course.room:
            seen.background.append(asyncio.create_task(work))
        return course.room

    def start_again() -> Any:
        name = course.again if course.again in CONFIDENCE else "big"
        return None if course.again == "dear" else lambda send: call("again", ask_big(send, name))

    def rung_of(name: str) -> Rung:
        return Rung(name, lambda usable, send: rung(name, usable, send))

    def read(text: str, lowest: float | None) -> Reading:
        if text.count(" ") >= 2:
            return Reading.WHOLE
        if course.unlikely and text.startswith("lie"):
            return Reading.UNLIKELY
        return Reading.AGREED if course.agrees else Reading.DOUBTFUL if course.doubtful else Reading.OPEN

    def agree(one: str, other: str) -> bool:
        return not course.contradicts if "draft" in (one, other) else one[:3] == other[:3]

    runners = Runners(
        big=lambda send: call("big", ask_big(send)),
        draft=(lambda news: call("draft", ask_draft(news))) if course.draft != "none" else None,
        tell_draft=begin if course.details != "off" else lambda d, send: tell(send, ServedBy.DRAFT, "draft"),
        ladder=[rung_of(name) for name in course.on_expiry],
        background=take,
        keep=lambda event, confidence: seen.kept.append(event.answer.text) if isinstance(event, Closed) else None,
        checked=seen.checks.append,
        roomy=lambda: course.roomy,
        details=details if course.details != "off" else None,
        again=Again(
            lambda text, lowest, whole, again: 1.0 if seen.agrees else CONFIDENCE[text[:3]],
            read,
            start_again,
            lambda: seen.astray,
            lambda: course.unanswered,
            lambda send: tell(send, ServedBy.NOTICE, "none"),
            agree,
        )
        if course.again != "off"
        else None,
    )
    allowance = Allowance(0.15, _balance=course.balance)
    promise = Deadline.after(PROMISE_S, loop.time)
    task = asyncio.create_task(
        race(runners, Timing(course.arm_s, course.patience_s, 1.0, course.due_s), promise, allowance, hear)
    )
    try:
        async with asyncio.timeout(course.leaves_s if course.leaves_s is not None else HARD_S):
            seen.result = await task
    except GatewayError as error:
        seen.error = error
    except TimeoutError:
        pass
    seen.ended_at = loop.time()
    seen.left_running = tuple(seen.running)
    await asyncio.gather(*seen.background, return_exceptions=True)
    return seen
