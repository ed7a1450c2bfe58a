"""Answers being made that are held back: their events, their first paragraphs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.chat import Answer, AnswerEvent, Closed, Delta, Send
from gateway.errors import GatewayError
from gateway.stages import ended

LONG_LEAD = 900  # characters without a paragraph's end: then what there is counts as the lead
MOST_REFERENCE = 80  # characters before what a sentence opens with: "According to the documents [doc1] and [doc2], …"
LEAD_END = "\n\n"
_SENTENCE = re.compile(
    r"[^\s.!?。]{2}[.!?。]+[\"'”’)\]]*(?:\s*\[doc\d+\])*(?=\s+\S)", re.IGNORECASE
)  # and what follows has begun
_MARK = re.compile(r"\[doc", re.IGNORECASE)
_REFERENCE = re.compile(  # a mark after this is a part of the sentence, not its end
    r"(?:^|\b(?:to|on|in|per|from|by|see|under|document)|문서|출처|근거)(?:\[doc\d+\]|[\s(:*,]|와|과|및|and)*$",
    re.IGNORECASE,
)

Ask = Callable[[int, Send], Awaitable[Answer]]  # (which sample, counted from 0; where its events go)


def has_sentence(text: str) -> bool:
    """The first sentence, or paragraph, is whole and more has begun."""
    return LEAD_END in text.lstrip() or bool(_SENTENCE.search(text))


def has_claim(text: str) -> bool:
    """As ``has_sentence``, or all of it but where it stands. "According to [doc1]" claims nothing yet."""
    if has_sentence(text):
        return True
    marks = (mark.start() for mark in _MARK.finditer(text))
    return any(start > MOST_REFERENCE or not _REFERENCE.search(text[:start]) for start in marks)


def lead_of(text: str) -> str:
    """The first paragraph."""
    return text.strip().split(LEAD_END, 1)[0]


class Held:
    """Events kept back until they may go."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False
        self.begun = asyncio.Event()  # there is something to let go
        self._events: list[AnswerEvent] = []
        self._out: Send | None = None

    def hear(self, event: AnswerEvent) -> None:
        if self._out is not None:
            self._out(event)
            return
        self._events.append(event)
        self.begun.set()
        if isinstance(event, Delta):
            self.text += event.text
        elif isinstance(event, Closed):
            self.text, self.closed = event.answer.text, True

    @property
    def lead(self) -> str | None:
        """The first paragraph, once it is whole."""
        text = self.text.lstrip()
        whole = self.closed or LEAD_END in text or len(text) > LONG_LEAD
        return text.split(LEAD_END, 1)[0].rstrip() if whole else None

    def let_go(self, out: Send) -> None:
        self._out = out
        for event in self._events:
            out(event)
        self._events.clear()


@dataclass(slots=True)
class Sample:
    """One answer being made: held back until it is given."""

    ask: Ask
    number: int
    brief: bool = False  # its lead is its first sentence
    task: asyncio.Task[None] = field(init=False)
    text: str = ""
    lowest: float | None = None  # log-probability of the tokens of ``lead``, where that is known
    error: GatewayError | None = None
    _held: Held = field(default_factory=Held)
    _lead: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.task = asyncio.create_task(self._run())

    @property
    def failed(self) -> bool:
        return self.error is not None

    @property
    def told(self) -> bool:
        """Its lead is whole."""
        return self._lead.is_set() and not self.failed

    async def lead(self) -> str:
        """The first paragraph or sentence, once it is whole; the whole text where there is but one. "" where it
        failed."""
        await self._lead.wait()
        return self.lead_so_far()

    def lead_so_far(self) -> str:
        lead = self.text.strip().split(LEAD_END, 1)[0]
        sentence = _SENTENCE.search(lead) if self.brief else None
        return lead[: sentence.end()] if sentence is not None else lead

    async def whole(self) -> str:
        """Raises the sample's error."""
        await asyncio.wait([self.task])
        self.task.result()
        if self.error is not None:
            raise self.error
        return self.text

    async def give(self, send: Send) -> None:
        """Pass on what there is and what comes. Raises the sample's error."""
        self._held.let_go(send)
        await self.whole()

    async def stop(self) -> None:
        await ended(self.task)

    async def _run(self) -> None:
        try:
            await self.ask(self.number, self._hear)
        except GatewayError as error:
            self.error = error
        finally:
            self._lead.set()

    def _hear(self, event: AnswerEvent) -> None:
        self._held.hear(event)
        if isinstance(event, Delta) and not self._lead.is_set():
            self.text += event.text
            if event.logprob is not None:
                self.lowest = min(event.logprob, self.lowest or 0.0)
            text = self.text.lstrip()
            if LEAD_END in text or len(text) > LONG_LEAD or (self.brief and has_sentence(text)):
                self._lead.set()
        elif isinstance(event, Closed):
            self.text = event.answer.text
