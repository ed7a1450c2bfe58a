"""``ocho ingest``."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.cli.common import ConfigOption, err, fail, out, settings_of
from gateway.cli.operating import tell_void

if TYPE_CHECKING:
    from gateway.retrieval.ingest.ingest import IngestReport
    from gateway.retrieval.ingest.ingest import Progress as Step
    from gateway.settings import Settings
    from gateway.wiring.ingesting import Choice

STDIN = Path("-")


def ingest(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="File or folder to read; - reads one document from stdin. "
            "Without it: the folder (path) of each collection in the configuration that names one."
        ),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to put the documents into.")] = None,
    config: ConfigOption = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Access group that may read them; repeat for several.")
    ] = None,
    include: Annotated[list[str] | None, typer.Option(help="Only files that match this pattern.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files that match this pattern.")] = None,
    prune: Annotated[bool, typer.Option(help="Delete documents whose file is gone from the folder.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the document from stdin; its ending tells the format.")
    ] = None,
    watch: Annotated[bool, typer.Option(help="Keep following changes of the folder until Ctrl-C.")] = False,
) -> None:
    """Read documents into a collection. Only what changed is done again."""
    from gateway.wiring.ingesting import Choice

    settings = settings_of(config, needs_models=False)
    if collection is not None:
        _refuse_unfillable(settings, collection)
    elif path is not None:
        fail(f"name the collection to put it into: ocho ingest {path} --collection NAME")
    groups = tuple(group or ())
    if path == STDIN and collection is not None:
        _from_stdin(settings, collection, name, groups)
        return
    if name is not None:
        fail("--name is for a document from stdin: ocho ingest - --name report.pdf --collection NAME")
    folders = _configured(settings, collection) if path is None or collection is None else {collection: path}
    if watch and len(folders) > 1:
        fail(f"--watch follows one folder: choose with --collection; there are: {', '.join(folders)}")
    status = 0
    for into, folder in folders.items():
        choice = Choice(folder, groups, tuple(include or ()), tuple(exclude or ()), prune)
        try:
            _refuse_unreadable(folder, f"documents: {into}: path " if path is None else "", watch or path is None)
            (_watch if watch else _once)(settings, into, choice)
        except typer.Exit as failed:  # told; the other collections get theirs
            status = max(status, failed.exit_code)
    if status:
        raise typer.Exit(status)


def _refuse_unfillable(settings: Settings, collection: str) -> None:
    if not settings.documents:
        return
    if collection not in (names := settings.collections):
        fail(f"no collection named {collection!r} is configured; configured: {', '.join(names)}")
    if (kind := next(c.kind for c in settings.documents if c.name == collection)) != "embedded":
        fail(f"collection {collection!r} is searched in {kind}, outside: its documents are put in there")


def _configured(settings: Settings, collection: str | None) -> dict[str, Path]:
    """The folders that the configuration names, by collection."""
    chosen = [c for c in settings.documents if c.kind == "embedded" and collection in (None, c.name)]
    if not (folders := {c.name: Path(c.path) for c in chosen if c.path}):
        fail(
            "nothing to read: name a folder (ocho ingest FOLDER --collection NAME), or give the collection one in the "
            "configuration (documents: [{name: NAME, path: FOLDER}])"
        )
    return folders


def _refuse_unreadable(path: Path, place: str, folders_only: bool) -> None:
    if not path.exists():
        fail(f"{place}{path} does not exist")
    if not path.is_dir() and (folders_only or not path.is_file()):
        what = "a file: a folder is wanted here" if path.is_file() else "neither a file nor a folder"
        fail(f"{place}{path} is {what}")


def _once(settings: Settings, collection: str, choice: Choice) -> None:
    from gateway.wiring.ingesting import ingest_into

    with _mistakes_told(collection), _shown() as show:
        report = asyncio.run(
            ingest_into(
                settings, collection, choice.path, choice.groups, choice.include, choice.exclude, choice.prune, show
            )
        )
    _tell(settings, collection, report)
    if report.failed:
        raise typer.Exit(1)


def _watch(settings: Settings, collection: str, choice: Choice) -> None:
    from gateway.wiring.ingesting import watch_into

    with _shown() as show:

        def done(report: IngestReport) -> None:
            show.done()
            _tell(settings, collection, report)

        async def follow() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await watch_into(settings, collection, choice, stop, done, show)

        with _mistakes_told(collection):
            asyncio.run(follow())
    out.print("stopped; every document is whole")


def _from_stdin(settings: Settings, collection: str, name: str | None, groups: tuple[str, ...]) -> None:
    from gateway.retrieval.ingest.unreadable import MAX_BYTES, UnreadableFile
    from gateway.wiring.ingesting import put_into

    if not name:
        fail("a document from stdin needs a name with an ending: ocho ingest - --name notes.md")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    with _mistakes_told(collection):
        try:
            passages = asyncio.run(put_into(settings, collection, name, data, groups))
        except UnreadableFile as error:
            fail(f"{name}: {error}")
    out.print(f"{escape(collection)}: {escape(name)} stored, {passages} passages")


def _tell(settings: Settings, collection: str, report: IngestReport) -> None:
    out.print(
        f"{escape(collection)}: {report.added} added, {report.changed} changed, {report.unchanged} unchanged, "
        f"{report.deleted} deleted, {report.passages} passages"
    )
    if report.left_out:
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(report.left_out.items()))
        out.print(f"left out, for they are of no format that is read: {escape(kinds)}", soft_wrap=True)
    if report.changed or report.deleted:
        tell_void(settings, collection)
    for failed, reason in report.failed:
        err.print(f"[red]failed[/] {escape(failed)}: {escape(reason)}", highlight=False, soft_wrap=True)


class _Bar:
    """A progress bar that takes the steps of an ingest."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading", total=None)

    def __call__(self, step: Step) -> None:
        name = escape(step.document[-48:])
        self._progress.update(self._task, completed=step.done, total=step.total, description=name)

    def done(self) -> None:
        self._progress.update(self._task, description="done")


@contextmanager
def _shown() -> Iterator[_Bar]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as progress:
        bar = _Bar(progress)
        yield bar
        bar.done()


@contextmanager
def _mistakes_told(collection: str) -> Iterator[None]:
    from gateway.errors import GatewayError

    try:
        yield
    except typer.Exit:  # a RuntimeError, and told already
        raise
    except (ValueError, OSError, sqlite3.Error, RuntimeError, GatewayError) as error:
        fail(f"nothing more was ingested into {collection}: {error}")
