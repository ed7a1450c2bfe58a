"""``ocho documents``: what the record holds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from gateway.cli.common import ConfigOption, fail, out, settings_of

if TYPE_CHECKING:
    from gateway.retrieval.documents import DocumentInfo
    from gateway.retrieval.record import Record

documents = typer.Typer(no_args_is_help=True, help="List, show and delete the documents that answers come from.")

CollectionOption = Annotated[str, typer.Option(help="Collection to look into.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@documents.command("list")
def list_documents(
    collection: Annotated[str | None, typer.Option(help="Its documents; without it, the collections.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List collections, or the documents of one."""
    with _record(config) as record:
        if collection is None:
            rows = [{"collection": name, "documents": count} for name, count in record.collections().items()]
        else:
            rows = [_row(info) for info in _documents(record, collection)]
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        out.print("nothing yet; fill a collection with: ocho ingest PATH --collection NAME")
        return
    shown = [name for name in rows[0] if name != "version"]
    table = Table(*(Column(name, overflow="fold", no_wrap=name == "document") for name in shown))  # names are copied
    for row in rows:
        table.add_row(*(escape(_text(row[name])) for name in shown))
    out.print(table)


@documents.command("show")
def show_document(
    document: Annotated[str, typer.Argument(help="Its name, as `ocho documents list` gives it.")],
    collection: CollectionOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one document as it is searched: its passages, in order."""
    with _record(config) as record:
        pieces = record.text(collection, document)
        if not pieces:
            fail(f"no document {document!r} in collection {collection!r}; see: ocho documents list "
                 f"--collection {collection}")  # fmt: skip
    for position, piece in enumerate(pieces):
        if as_json:
            passage = {"position": position, "section": piece.section, "text": piece.text}
            print(json.dumps(passage, ensure_ascii=False))
        else:
            out.print(f"[bold]{position}[/] [dim]{escape(piece.section)}[/]\n{escape(piece.text)}\n", highlight=False)


@documents.command("delete")
def delete_documents(
    names: Annotated[list[str], typer.Argument(help="Names of documents, as `ocho documents list` gives them.")],
    collection: CollectionOption,
    config: ConfigOption = None,
) -> None:
    """Delete documents; running gateways stop answering from them at once."""
    from gateway.cli.operating import tell_void

    with _record(config) as record:
        known = {info.document for info in _documents(record, collection)}
        if unknown := [name for name in names if name not in known]:
            fail(f"no document {unknown[0]!r} in collection {collection!r}; nothing was deleted")
        count = record.delete(collection, names)
    out.print(f"{escape(collection)}: {count} deleted")
    tell_void(settings_of(config, needs_models=False), collection)


@contextmanager
def _record(config: Path | None) -> Iterator[Record]:
    from gateway.retrieval.record import Record

    settings = settings_of(config, needs_models=False)
    path = Path(settings.data_dir) / "documents.db"
    if not path.exists():
        fail(f"there is no record at {path}; ocho ingest makes one")
    try:
        record = Record.open(path)
    except sqlite3.Error as error:
        fail(f"the record {path} cannot be used: {error}")
    try:
        yield record
    finally:
        record.close()


def _documents(record: Record, collection: str) -> list[DocumentInfo]:
    if collection not in (known := record.collections()):
        fail(f"no collection named {collection!r}; there are: {', '.join(known) or 'none'}")
    return record.documents(collection)


def _row(info: DocumentInfo) -> dict[str, object]:
    return {
        "document": info.document,
        "title": info.title,
        "passages": info.passages,
        "bytes": info.bytes,
        "groups": list(info.groups),
        "version": info.version,
        "updated_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(info.updated_at)),
    }


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
