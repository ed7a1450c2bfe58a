"""Going on with an answer that broke off after a part of it was sent: what to ask, and joining what comes to what went.

Models are asked to go on and mostly do; some begin again. What came before is not sent twice, nothing is left out, and
where what comes is neither a continuation nor the same text again, the answer ends in an error, as it would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.chat import Closed, Delta, Json, Usage
from gateway.routing.attempts import Attempt
from gateway.routing.call import Call, Enough

LOOK_AT = 48  # characters of the new text that show whether it goes on, overlaps or begins again
TEXT_ONLY = frozenset({"role", "content"})
LEAST_OVERLAP = 6  # characters: fewer are chance
GO_ON = (
    "Your answer above was cut off in transmission. Go on exactly where it stops, with the very next character: repeat "
    "nothing of it, begin no new answer, and say nothing about the interruption.\n"
    "위의 답변이 전송 중에 끊겼습니다. 끊긴 자리의 바로 다음 글자부터 이어서 쓰십시오. "
    "앞부분을 되풀이하거나 새로 시작하지 말고, 끊긴 것에 대해 언급하지 마십시오."
)


def going_on(body: Json, sent: str) -> dict[str, Any]:
    """The request for the rest."""
    messages = [*(body.get("messages") or ()), {"role": "assistant", "content": sent}]
    return {**body, "messages": [*messages, {"role": "system", "content": GO_ON}]}


class Diverged(Enough):
    """What came is another text."""


def text_of(sent: Sequence[Delta]) -> str | None:
    """What listeners have of the answer; None where that is more than text, or the answer had ended."""
    for delta in sent:
        for choice in delta.chunk.get("choices") or ():
            more = [name for name, value in (choice.get("delta") or {}).items() if value and name not in TEXT_ONLY]
            if more or choice.get("index") or choice.get("finish_reason") or choice.get("logprobs"):
                return None
    return "".join(delta.text for delta in sent)


@dataclass(slots=True)
class Joint:
    """Cuts from a second text what it has in common with the end, or the whole, of ``sent``."""

    sent: str
    _held: str = ""
    _again: int = -1  # characters of ``sent`` that were said again; -1: it does not begin again
    _decided: bool = False

    def feed(self, text: str) -> str:
        """What of ``text`` is new, as far as that is known yet. Raises Diverged."""
        self._held += text
        if not self._decided:
            if len(self._held) < LOOK_AT:
                return ""
            self._decide()
        return self._new()

    def finish(self) -> str:
        """The rest, at the end of the second text. Raises Diverged."""
        if not self._decided:
            self._decide()
        new = self._new()
        if 0 <= self._again < len(self.sent):
            raise Diverged
        return new

    def _decide(self) -> None:
        self._decided = True
        beginning = self._held[:LOOK_AT]
        common = min(len(beginning), len(self.sent))
        if common and self.sent[:common] == beginning[:common]:
            self._again = 0
            return
        for length in range(min(len(self._held), len(self.sent)), LEAST_OVERLAP - 1, -1):
            if self.sent.endswith(self._held[:length]):
                self._held = self._held[length:]
                return

    def _new(self) -> str:
        """Take what is held; of a text that begins again only what lies beyond ``sent``."""
        held, self._held = self._held, ""
        if self._again < 0:
            return held
        known = self.sent[self._again : self._again + len(held)]
        if held[: len(known)] != known:
            raise Diverged
        self._again += len(known)
        return held[len(known) :]


class Continuation(Call):
    """The second part of an answer on its way to the listeners of the first."""

    __slots__ = ("first", "joint")

    def __init__(self, call: Call, attempt: Attempt, text: str) -> None:
        super().__init__(attempt, call.ctx, call.opened, call.send, call.clock, call.claim)
        self.first = call
        self.joint = Joint(text)

    def delta(self, event: Delta) -> None:
        self.pieces += 1
        self.heard_at = now = self.clock()
        if self.first_token_s is None and event.text:
            self.first_token_s = now - self.began
            self.attempt.health.answered(self.attempt.slot.call, now)
        self._say(self.joint.feed(event.text))

    def closed(self, event: Closed) -> None:
        self._say(self.joint.finish())
        self.ctx.timings.record("upstream", self.clock() - self.first.began)
        text = "".join(delta.text for delta in (*self.first.sent, *self.sent))
        choice = {**event.answer.choices[0], "index": 0}
        if self.first.weighs:
            choice["logprobs"] = None
        choice["message"] = {**choice["message"], "content": text}
        self._send({}, choice.get("finish_reason") or "stop")
        usage = _both(event.answer.usage, self.first.pieces)
        self.send(Closed(replace(event.answer, choices=(choice,), usage=usage), dict(self.ctx.timings.stages)))

    def _say(self, text: str) -> None:
        if text:
            self.sent.append(self._send({"content": text}, None))

    def _send(self, delta: Json, finish_reason: str | None) -> Delta:
        """As a chunk of the first part's stream."""
        head = {k: v for k, v in self.first.sent[0].chunk.items() if k not in {"choices", "usage"}}
        made = Delta.of({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
        self.send(made)
        return made


def _both(second: Usage | None, first_pieces: int) -> Usage | None:
    """What the caller's answer amounts to: its prompt, and the tokens of both parts (of the first, pieces seen)."""
    if second is None:
        return None
    prompt, completion = second.prompt_tokens, second.completion_tokens + first_pieces
    raw = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return Usage(prompt, completion, raw)
