"""Keeps a rejected answer from being given again by whoever makes the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from gateway.answers.reviewed import Rejected
from gateway.chat import AnswerEvent, Closed, Opened, Send, ServedBy
from gateway.facts import FactSignature, Verdict, compare, signature
from gateway.routing.told import tell

LONG_ENOUGH = 20  # characters of a rejected text that are recognised inside another, such as one with a label before
REFUSALS = {
    "ko": "이 질문의 자동 답변은 담당자 검토에서 반려되었습니다. 검토된 답변이 나올 때까지 담당 부서에 문의하십시오.",
    "en": "The automatic answer to this question was rejected on review. "
    "Please ask the team in charge until there is a reviewed one.",
}  # fmt: skip


class Guard:
    """Holds the events of one answer until it is whole."""

    def __init__(self, language: str, standing: Sequence[Rejected], send: Send, on_refused: Callable[[], None]) -> None:
        self._language = language
        self._standing = standing
        self._send = send
        self._tell = on_refused
        self._held: list[AnswerEvent] = []

    def hear(self, event: AnswerEvent) -> None:
        self._held.append(event)
        if not isinstance(event, Closed):
            return
        held, self._held = self._held, []
        opened = next((e for e in held if isinstance(e, Opened)), None)
        if opened is None or not any(says(event.answer.text, rejected) for rejected in self._standing):
            for one in held:
                self._send(one)
            return
        self._tell()
        text = REFUSALS.get(self._language, REFUSALS["en"])
        tell(text, replace(opened, served_by=ServedBy.REVIEWED, labelled=True, citations=()), None, self._send)


def says(text: str, rejected: Rejected) -> bool:
    """Whether ``text`` is the rejected answer, word for word or fact for fact."""
    if text == rejected.text or (len(rejected.text) >= LONG_ENOUGH and rejected.text in text):
        return True
    return compare(signed(text), signed(rejected.text)).verdict is Verdict.SAME


@lru_cache(maxsize=4_000)
def signed(text: str) -> FactSignature:
    """What ``text`` states; kept, since reviewed and rejected answers are compared again and again."""
    return signature(text)
