"""``ocho cache calibrate``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from gateway.cli.common import ConfigOption, content_of, err, fail, out, settings_of
from gateway.errors import GatewayError

SHAPES = '{"q": question, "g": group} or {"a": question, "b": question, "same": 0 or 1}'


def calibrate(
    files: Annotated[list[Path], typer.Argument(help=f"Labelled questions, a JSON object a line: {SHAPES}.")],
    embedder: Annotated[
        str | None, typer.Option(help="local, or a model that serves /embeddings; default: as configured.")
    ] = None,
    write: Annotated[Path, typer.Option("--out", help="Where to write the calibration.")] = Path("calibration.json"),
    config: ConfigOption = None,
) -> None:
    """Calibrate the semantic cache for an embedder, from questions of which you know which mean the same.

    Name the file in cache.semantic.calibration. It holds numbers only, none of your questions.
    """
    from gateway.wiring.calibrating import NoEmbedder, calibrate_from

    settings = settings_of(config, needs_models=embedder not in {None, "local"})
    if embedder is not None:
        semantic = settings.cache.semantic.model_copy(update={"embedder": embedder})
        settings = settings.model_copy(update={"cache": settings.cache.model_copy(update={"semantic": semantic})})
    sources = {path.stem: _lines(path) for path in files}
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done % 500 == 0:
            err.print(f"{done} questions embedded")

    try:
        made = asyncio.run(calibrate_from(settings, sources, count))
    except (NoEmbedder, GatewayError, ValueError) as error:
        fail(str(error))
    write.write_bytes(made.dump() + b"\n")
    for name, facts in made.provenance["sources"].items():
        out.print(f"{name}: {facts['lookups']} lookups, {facts['right']:.1%} with the right nearest question")
    out.print(f"calibration for {made.embedder} written to {write}; set cache.semantic.calibration: {write}")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [orjson.loads(line) for line in content_of(path).splitlines() if line.strip()]
    except ValueError as error:
        fail(f"{path} cannot be read: {error}")
    for number, line in enumerate(lines, start=1):
        if not (isinstance(line, dict) and ({"q", "g"} <= line.keys() or {"a", "b", "same"} <= line.keys())):
            fail(f"{path} line {number} is neither of {SHAPES}")
    if not lines:
        fail(f"{path} is empty")
    return lines
