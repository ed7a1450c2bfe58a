"""What every command shares: the two consoles, the configuration, the way to fail."""

from __future__ import annotations

import asyncio
import sys
from codecs import BOM_UTF8
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from gateway.settings import Settings, SettingsError, load

err = Console(stderr=True)
out = Console()

DEFAULT_CONFIG = Path("ocho.yaml")
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; default ./ocho.yaml if it exists.")
]


def loaded(config: Path | None, *, needs_models: bool = True) -> Settings:
    """Raises SettingsError."""
    return load(config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None), needs_models=needs_models)


def settings_of(config: Path | None, *, needs_models: bool = True) -> Settings:
    try:
        return loaded(config, needs_models=needs_models)
    except SettingsError as error:
        fail(str(error))


def content_of(file: Path) -> bytes:
    """What a file holds, without the mark that Windows puts before UTF-8; one that cannot be read ends the command."""
    try:
        return file.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def fail(message: str) -> NoReturn:
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def run(coroutine: object) -> None:
    """Run on uvloop where it exists (not on Windows)."""
    if sys.platform != "win32":
        import uvloop

        uvloop.run(coroutine)  # type: ignore[arg-type]
    else:
        asyncio.run(coroutine)  # type: ignore[arg-type]
