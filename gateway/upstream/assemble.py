"""Chat completion chunks ⇄ one whole answer (pure). Fields we do not know are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.chat import Answer, Json, Usage

_CHUNK_OWN = frozenset({"id", "object", "created", "model", "choices", "usage"})
_CONCATENATED = frozenset({"content", "refusal", "reasoning_content", "reasoning", "arguments"})


class Assembler:
    """Adds up chunks. ``closed`` once every choice seen has a finish reason."""

    def __init__(self) -> None:
        self._choices: dict[int, dict[str, Any]] = {}
        self._extras: dict[str, Any] = {}
        self._model = ""
        self._usage: Usage | None = None

    def add(self, chunk: Json) -> None:
        if model := chunk.get("model"):
            self._model = model
        if usage := chunk.get("usage"):
            self._usage = usage_of(usage)
        for name, value in chunk.items():
            if name not in _CHUNK_OWN and value is not None:
                self._extras[name] = value
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            choice = self._choices.setdefault(
                index, {"index": index, "message": {"role": "assistant", "content": None}}
            )
            _merge(choice["message"], part.get("delta") or {})
            for name, value in part.items():
                if name in {"index", "delta"} or value is None:
                    continue
                if name == "logprobs":
                    _extend_logprobs(choice, value)
                else:
                    choice[name] = value

    @property
    def closed(self) -> bool:
        return bool(self._choices) and all(choice.get("finish_reason") for choice in self._choices.values())

    def answer(self) -> Answer:
        choices = []
        for _, choice in sorted(self._choices.items()):
            message = choice["message"]
            if calls := message.get("tool_calls"):
                message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
            choice.setdefault("logprobs", None)
            choice.setdefault("finish_reason", None)
            choices.append(choice)
        return Answer(tuple(choices), self._model, self._usage, self._extras)


def answer_of(completion: Json) -> Answer:
    """The answer in a ``chat.completion`` object."""
    usage = completion.get("usage")
    return Answer(
        choices=tuple(completion.get("choices") or ()),
        model=completion.get("model") or "",
        usage=usage_of(usage) if usage else None,
        extras={k: v for k, v in completion.items() if k not in _CHUNK_OWN and v is not None},
    )


def usage_of(raw: Json) -> Usage:
    return Usage(int(raw.get("prompt_tokens") or 0), int(raw.get("completion_tokens") or 0), raw)


def _merge(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if value is None or name == "role":
            continue
        if name == "tool_calls":
            for call in value:
                _merge_call(message.setdefault("tool_calls", []), call)
        elif name in _CONCATENATED and isinstance(message.get(name), str) and isinstance(value, str):
            message[name] += value
        elif isinstance(message.get(name), dict) and isinstance(value, Mapping):
            _merge(message[name], value)
        else:
            message[name] = dict(value) if isinstance(value, Mapping) else value


def _merge_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    index = part.get("index", len(calls))
    for call in calls:
        if call.get("index") == index:
            _merge(call, {k: v for k, v in part.items() if k != "index"})
            return
    calls.append({k: dict(v) if isinstance(v, Mapping) else v for k, v in part.items()} | {"index": index})


def _extend_logprobs(choice: dict[str, Any], logprobs: Mapping[str, Any]) -> None:
    kept = choice.setdefault("logprobs", {})
    for name, items in logprobs.items():
        if isinstance(items, list):
            kept[name] = (kept.get(name) or []) + items
