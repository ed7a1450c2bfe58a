"""One question that has to be answered by a promised time, and what every answer to it begins and ends with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from gateway.chat import (
    Answer,
    AnswerEvent,
    CacheEntry,
    ChatRequest,
    Closed,
    Evidence,
    Opened,
    RequestContext,
    Send,
    ServedBy,
)
from gateway.clock import Deadline
from gateway.meaning import Meaning
from gateway.routing.draft import Drafted
from gateway.routing.spend import Errand


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that has to be answered, with its evidence."""

    ctx: RequestContext
    request: ChatRequest  # as the caller sent it
    grounded: ChatRequest  # as it goes upstream
    over_best: Callable[[int, Evidence], ChatRequest]  # the same over only so many passages, the likeliest by score
    evidence: Evidence
    meaning: Meaning
    opened: Opened
    due: Deadline  # the promise
    stale: Callable[[], Awaitable[CacheEntry | None]]
    keep: Callable[[Answer, float | None], None]  # (answer, seconds at most or None): offer it to the cache
    big: Callable[[ChatRequest, Send, Errand], Awaitable[object]]  # the configured model's answer to a grounded request
    held: bool = False  # that answer is held back until it is settled: its silence says nothing
    contradicts: Callable[[str], bool] = lambda draft: False  # the answer that was given before, on the same documents
    keeps: bool = True  # the caller lets answers be kept

    @property
    def question(self) -> str:
        """Of a follow-up what it stands for, where that is known."""
        return self.meaning.text or self.request.question

    @property
    def korean(self) -> bool:
        return any("가" <= letter <= "힣" for letter in self.request.question)


def opened_by(asked: Asked, served_by: ServedBy, drafted: Drafted) -> Opened:
    return replace(
        asked.opened, served_by=served_by, model=drafted.answer.model or asked.opened.model,
        deployment=drafted.deployment, attempts=1, stages=dict(asked.ctx.timings.stages),
    )  # fmt: skip


def keeping(asked: Asked, ttl_s: float | None, send: Send) -> Send:
    """Sends, and offers the finished answer to the cache before the last listener can leave and end its flight."""

    def keep_and_send(event: AnswerEvent) -> None:
        if isinstance(event, Closed):
            asked.keep(event.answer, ttl_s)
        send(event)

    return keep_and_send
