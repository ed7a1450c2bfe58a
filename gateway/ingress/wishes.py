"""What a caller may ask of the gateway itself: headers, or the ``ocho`` object of the body (pure).

Headers win over the body; the body exists because many chat UIs cannot set headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.chat import CacheWishes
from gateway.errors import InvalidRequest
from gateway.values import dataclass

PREFIX = "x-ocho-"
KNOWN = frozenset({"deadline-ms", "cache", "cache-ttl", "cache-namespace", "tags", "cache-control", "draft"})
HEADERS = tuple((name, name if name == "cache-control" else PREFIX + name) for name in sorted(KNOWN))
MAX_DEADLINE_MS = 3_600_000
MAX_TAGS = 16
CACHE_MODES = {"on": (True, True), "read": (True, False), "write": (False, True), "off": (False, False)}


@dataclass(frozen=True, slots=True)
class Wishes:
    cache: CacheWishes
    deadline_s: float | None
    draft: bool = True


NONE = Wishes(CacheWishes(), None)


def wishes_in(headers: Mapping[str, str]) -> dict[str, str]:
    """Those among ``headers``, as they came, by their names without prefix."""
    return {name: headers[header] for name, header in HEADERS if header in headers}


def wishes_of(in_headers: Mapping[str, str], body: dict[str, Any]) -> Wishes:
    """Read the wishes and take ``ocho`` out of ``body``. Raises InvalidRequest."""
    if not in_headers and "ocho" not in body:
        return NONE
    given = {**_from_body(body.pop("ocho", None)), **in_headers}
    read, write, asked, reviewed = True, True, False, True
    if mode := given.get("cache"):
        if mode.lower() not in CACHE_MODES:
            raise InvalidRequest(f"x-ocho-cache must be one of {', '.join(CACHE_MODES)}", param="x-ocho-cache")
        read, write = CACHE_MODES[mode.lower()]
        asked = read or write
        reviewed = asked
    directives = _directives(given.get("cache-control", ""))
    if "no-cache" in directives:
        read = False
    if "no-store" in directives:
        read, write = False, False
    deadline_ms = _number(given, "deadline-ms", 1, MAX_DEADLINE_MS)
    draft = given.get("draft", "on").lower()
    if draft not in {"on", "off"}:
        raise InvalidRequest("x-ocho-draft must be on or off", param="x-ocho-draft")
    namespace = given.get("cache-namespace", "")
    if not re.fullmatch(r"[\w.:-]{0,64}", namespace):
        raise InvalidRequest("a cache namespace has up to 64 letters, digits or _.:-", param="x-ocho-cache-namespace")
    return Wishes(
        CacheWishes(
            read=read,
            write=write,
            reviewed=reviewed,
            asked=asked,
            max_age_s=_seconds(directives, "max-age"),
            only_if_cached="only-if-cached" in directives,
            ttl_s=_number(given, "cache-ttl", 0, 31_536_000),
            namespace=namespace,
            tags=_tags(given.get("tags", "")),
        ),
        deadline_ms / 1000 if deadline_ms is not None else None,
        draft != "off",
    )


def _from_body(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidRequest('ocho must be an object such as {"deadline_ms": 5000}', param="ocho")
    wishes: dict[str, str] = {}
    for name, value in given.items():
        known = str(name).replace("_", "-")
        if known not in KNOWN:
            raise InvalidRequest(f"unknown key; known are {', '.join(sorted(KNOWN))}", param=f"ocho.{name}")
        if known == "tags" and isinstance(value, list):
            value = ",".join(str(tag) for tag in value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidRequest("must be a string or a number", param=f"ocho.{name}")
        wishes[known] = str(value)
    return wishes


def _directives(cache_control: str) -> dict[str, str]:
    """RFC 9111 §5.2.1, the request directives that mean something for a private cache; others are ignored."""
    found: dict[str, str] = {}
    for part in cache_control.split(","):
        name, _, value = part.strip().partition("=")
        if name:
            found[name.lower()] = value.strip('" ')
    return found


def _tags(given: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag for tag in re.split(r"[\s,]+", given) if tag))
    if len(tags) > MAX_TAGS or not all(re.fullmatch(r"[\w.:/@-]{1,64}", tag) for tag in tags):
        raise InvalidRequest(
            f"up to {MAX_TAGS} tags of up to 64 letters, digits or _.:/@-, separated by commas", param="x-ocho-tags"
        )
    return tags


def _seconds(directives: Mapping[str, str], name: str) -> float | None:
    value = directives.get(name)
    return float(value) if value is not None and value.isascii() and value.isdigit() else None


def _number(given: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise InvalidRequest(f"x-ocho-{name} must be a number from {low:g} to {high:.0f}", param=f"x-ocho-{name}")
    return number
