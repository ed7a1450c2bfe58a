"""Reads ``ocho.yaml``: references filled in, and the line of every value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.settings.base import Place, SettingsError


class _Loader(yaml.SafeLoader):
    """YAML without dates: ``api_version: 2024-10-21`` is text. So are ``on`` and ``off``, as in YAML 1.2; where a
    section wants true or false, it takes them for that."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {"tag:yaml.org,2002:timestamp", _BOOL}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))


def read(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[Place, int]]:
    """What the file holds, references filled in, and the line of every value. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise SettingsError(f"{path}: cannot be read ({cause.strerror})") from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{path}: is not UTF-8 text") from cause
    references = _References(path, environ)
    try:
        text = references.hidden(text)
        root = yaml.compose(text, Loader=_Loader)
        raw = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as cause:  # its own text quotes the line, where a secret may stand
        mark = getattr(cause, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise SettingsError(f"{path}: {line}is not YAML: {getattr(cause, 'problem', None) or cause}") from None
    except RecursionError:
        raise SettingsError(f"{path}: is nested too deeply") from None
    if raw is None:
        return {}, {}
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: must hold sections such as models: and cache:, found {type(raw).__name__}")
    lines: dict[Place, int] = {}
    problems: list[str] = []
    try:
        _locate(root, (), lines, problems)
        filled = references.filled(raw, (), lines, problems)
    except RecursionError:  # an alias of itself
        raise SettingsError(f"{path}: is nested without end") from None
    if problems:
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in problems))
    return filled, lines


def _locate(node: yaml.Node | None, where: Place, lines: dict[Place, int], problems: list[str]) -> None:
    """The line of every value; a key that stands twice is a problem, not a silent loss of the first."""
    if node is None:
        return
    lines[where] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*where, key.value)
            if place in lines:
                problems.append(
                    f"line {key.start_mark.line + 1}: {key.value!r} stands here again, after line {lines[place]}"
                )
            _locate(value, place, lines, problems)
            lines[place] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _locate(value, (*where, index), lines, problems)


_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}\n]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}\n]*))?)\}")
_HIDDEN = re.compile("\ue000(\\d+)\ue001")


class _References:
    """``${NAME}``, ``${NAME:-default}`` and ``${file:PATH}`` of one file.

    They are hidden while the YAML is read, so that ``{key: ${NAME}}`` needs no quotes and no value is read as YAML.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._found: list[re.Match[str]] = []

    def hidden(self, text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            self._found.append(match)
            return f"\ue000{len(self._found) - 1}\ue001"

        return _REFERENCE.sub(hide, text)

    def filled(self, value: Any, where: Place, lines: Mapping[Place, int], problems: list[str]) -> Any:
        if isinstance(value, dict):
            return {k: self.filled(v, (*where, k), lines, problems) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, (*where, i), lines, problems) for i, v in enumerate(value)]
        if not isinstance(value, str):
            return value

        def fill(match: re.Match[str]) -> str:
            number = int(match[1])
            if number >= len(self._found):
                return match[0]
            try:
                return self._value(self._found[number])
            except SettingsError as problem:
                problems.append(f"line {lines.get(where, 0)}: {problem}")
                return ""

        return _HIDDEN.sub(fill, value)

    def _value(self, match: re.Match[str]) -> str:
        if match["file"]:
            try:
                return (self._path.parent / match["file"]).read_text(encoding="utf-8").strip()
            except OSError as cause:
                raise SettingsError(f"the file {match['file']} cannot be read ({cause.strerror})") from cause
            except UnicodeDecodeError as cause:
                raise SettingsError(f"the file {match['file']} is not UTF-8 text") from cause
        found = self._environ.get(match["name"])
        if not found and match["default"] is None:
            raise SettingsError(f"the environment variable {match['name']} is not set; "
                                f"export it or write ${{{match['name']}:-default}}")  # fmt: skip
        return found or match["default"] or ""
