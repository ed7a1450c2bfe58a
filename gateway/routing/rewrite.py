"""A follow-up as a question of its own: "그럼 인턴은요?" after a talk about leave → "인턴 연차는 며칠인가요?"."""

from __future__ import annotations

import re

from gateway.chat import ChatRequest, RequestContext
from gateway.routing.aside import Asides

MAX_TOKENS = 80
MOST_REWRITTEN = 300  # characters; a longer text is no question
_TURNS = 4  # earlier messages shown
_TURN_CHARS = 300
_LABEL = re.compile(r"^(?:stand-alone question|question|follow-up|질문|답변|답)\s*[:：]\s*", re.IGNORECASE)
_HANGUL = re.compile(r"[가-힣]")
TASK = (
    "Rewrite the follow-up as one stand-alone question in its own language. Take missing subjects, conditions and "
    "persons over from the conversation. Add nothing else, drop nothing, do not answer. Write the question only."
)


class Rewriter:
    def __init__(self, asides: Asides) -> None:
        self._asides = asides

    async def rewrite(self, model: str, request: ChatRequest, ctx: RequestContext) -> str | None:
        """The last question so that it can be understood alone; None where nothing usable came.

        Raises UpstreamError.
        """
        messages = [{"role": "user", "content": prompt(request)}]
        answer = await self._asides.ask(model, messages, ctx, purpose="rewrite", max_tokens=MAX_TOKENS, stop=["\n\n"])
        return usable(answer.text, request.question) if answer.finish_reason == "stop" else None


def prompt(request: ChatRequest) -> str:
    said = [m for m in request.earlier if m.role in {"user", "assistant"} and m.text.strip()][-_TURNS:]
    lines = [f"{'User' if m.role == 'user' else 'Assistant'}: {_line(m.text)}" for m in said]
    return "\n".join([TASK, "", *lines, f"Follow-up: {_line(request.question)}"])


def usable(text: str, question: str) -> str | None:
    """The model's line as a question, without label and quotes; None for what cannot be one."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) != 1:
        return None
    found = _LABEL.sub("", lines[0]).strip().strip("\"'“”‘’").strip()
    if not found or len(found) > MOST_REWRITTEN or bool(_HANGUL.search(found)) != bool(_HANGUL.search(question)):
        return None
    return None if "".join(found.split()) == "".join(question.split()) else found


def _line(text: str) -> str:
    return " ".join(text.split())[:_TURN_CHARS]
