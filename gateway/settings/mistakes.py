"""A mistake in the configuration, told so that it can be mended: where, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.settings.base import Place
from gateway.settings.collections import COLLECTIONS
from gateway.settings.root import Mismatch, Settings

_PLAINER = {  # what pydantic says in its own terms
    "model_type": "must be a section, {key: value, …}; see docs/configuration.md for its keys",
    "tuple_type": "must be a list, [a, b, …]",
    "too_short": "must not be empty",
    "dict_type": "must hold keys and values, {key: value, …}",
}


def described(path: Path | None, lines: Mapping[Place, int], variables: Mapping[Place, str], error: Any) -> list[str]:
    """One line per mistake: where, what, and what to write instead."""
    if isinstance(mismatch := error.get("ctx", {}).get("error"), Mismatch):
        return [_placed(path, lines, place) + message for place, message in mismatch.problems]
    where: Place = tuple(error["loc"])
    section: type[BaseModel] = Settings
    if where[:1] == ("documents",) and len(where) > 2 and where[2] in COLLECTIONS:  # pydantic names the kind there
        section, where = COLLECTIONS[str(where[2])], (*where[:2], *where[3:])
    if where in variables:
        return [f"the environment variable {variables[where]}: {error['msg'].removeprefix('Value error, ')}"]
    place = _placed(path, lines, where)
    dotted = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        return [f"{place}unknown key {dotted!r}{_suggestion(section, where if section is Settings else where[2:])}"]
    message = _PLAINER.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return [f"{place}{dotted + ': ' if dotted else ''}{message}"]


def _placed(path: Path | None, lines: Mapping[Place, int], where: Place) -> str:
    """ "FILE: line N: " of the value, or of the nearest thing around it that has a line."""
    known = where
    while known and known not in lines:
        known = known[:-1]
    return f"{path}: line {lines[known]}: " if path is not None and known in lines else ""


def _suggestion(section: type[BaseModel], where: tuple[str | int, ...]) -> str:
    """Known keys of the section that holds the unknown one."""
    here: Any = section
    for part in where[:-1]:
        if isinstance(part, int):
            continue
        field = here.model_fields.get(part)
        if field is None:
            return ""
        here = next((t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)), None)
        if here is None:
            return ""
    return f"; known keys: {', '.join(sorted(here.model_fields))}"


def _types(annotation: Any) -> list[Any]:
    inner = getattr(annotation, "__args__", None)
    return [annotation] if inner is None else [t for a in inner for t in _types(a)]
