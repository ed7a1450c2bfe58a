"""An answer that would not be done in time ends with a whole sentence before that."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from gateway.chat import AnswerEvent, Closed, Delta, Opened, Send, Usage
from gateway.clock import Deadline
from gateway.routing.call import Enough
from gateway.routing.told import whole

_CITED = r"(?:\s*\[[Dd]oc\d+\])"
_END = re.compile(
    rf"(?:[가-힣][.!?。]{_CITED}*[.。]?|{_CITED}+[.。])(?=\s+\S)"
    rf"|(?:[A-Za-z]{{3,}}[.!?]|[0-9%)\"'”’][.!?。]){_CITED}*(?=\s+[\"'“‘(*-]*[A-Z가-힣])"  # "No. 5", "1. …" end none
    r"|(?=\n\s*\n\s*\S)"
)
_FENCE = "```"


class Ending:
    """Passes an answer on. Whenever a sentence of it is whole and the next begins, that is taken to last as long as
    they did so far: where less is left, the answer ends, and its call with it. The first sentence is always given;
    after the promised time there is nothing left to save. ``prompt``: its tokens; the provider counts neither for an
    answer that is cut off."""

    def __init__(self, send: Send, due: Deadline, prompt: int) -> None:
        self.curtailed = False
        self._prompt = prompt
        self._pieces = 0
        self._send = send
        self._due = due
        self._text = ""
        self._began = 0.0
        self._model = ""

    async def listen(self, ask: Callable[[Send], Awaitable[object]]) -> None:
        try:
            await ask(self._hear)
        except Enough:
            if not self.curtailed:
                raise

    def _hear(self, event: AnswerEvent) -> None:
        if isinstance(event, Opened):
            self._began, self._model = self._due.clock(), event.model
        elif isinstance(event, Delta) and event.text:
            self._pieces += 1
            if (end := self._end(event)) is not None:
                self._finish(event, end)
        self._send(event)

    def _end(self, event: Delta) -> int | None:
        """How much of ``event`` still belongs to the last sentence there is time for; None: go on."""
        before, self._text = len(self._text), self._text + event.text
        left_s = self._due.remaining_s()
        ends = sorted({match.end() for match in _END.finditer(self._text)})
        if not ends or left_s <= 0 or self._text.count(_FENCE) % 2:
            return None
        if self._text[ends[-1] : before].strip():
            return None  # the next sentence has begun before
        usual_s = (self._due.clock() - self._began) / len(ends)
        return max(0, ends[-1] - before) if left_s < usual_s else None

    def _finish(self, event: Delta, end: int) -> None:
        """Raises Enough."""
        self.curtailed = True
        rest = event.text[:end].rstrip()
        text = (self._text[: len(self._text) - len(event.text)] + rest).rstrip()
        head = {name: event.chunk[name] for name in ("id", "object", "created", "model") if name in event.chunk}
        for delta, reason in (({"content": rest}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            self._send(Delta.of({**head, "choices": [choice]}))
        self._send(Closed(whole(text, self._model, self._usage())))
        raise Enough

    def _usage(self) -> Usage:
        raw = {"prompt_tokens": self._prompt, "completion_tokens": self._pieces}
        return Usage(self._prompt, self._pieces, {**raw, "total_tokens": self._prompt + self._pieces})
