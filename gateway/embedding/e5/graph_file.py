"""The graph, built once and kept beside other caches of the user: a start then takes half the time and memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import structlog

from gateway.embedding.e5.weights import Weights

log = structlog.get_logger()

RECIPE = "1"  # raise it when graph.py changes: kept files carry it in their name
DIGEST_BYTES = 32


def user_cache() -> Path:
    """Where files go that can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocho"


def ready_graph(weights_file: Path, weights: Weights, folder: Path | None) -> bytes:
    """The graph from ``folder`` where it is whole, else built, and kept where that is possible."""
    facts = weights_file.stat()
    source = hashlib.sha256(f"{RECIPE}:{weights_file}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()
    kept = folder / f"e5-int8-{source[:16]}" if folder else None
    if kept is not None and (found := _whole(kept)) is not None:
        return found
    from gateway.embedding.e5.graph import built_graph  # imports onnx, which a start with a kept graph does without

    graph = built_graph(weights)
    if kept is not None:
        _keep(kept, graph)
    return graph


def _whole(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    graph = data[DIGEST_BYTES:]
    return graph if hashlib.sha256(graph).digest() == data[:DIGEST_BYTES] else None


def _keep(path: Path, graph: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(graph).digest() + graph)
        os.replace(file.name, path)
    except OSError as error:
        log.info("embedder graph not kept: it is built at every start", path=str(path), error=str(error))
