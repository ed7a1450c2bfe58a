"""Attributes of files in vector stores, and the filters over them, in OpenAI's shapes (pure)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import InvalidRequest

Filter = Mapping[str, Any]

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
}  # fmt: skip
_MEMBERS = ("in", "nin")
_MOST = 64  # comparisons in a filter


def filter_of(given: object) -> Filter | None:
    """A checked filter. Raises InvalidRequest: a filter that is not understood must not let everything through."""
    if given is None:
        return None
    _check(given, 0, [0])
    assert isinstance(given, dict)
    return given


def matches(wanted: Filter, attributes: Mapping[str, Any]) -> bool:
    """Whether a file with these attributes passes. What it does not have it does not match, whatever is compared."""
    kind = wanted["type"]
    if kind == "and":
        return all(matches(part, attributes) for part in wanted["filters"])
    if kind == "or":
        return any(matches(part, attributes) for part in wanted["filters"])
    if wanted["key"] not in attributes:
        return False
    has, value = attributes[wanted["key"]], wanted["value"]
    if kind in _MEMBERS:
        return bool((has in value) == (kind == "in"))
    try:
        return _COMPARED[kind](has, value)
    except TypeError:  # a text against a number
        return False


def attributes_of(given: object) -> dict[str, str | float | bool]:
    """Checked attributes: up to 16 texts, numbers or truth values."""
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > 16:
        raise InvalidRequest("attributes must be an object of at most 16 values", param="attributes")
    for key, value in given.items():
        if len(key) > 64 or not isinstance(value, str | int | float) or len(str(value)) > 512:
            raise InvalidRequest(
                "attributes have keys of up to 64 characters and texts of up to 512, numbers or truth values",
                param="attributes",
            )
    return given


def _check(given: object, depth: int, seen: list[int]) -> None:
    seen[0] += 1
    if not isinstance(given, dict) or depth > 4 or seen[0] > _MOST:
        raise InvalidRequest("filters must be a comparison, or and/or of some", param="filters")
    kind = given.get("type")
    if kind in {"and", "or"}:
        parts = given.get("filters")
        if not isinstance(parts, list) or not parts:
            raise InvalidRequest(f"the filter {kind!r} needs a list of filters", param="filters")
        for part in parts:
            _check(part, depth + 1, seen)
        return
    if kind not in _COMPARED and kind not in _MEMBERS:
        known = ", ".join([*_COMPARED, *_MEMBERS, "and", "or"])
        raise InvalidRequest(f"a filter's type must be one of {known}", param="filters")
    if not isinstance(given.get("key"), str) or "value" not in given:
        raise InvalidRequest("a comparison needs a key and a value", param="filters")
    if kind in _MEMBERS and not isinstance(given["value"], list):
        raise InvalidRequest(f"the filter {kind!r} needs a list as its value", param="filters")
