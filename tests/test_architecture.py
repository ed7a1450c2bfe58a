"""Imports point one way: a layer may use the layers before it, siblings never each other; nothing goes in circles."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "gateway"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"values"}),
    frozenset({"clock", "defaults", "errors", "heap", "instruments", "transactions"}),
    frozenset({"chat", "series"}),
    frozenset({"facts"}),
    frozenset({"ports", "meaning", "metrics", "settings", "logs"}),
    frozenset({"stages"}),
    frozenset({"accounts", "cache", "embedding", "retrieval", "routing", "upstream"}),
    frozenset({"samples", "asked"}),
    frozenset({"answers", "bearing", "settling", "consulting", "shared", "fallbacks"}),
    frozenset({"in_time"}),
    frozenset({"plan"}),
    frozenset({"finding", "following", "making"}),
    frozenset({"refusals"}),
    frozenset({"pipeline"}),
    frozenset({"ingress"}),
    frozenset({"wiring"}),
    frozenset({"app"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
WEB = {"ingress", "app"}  # only these may know aiohttp.web


def modules() -> list[Path]:
    return sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here = part_of(path)
    for name in imported(path):
        assert not name.startswith(("bench", "tests")), f"{path} imports {name}"
        assert here in WEB or not name.startswith("aiohttp.web"), f"{path} knows aiohttp.web"
        parts = name.split(".")
        if parts[0] != "gateway" or len(parts) < 2 or parts[1] == "__version__" or parts[1] == here:
            continue
        assert RANK[parts[1]] < RANK[here], f"{path} imports {name}, which is not below it"


def test_every_module_has_a_place_in_the_order() -> None:
    assert {part_of(path) for path in modules()} == set(RANK)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_module_needs_itself_through_others() -> None:
    """Inside a layer, too, and where the import waits inside a function."""
    names = {module_name(path): path for path in modules()}
    needs: dict[str, set[str]] = {}
    for module, path in names.items():
        meant = {name if name in names else name.rpartition(".")[0] for name in imported(path)}
        needs[module] = (meant & names.keys()) - {module}
    TopologicalSorter(needs).prepare()  # CycleError names the circle
