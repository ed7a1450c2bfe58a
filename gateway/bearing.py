"""Whether an answer may be kept, by what it states: a wrong answer in the cache is a wrong answer repeated. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from gateway.chat import Answer, ChatRequest, Evidence
from gateway.facts import signature
from gateway.routing.gate import CITATION, normal, sentences, why_unsupported
from gateway.samples import lead_of


def unborne(answer: Answer, request: ChatRequest, evidence: Evidence) -> bool:
    """The first paragraph of one of its texts, or a value of one in JSON, states a number or a code that no passage it
    cites states (of all passages, where it cites none), nor the caller."""
    given = _given(request)
    return any(_unborne(said, given, evidence) for text in _texts(answer) for said in _stated(text))


def _unborne(said: str, given: str, evidence: Evidence) -> bool:
    nowhere = any(not 1 <= int(number) <= len(evidence.passages) for number in CITATION.findall(said))
    return nowhere or bool(why_unsupported(said, given, evidence))


def _texts(answer: Answer) -> Iterator[str]:
    for choice in answer.choices:
        content = (choice.get("message") or {}).get("content")
        if isinstance(content, str):
            yield normal(content)


def _stated(text: str) -> Sequence[str]:
    """Its statements, one by one; a refusal states nothing."""
    values = _values(text)
    if values is not None:
        return list(values)
    lead = lead_of(text)
    return [] if signature(lead).refuses else sentences(lead)


def _values(text: str) -> Iterator[str] | None:
    """Of an answer in JSON; None where it is none."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return _leaves(orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _given(request: ChatRequest) -> str:
    """What the caller says: instructions, his own words, results of tools, the form of the answer. Not the assistant's
    words: they may have been wrong before."""
    said = [message.text for message in request.messages if message.role != "assistant"]
    form = request.body.get("response_format")
    return normal("\n".join([*said, orjson.dumps(form).decode() if form else ""]))
