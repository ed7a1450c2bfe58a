"""Answers asked for in the size that fits the time left. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.chat import Json

TOKENS_PER_SENTENCE = 40  # of a cited sentence, Korean or English, rounded up
SENTENCES = (1, 2, 3, 5, 8, 12)  # few sizes: the same question then mostly gives the same prompt
SLOWER = 0.7  # plan for a call this much slower than usual: speeds scatter by 0.3 (log), so one in nine is slower still
ROOM = 3  # max_tokens over what is expected: a safety net that should never cut, since a cut is in mid-sentence
LEAST_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Size:
    sentences: int
    max_tokens: int


def size_for(left_s: float, first_token_s: float, tokens_per_s: float) -> Size:
    """What can be said within ``left_s`` seconds. At least one sentence, even where there is no time for it."""
    tokens = max(0.0, left_s - first_token_s) * tokens_per_s * SLOWER
    sentences = max((n for n in SENTENCES if n * TOKENS_PER_SENTENCE <= tokens), default=1)
    return Size(sentences, max(LEAST_TOKENS, ROOM * sentences * TOKENS_PER_SENTENCE))


def sized(body: Json, size: Size) -> dict[str, Any]:
    """``body`` asking for an answer of that size; a smaller limit of the caller's stays."""
    field = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    asked = body.get(field)
    limit = min(asked, size.max_tokens) if isinstance(asked, int) and asked > 0 else size.max_tokens
    return {**body, field: limit, "messages": _with_instruction(body, _instruction(size.sentences))}


def _with_instruction(body: Json, text: str) -> list[Mapping[str, Any]]:
    """Before the last message: everything ahead of it stays the same for the provider's prompt cache."""
    messages = list(body.get("messages") or ())
    return [*messages[:-1], {"role": "system", "content": text}, *messages[-1:]]


def _instruction(sentences: int) -> str:
    some = f"{sentences} sentence{'s' if sentences > 1 else ''}"
    own_en, own_ko = (", in a paragraph of its own", " 한 문단으로") if sentences > 2 else ("", "")
    return (
        f"Answer in at most {some}, the direct answer first, with its citation{own_en}.\n"
        f"{sentences}문장 이내로, 결론부터{own_ko}, 출처 표시와 함께 답하십시오."
    )
