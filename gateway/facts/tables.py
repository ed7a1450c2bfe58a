"""The words that facts are told by, Korean and English: the sections of ``tables.txt``. Data only."""

from __future__ import annotations

import re
from importlib.resources import files


def _sections() -> dict[str, tuple[str, ...]]:
    text = (files("gateway.facts") / "tables.txt").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]") and line[1:-1].isidentifier():
            name = line[1:-1]
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return {name: tuple(lines) for name, lines in found.items()}


_SECTIONS = _sections()


def rows(section: str) -> tuple[tuple[str, ...], ...]:
    """Lines of a section, cut at " / "."""
    return tuple(tuple(line.split(" / ")) for line in _SECTIONS[section])


def either(section: str) -> str:
    """All lines of a section as one pattern of alternatives."""
    return "|".join(_SECTIONS[section])


def pattern(section: str, before: str = "", after: str = "") -> re.Pattern[str]:
    return re.compile(f"{before}(?:{either(section)}){after}", re.IGNORECASE)


def listed(section: str) -> frozenset[str]:
    """Every word of a section."""
    return frozenset(word for line in _SECTIONS[section] for word in line.split())
