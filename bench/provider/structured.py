"""Answers with a shape: tool calls and JSON (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: str  # JSON
    forced: bool  # the caller named this very tool: finish_reason is then "stop", as at OpenAI


def wanted_tool_call(body: Mapping[str, Any], question: str) -> ToolCall | None:
    """The call to answer with; None: the request does not insist on one."""
    functions = [tool["function"] for tool in _objects(body.get("tools")) if isinstance(tool.get("function"), dict)]
    choice = body.get("tool_choice")
    named = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if not functions or (choice != "required" and not named):
        return None
    function = next((f for f in functions if f.get("name") == named), functions[0])
    arguments = fill(function.get("parameters") or {}, question)
    return ToolCall(str(function.get("name", "")), orjson.dumps(arguments).decode(), forced=bool(named))


def wanted_json(body: Mapping[str, Any], answer: str) -> str | None:
    """``answer`` as the JSON text that `response_format` asks for; None: plain text is wanted."""
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema" and isinstance(wanted, dict):
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        filled = fill(schema, answer) if schema.get("properties") else {"answer": answer}
        return orjson.dumps(filled).decode()
    return orjson.dumps({"answer": answer}).decode() if kind == "json_object" else None


def fill(schema: Mapping[str, Any], text: str, depth: int = 0) -> Any:
    """A plausible value for a JSON schema: strings say ``text``, numbers are the first number in it."""
    if schema.get("enum"):
        return schema["enum"][0]
    for option in _objects(schema.get("anyOf") or schema.get("oneOf")):
        return fill(option, text, depth)
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: fill(part, text, depth + 1) for name, part in properties.items()} if depth < MAX_DEPTH else {}
    if kind == "array":
        return [fill(schema.get("items") or {"type": "string"}, text, depth + 1)] if depth < MAX_DEPTH else []
    number = re.search(r"\d+", text)
    simple = {"integer": int(number[0]) if number else 1, "number": float(number[0]) if number else 1.0}
    return {**simple, "boolean": True, "null": None}.get(kind, text)


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
