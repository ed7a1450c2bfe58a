"""The gateway without what it tells of its requests: `python -m bench.overhead.unmeasured serve …`.

Statements that do nothing but tell ``Metrics`` something are left out of the gateway's modules as they are loaded, in
their syntax trees, so that nothing of them costs anything. What the gateway takes more as it is, metrics take.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

METRICS = frozenset({"metrics", "_metrics"})  # what an instance of ``Metrics`` is called everywhere
ITSELF = frozenset({"gateway.metrics", "gateway.instruments", "gateway.series"})


def without_metrics(source: str | bytes) -> ast.Module:
    tree: ast.Module = _Without().visit(ast.parse(source))
    return ast.fix_missing_locations(tree)


class _Without(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        return _left_out(node, isinstance(node.value, ast.Call) and _of_metrics(node.value.func))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return _left_out(node, _of_metrics(node.target))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """How a chat ended is written on its caller, for the metrics alone."""
        (target, *_) = node.targets
        return _left_out(
            node, isinstance(target, ast.Attribute) and target.attr == "chat" and "caller" in _name(target.value)
        )


def _left_out(node: ast.stmt, told: bool) -> ast.stmt:
    return ast.copy_location(ast.Pass(), node) if told else node


def _of_metrics(node: ast.expr) -> bool:
    """Whether it is something of an instance of ``Metrics``: ``self._metrics.calls[called].append``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
        if _name(node) in METRICS:
            return True
    return False


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """From the source: what is compiled already has the metrics in it."""
        path = self.get_filename(fullname)
        code: CodeType = compile(without_metrics(self.get_data(path)), path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("gateway.") or fullname in ITSELF:
            return None
        spec: ModuleSpec | None = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder())
    from gateway.cli.main import main

    main()
