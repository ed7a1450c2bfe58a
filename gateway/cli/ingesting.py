"""``ocho ingest``."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.cli.common import ConfigOption, err, fail, out, settings_of


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
    from gateway.retrieval.ingest.ingest import Progress as Step
    from gateway.wiring.ingesting import ingest_into

    if not path.exists():
        fail(f"{path} does not exist")
    settings = settings_of(config, needs_models=False)
    if settings.documents and collection not in settings.collections:
        fail(f"no collection named {collection!r} is configured; configured: {', '.join(settings.collections)}")
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
            fail(f"nothing more was ingested: {error}")
        progress.update(task, description="done")
    out.print(
        f"{escape(collection)}: {report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
        f"{report.deleted} deleted, {report.passages} passages"
    )
    for failed, reason in report.failed:
        err.print(f"[red]failed[/] {escape(failed)}: {escape(reason)}", highlight=False, soft_wrap=True)
    if report.failed:
        raise typer.Exit(1)
