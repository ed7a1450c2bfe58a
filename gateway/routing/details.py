"""The section that a second, larger model appends to a short answer that was given: "자세히", "Details".

What was given stands. The section is sent sentence by sentence, each once it is whole and states no number and no code
that the documents do not: at the first that does the section ends. However it ends, the answer ends well: the short one
was one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.chat import Answer, AnswerEvent, ChatRequest, Closed, Delta, Send, Usage
from gateway.errors import GatewayError
from gateway.routing.call import Enough
from gateway.routing.told import Telling, whole

log = structlog.get_logger()

_END = re.compile(r"(?:[.!?。]|다\.)(?:\s*\[doc\d+\]\.?)*(?=\s)|\n+", re.IGNORECASE)
EXPAND = (
    "You have given the user the answer above. Write the section with details that follows it: conditions, exceptions "
    "and steps from the documents, in at most {n} sentences, each with its citation. Expand on the answer and do not "
    "contradict it; do not repeat it, and begin without a heading.\n"
    "위의 답변은 이미 전달되었습니다. 그 뒤에 이어질 상세 설명을 쓰십시오. "
    "문서에 있는 조건, 예외, 절차를 {n}문장 이내로, 문장마다 출처를 표시하여 쓰십시오. "
    "답변을 보충하되 모순되지 않게 하고, 되풀이하지 말며, 제목 없이 시작하십시오."
)


def expanding(grounded: ChatRequest, short: str, sentences: int) -> dict[str, Any]:
    """The request body: the short answer as the assistant's own words, and the wish for more."""
    messages = list(grounded.body.get("messages") or ())
    messages.append({"role": "assistant", "content": short})
    messages.append({"role": "system", "content": EXPAND.format(n=sentences)})
    return {**grounded.body, "messages": messages}


@dataclass(slots=True)
class Section:
    """Hears the larger model, and appends what of it may be said."""

    short: Answer
    telling: Telling  # that has told the short answer
    heading: str
    supported: Callable[[str], bool]  # may this sentence be said?
    text: str = ""  # of the section, as sent
    usage: Usage | None = None
    _waiting: str = ""

    async def append(self, ask: Callable[[Send], Awaitable[object]]) -> str:
        """Send the section and the answer's end, whoever fails: how it ended, as a bounded word."""
        outcome = "whole"
        try:
            await ask(self._hear)
        except Enough:
            outcome = "unsupported"
        except GatewayError as error:
            outcome = "failed"
            log.info("details not completed", error=str(error))
        self._end()
        return outcome

    def _hear(self, event: AnswerEvent) -> None:
        if isinstance(event, Delta):
            self._waiting += event.text
            while match := _END.search(self._waiting):
                sentence, self._waiting = self._waiting[: match.end()], self._waiting[match.end() :]
                self._say(sentence)
        elif isinstance(event, Closed):
            self.usage = event.answer.usage
            if event.answer.finish_reason == "stop" and self._waiting.strip():
                rest, self._waiting = self._waiting, ""
                self._say(rest)

    def _say(self, sentence: str) -> None:
        """Raises Enough where it must not be said."""
        if sentence.strip() and not self.supported(sentence):
            raise Enough
        if not self.text:
            sentence = sentence.lstrip()
            if not sentence:
                return
            sentence = f"{self.heading}{sentence}"
        self.text += sentence
        self.telling.piece(sentence)

    def _end(self) -> None:
        usage = _sum(self.short.usage, self.usage)
        self.telling.end(whole(self.short.text + self.text, self.telling.opened.model, usage))


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    if one is None or other is None:
        return one or other
    prompt, completion = one.prompt_tokens + other.prompt_tokens, one.completion_tokens + other.completion_tokens
    raw = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return Usage(prompt, completion, raw)
