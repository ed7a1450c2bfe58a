"""``ocho`` commands: thin, each one a few lines over the parts that do the work."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from gateway import __version__
from gateway.logs import configure_logs
from gateway.settings import Settings, SettingsError, load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Ocho gateway: answers in 5 seconds, and the same facts every time.",
)
err = Console(stderr=True)
out = Console()

DEFAULT_CONFIG = Path("ocho.yaml")
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; default ./ocho.yaml if it exists.")
]


def main() -> None:
    app()


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Serve until SIGTERM."""
    from gateway.app import LOOPBACK
    from gateway.app import serve as serve_forever

    settings = _settings(config)
    given = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=given)})
    configure_logs(settings.telemetry.log_level, settings.telemetry.log_format)
    if settings.host not in LOOPBACK and not settings.auth.keys:
        err.print(f"[yellow]warning:[/] listening on {settings.host} without API keys: anybody who reaches it spends "
                  "your provider's money; set auth.keys")  # fmt: skip
    try:
        _run(serve_forever(settings))
    except sqlite3.Error as error:
        _fail(f"the data folder {settings.data_dir!r} cannot be used: {error}")
    except OSError as error:
        if error.filename is not None:
            _fail(f"cannot use {error.filename}: {error.strerror}")
        _fail(
            f"cannot listen on {settings.host}:{settings.server.port}: {error.strerror or error}; "
            "is another process using it?"
        )


@app.command()
def check(config: ConfigOption = None) -> None:
    """Say what is wrong with the configuration, or what will run with it."""
    from gateway.app import describe

    settings = _settings(config)
    table = Table("part", "what will run", title="configuration is valid", title_style="green", show_header=False)
    problems = 0
    try:
        rows = asyncio.run(describe(settings))
    except (OSError, sqlite3.Error) as error:
        _fail(f"the data folder {settings.data_dir!r} cannot be used: {error}")
    for part, text, ok in rows:
        problems += not ok
        table.add_row(escape(part), escape(text) if ok else f"[yellow]{escape(text)}[/]")
    out.print(table)
    if problems:
        err.print(f"[yellow]{problems} optional part(s) will not run; see above[/]")


@app.command()
def ingest(
    path: Annotated[Path, typer.Argument(help="File or folder to read.")],
    collection: Annotated[str, typer.Option(help="Collection to put the documents into.")],
    config: ConfigOption = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Access group that may read them; repeat for several.")
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Only files that match this pattern.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files that match this pattern.")] = None,
    prune: Annotated[bool, typer.Option(help="Delete documents whose file is gone from the folder.")] = False,
) -> None:
    """Read Markdown, text, HTML, PDF and DOCX into a collection. Only what changed is done again."""
    from gateway.app import ingest_into
    from gateway.retrieval.ingest.ingest import Progress as Step

    if not path.exists():
        _fail(f"{path} does not exist")
    settings = _settings(config, needs_models=False)
    if settings.documents and collection not in settings.collections:
        _fail(f"no collection named {collection!r} is configured; configured: {', '.join(settings.collections)}")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("reading", total=None)

        def show(step: Step) -> None:
            name = escape(step.document[-48:])
            progress.update(task, completed=step.done, total=step.total, description=name)

        try:
            report = asyncio.run(
                ingest_into(
                    settings, collection, path, tuple(group or ()), tuple(include or ()), tuple(exclude or ()), prune,
                    show,
                )
            )  # fmt: skip
        except (ValueError, OSError, sqlite3.Error, RuntimeError) as error:
            progress.stop()
            _fail(f"nothing more was ingested: {error}")
        progress.update(task, description="done")
    out.print(
        f"{escape(collection)}: {report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
        f"{report.deleted} deleted, {report.passages} passages"
    )
    for failed, reason in report.failed:
        err.print(f"[red]failed[/] {escape(failed)}: {escape(reason)}", highlight=False, soft_wrap=True)
    if report.failed:
        raise typer.Exit(1)


def _settings(config: Path | None, *, needs_models: bool = True) -> Settings:
    path = config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    try:
        return load(path, needs_models=needs_models)
    except SettingsError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def _run(coroutine: object) -> None:
    """Run on uvloop where it exists (not on Windows)."""
    if sys.platform != "win32":
        import uvloop

        uvloop.run(coroutine)  # type: ignore[arg-type]
    else:
        asyncio.run(coroutine)  # type: ignore[arg-type]
