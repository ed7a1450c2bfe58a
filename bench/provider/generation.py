"""From a request body to the tokens of its choices, with everything the request asked for (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import orjson

from bench.provider.answering import Composed, compose
from bench.provider.config import Faults
from bench.provider.judge import is_verdict, verdict
from bench.provider.logprobs import TokenLogprob, token_logprobs
from bench.provider.passages import Prompt, read_prompt, text_of
from bench.provider.profiles import LatencyProfile, draw_answer_tokens
from bench.provider.structured import ToolCall, wanted_json, wanted_tool_call
from bench.provider.tokens import count_tokens, tokenize
from bench.provider.truths import Truths

_CITATION = re.compile(r"\s*\[doc\d+\]")
TOKENS_PER_MESSAGE = 4  # role and separators in the chat format; 3 more open the answer (OpenAI cookbook)


@dataclass(frozen=True, slots=True)
class Choice:
    tokens: Sequence[str]  # of the text, or of the tool call's arguments
    finish_reason: str
    logprobs: Sequence[TokenLogprob] | None  # one per token; None: not asked for
    tool_call: ToolCall | None
    composed: Composed

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt and how it is to be answered. ``top_logprobs``: None = no logprobs."""

    messages: Sequence[Mapping[str, Any]]
    body: Mapping[str, Any]
    max_tokens: int | None
    top_logprobs: int | None
    profile: LatencyProfile
    faults: Faults
    truths: Truths | None = None

    def prompt_tokens(self) -> int:
        tools = self.body.get("tools")
        texts = [text_of(message.get("content")) for message in self.messages]
        tokens = sum(count_tokens(text) + TOKENS_PER_MESSAGE for text in texts) + 3
        return tokens + (count_tokens(orjson.dumps(tools).decode()) if tools else 0)


def generate(task: Task, rng: Random) -> Choice:
    """One choice for ``task``. The same ``rng`` state gives the same choice."""
    prompt = read_prompt(task.messages)
    asked = text_of(task.messages[-1].get("content"))
    if is_verdict(task.body, asked):
        word = verdict(asked, rng, task.truths)
        return Choice((word.token,), "length", (word,), None, Composed(word.token))
    if task.truths is not None and (rewritten := task.truths.rewriting(asked)) is not None:
        tokens, cut = _cut(tokenize(rewritten), task.max_tokens)
        return Choice(tokens, "length" if cut else "stop", None, None, Composed(rewritten))
    if task.truths is not None and (meant := task.truths.stands_for(prompt.earlier, prompt.question)):
        prompt = replace(prompt, question=meant)
    if call := wanted_tool_call(task.body, prompt.question):
        tokens, cut = _cut(tokenize(call.arguments), task.max_tokens)
        reason = "length" if cut else "stop" if call.forced else "tool_calls"
        return Choice(tokens, reason, None, call, Composed(call.arguments))
    composed = _going_on(_compose(task, prompt, rng), task.messages)
    text, stopped = _before_stop(composed.text, task.body.get("stop"))
    tokens, cut = _cut(tokenize(text), task.max_tokens)
    logprobs = None
    if task.top_logprobs is not None:
        logprobs = token_logprobs(tokens, composed.doubtful, rng, task.top_logprobs)
    return Choice(tokens, "length" if cut and not stopped else "stop", logprobs, None, composed)


def _compose(task: Task, prompt: Prompt, rng: Random) -> Composed:
    length = draw_answer_tokens(task.profile, rng)
    steady = task.body.get("seed") is not None and task.body.get("temperature") == 0
    gold = task.truths.gold(prompt.question) if task.truths is not None else None
    composed = compose(prompt, rng, task.faults, length, steady=steady, gold=gold)
    if not task.faults.cites:
        composed = replace(composed, text=_CITATION.sub("", composed.text), source="")
    if (shaped := wanted_json(task.body, composed.text)) is not None:
        return Composed(shaped, composed.fault, composed.doubtful, composed.truth, composed.source)
    return composed


def _going_on(composed: Composed, messages: Sequence[Mapping[str, Any]]) -> Composed:
    """The rest of an answer that its own words, after the question, already begin; all of it where they do not."""
    begun = ""
    for message in messages:
        if message.get("role") in ("user", "assistant"):
            begun = text_of(message.get("content")) if message["role"] == "assistant" else ""
    if begun and composed.text.startswith(begun):
        return replace(composed, text=composed.text[len(begun) :])
    return composed


def _before_stop(text: str, stop: object) -> tuple[str, bool]:
    """``text`` up to the first stop sequence, and whether there was one."""
    sequences = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    ends = [end for sequence in sequences if sequence and (end := text.find(str(sequence))) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _cut(tokens: list[str], limit: int | None) -> tuple[list[str], bool]:
    return (tokens[:limit], True) if limit is not None and len(tokens) > limit else (tokens, False)
