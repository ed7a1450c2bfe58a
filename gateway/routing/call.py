"""One upstream answer on its way to the listeners. Holds back what proves nothing until the first content token."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from gateway.chat import Closed, Delta, Opened, RequestContext, Send, ServedBy, has_content
from gateway.clock import Clock
from gateway.errors import UpstreamError, UpstreamTimeout
from gateway.routing.attempts import Attempt
from gateway.routing.hedge import Claim, Lost
from gateway.routing.weighing import unweighed, weighed

STILL_TALKING_S = 1.0  # since its last piece: longer silence is a stream that hangs


class BeforeContent(Exception):
    """A failure that the caller has seen nothing of."""

    def __init__(self, error: UpstreamError) -> None:
        super().__init__(str(error))
        self.error = error


class Enough(Exception):
    """Raised by a listener who needs no more of the answer; its call is hung up on."""


class Interrupted(Exception):
    """An answer that stopped after a part of it had been sent."""

    def __init__(self, error: UpstreamError, call: Call) -> None:
        super().__init__(str(error))
        self.error = error
        self.call = call


@dataclass(slots=True)
class Call:
    attempt: Attempt
    ctx: RequestContext
    opened: Opened
    send: Send
    clock: Clock
    claim: Claim
    weighs: bool = False  # its log-probabilities are the gateway's: they are read, and not passed on
    began: float = 0.0
    first_token_s: float | None = None  # seconds from sending; None: nothing sent to listeners yet
    pieces: int = 0
    heard_at: float = -math.inf  # when the latest piece came
    sent: list[Delta] = field(default_factory=list)  # what listeners have
    _held: list[Delta] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def delta(self, event: Delta) -> None:
        self.pieces += 1
        self.heard_at = self.clock()
        if self.weighs:
            event = weighed(event)
        if self.first_token_s is not None:
            self._pass(event)
            return
        self._held.append(event)
        if event.text or has_content(event.chunk):
            self._open(str(event.chunk.get("model") or ""))

    def talks(self, error: UpstreamError) -> bool:
        """The caller's time was up in the middle of an answer that was still coming: no fault of the deployment."""
        return isinstance(error, UpstreamTimeout) and self.clock() - self.heard_at < STILL_TALKING_S

    def closed(self, event: Closed) -> None:
        if self.first_token_s is None:
            self._open(event.answer.model)
        seconds = self.clock() - self.began
        if self.first_token_s is not None and event.answer.usage is not None:
            tokens = event.answer.usage.completion_tokens
            self.attempt.health.pace.measured(self.first_token_s, tokens, seconds - self.first_token_s)
        self.ctx.timings.record("upstream", seconds)
        answer = unweighed(event.answer) if self.weighs else event.answer
        self.send(Closed(answer, dict(self.ctx.timings.stages)))

    def _open(self, model: str) -> None:
        if not self.claim():
            raise Lost
        now = self.clock()
        self.first_token_s = now - self.began
        self.attempt.health.answered(self.attempt.slot.call, now)
        self.ctx.timings.record("upstream_ttft", self.first_token_s)
        self.send(
            replace(
                self.opened,
                served_by=ServedBy.HEDGE if self.attempt.kind == "hedge" else self.opened.served_by,
                deployment=self.attempt.name,
                attempts=self.attempt.number,
                model=model or self.opened.model,
                stages=dict(self.ctx.timings.stages),
            )
        )
        for event in self._held:
            self._pass(event)

    def _pass(self, event: Delta) -> None:
        self.sent.append(event)
        self.send(event)
