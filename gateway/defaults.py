"""Request fields that say what is so anyway. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "tools": ([],),
    "tool_choice": ("auto", "none"),
    "parallel_tool_calls": (True,),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "verbosity": ("medium",),
}


def is_default(name: str, value: Any) -> bool:
    """Whether OpenAI answers as it would without the field."""
    return value is None or any(type(value) is type(known) and value == known for known in DEFAULTS.get(name, ()))
