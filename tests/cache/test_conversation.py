"""Follow-ups are compared within the same earlier turns only: on a Korean set of conversations written to confuse."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.chat import ChatRequest
from tests.cache.makers import ask, keys_of, message

TWIN = Path(__file__).parents[2] / "bench" / "data" / "ko_conversations.jsonl"


def talk(*turns: str) -> ChatRequest:
    """User and assistant in alternation, a user's last."""
    earlier = [message("assistant" if n % 2 else "user", text) for n, text in enumerate(turns[:-1])]
    return ask(turns[-1], *earlier)


def pairs() -> list[tuple[str, bool, ChatRequest, ChatRequest]]:
    def read(turns: list[dict[str, str]]) -> ChatRequest:
        return talk(*(turn["content"] for turn in turns))

    rows = [json.loads(line) for line in TWIN.read_text(encoding="utf-8").splitlines()]
    return [(row["subtype"], row["same_answer"], read(row["a"]), read(row["b"])) for row in rows]


def test_no_conversation_is_answered_from_another_ones_scope() -> None:
    """Answers to follow-ups are kept under their whole conversation: no two of different meaning ever meet there."""
    found = pairs()
    assert len(found) >= 60
    for subtype, same, a, b in found:
        if not same:
            assert keys_of(a).scope != keys_of(b).scope, subtype
