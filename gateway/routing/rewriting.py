"""What a follow-up asks, written out by a fast model: "그럼 인턴은요?" → "인턴은 연차휴가가 며칠인가요?".

Answers are judged by it, and where it finds something better than the user's own words do, both are joined. The model
that answers is asked in the user's words, so a poor rewriting costs little more than its price.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.chat import ChatRequest, Message, RequestContext
from gateway.routing.aside import ask_aside
from gateway.routing.router import Router
from gateway.routing.spend import Allowance, prompt_tokens

TURNS = 6  # latest messages shown
MOST_SAID = 300  # characters of each of them
MOST_TOKENS = 80
TASK = (
    "Rewrite the follow-up as one stand-alone question over company documents: add what it leaves out or points at, "
    "from the conversation. If it stands alone already, repeat it. Answer with the question only, in the language of "
    "the follow-up."
)


class TooDear(Exception):
    """There is no allowance for it."""


@dataclass(slots=True)
class Rewriter:
    """Rewrites with one model, within a spend limit. ``patience_s``: for the rewriting and the search for it."""

    router: Router
    model: str
    allowance: Allowance
    patience_s: float

    def earn(self, cost: float) -> None:
        self.allowance.earn(cost)

    async def rewrite(self, request: ChatRequest, ctx: RequestContext) -> str | None:
        """The stand-alone question; None where nothing was added. Raises TooDear and GatewayError."""
        messages = prompt(request)
        cost = self.router.ledger.price(self.model).of(prompt_tokens({"messages": messages}), MOST_TOKENS // 2)
        if not self.allowance.take(cost):
            raise TooDear
        body = {"model": self.model, "messages": messages, "max_tokens": MOST_TOKENS, "temperature": 0, "seed": 1}
        said = Message("user", messages[0]["content"], True, messages[0])
        asked = ChatRequest(self.model, (said,), stream=False, include_usage=False, body=body)
        answer = await ask_aside(self.router, asked, ctx, "rewrite")
        return stand_alone(answer.text, request.question) if answer.finish_reason == "stop" else None


def prompt(request: ChatRequest) -> list[dict[str, str]]:
    """One message. Whatever was said stays inside its line."""
    said = [m for m in request.earlier if m.role in {"user", "assistant"} and m.text.strip()][-TURNS:]
    lines = [f"Earlier {'question' if m.role == 'user' else 'answer'}: {_line(m.text)}" for m in said]
    return [{"role": "user", "content": "\n".join([TASK, "", *lines, f"Follow-up: {_line(request.question)}"])}]


def stand_alone(text: str, follow_up: str) -> str | None:
    """The question in the first line of what the model wrote, without a label or quotes; None where it adds nothing."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    label, colon, rest = first.partition(":")
    if colon and label.strip(" *#").casefold() in {"stand-alone question", "question", "follow-up", "질문"}:
        first = rest
    written = first.strip(" *\"'“”")[:MOST_SAID]
    return written if written and _plain(written) != _plain(follow_up) else None


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_SAID else text[: MOST_SAID - 1] + "…"


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()
