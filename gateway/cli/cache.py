"""``ocho cache``, ``ocho warm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli.common import ConfigOption, content_of, err, fail, out
from gateway.cli.operating import Gateway, JsonOption, KeyOption, UrlOption

LINES = 500  # sent at a time

app = typer.Typer(no_args_is_help=True, help="Look into the cache of a running gateway, and purge it.")


@app.command()
def stats(
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """What is kept, for whom, and what it saved."""
    told = Gateway(config, url, key).get("/admin/cache/stats")
    if as_json:
        return _print(told)
    limit = f" of {told['max_bytes'] / 2**20:.0f}" if told.get("max_bytes") else ""
    out.print(f"{told['entries']} entries, {told['bytes'] / 2**20:.1f}{limit} MB, {told['evictions']:.0f} evicted")
    kept = Table("tenant", "model", "entries")
    for row in told["kept"]:
        kept.add_row(escape(row["tenant"]), escape(row["model"]), str(row["entries"]))
    hits = Table("tenant", "model", "tier", "hits", "seconds saved")
    for row in told["hits"]:
        hits.add_row(escape(row["tenant"]), escape(row["model"]), row["tier"], f"{row['hits']:.0f}",
                     f"{row['saved_s']:.1f}")  # fmt: skip
    for table in (kept, hits):
        if table.row_count:
            out.print(table)


@app.command("list")
def list_(
    document: Annotated[str, typer.Option(help="collection/document, or collection/ for all of one.")] = "",
    void: Annotated[bool, typer.Option("--void", help="Only those whose documents have changed.")] = False,
    text: Annotated[str, typer.Option(help="In the question.")] = "",
    model: Annotated[str, typer.Option(help="As callers name it.")] = "",
    tenant: Annotated[str, typer.Option()] = "",
    limit: Annotated[int, typer.Option()] = 50,
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Kept answers, the latest first, and those that a changed document has made void."""
    given = {"document": document, "void": "true" if void else "", "text": text, "model": model, "tenant": tenant}
    query = {name: value for name, value in given.items() if value} | {"limit": str(limit)}
    told = Gateway(config, url, key).get("/admin/cache/entries", **query)
    if as_json:
        return _print(told)
    for row in told["entries"]:  # no table: a handle has 80 characters, and is there to be copied
        changed = f"changed: {', '.join(row['changed'])}" if row["changed"] else ""
        about = " · ".join(filter(None, (row["model"], ", ".join(row["documents"]), changed)))
        lines = f"[bold]{escape(row['question'])}[/]\n  {escape(about)}\n  [dim]{escape(row['entry'])}[/]"
        out.print(lines, highlight=False, soft_wrap=True)
    out.print(f"{told['found']} found, {len(told['entries'])} shown")


@app.command()
def documents(
    document: Annotated[str, typer.Option(help="collection/document, or collection/ for all of one.")] = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Documents with the number of kept answers that rest on them, and of those that their change has made void."""
    told = Gateway(config, url, key).get("/admin/cache/documents", **({"document": document} if document else {}))
    if as_json:
        return _print(told)
    table = Table("document", "answers", "void")
    for row in told["documents"]:
        table.add_row(escape(row["document"]), str(row["entries"]), str(row["void"]))
    out.print(table if table.row_count else "no kept answer rests on a document")


@app.command()
def get(
    entry: Annotated[str, typer.Argument(help="Handle, as the header x-ocho-entry of a cache hit tells it.")],
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """One entry: its question, its answer and what it rests on."""
    told = Gateway(config, url, key).get(f"/admin/cache/entries/{quote(entry, safe='')}")
    if as_json:
        return _print(told)
    for name, value in told.items():
        if name != "choices":
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            out.print(f"[bold]{name}[/]: {escape(shown)}", soft_wrap=True, highlight=False)


@app.command()
def purge(
    entry: Annotated[str, typer.Option(help="Handle of one entry.")] = "",
    model: Annotated[str, typer.Option(help="As callers name it.")] = "",
    namespace: Annotated[str, typer.Option()] = "",
    tag: Annotated[str, typer.Option()] = "",
    document: Annotated[str, typer.Option(help="collection/document, or collection/ for all of one.")] = "",
    tenant: Annotated[str, typer.Option()] = "",
    everything: Annotated[bool, typer.Option("--all", help="The whole cache, of every tenant.")] = False,
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Delete the entries that all given options select. Nothing of them is served from then on."""
    given = {"entry": entry, "model": model, "namespace": namespace, "tag": tag, "document": document,
             "tenant": tenant}  # fmt: skip
    body: dict[str, Any] = {name: value for name, value in given.items() if value}
    if bool(body) == everything:
        fail("say what to purge with at least one option, or --all by itself")
    told = Gateway(config, url, key).post("/admin/cache/purge", body or {"all": True})
    if as_json:
        return _print(told)
    out.print(f"{told['purged']} purged")


def warm(
    file: Annotated[Path, typer.Argument(help='JSON lines: {"model", "question", "answer", "documents"?, "tags"?, …}')],
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Put questions with known answers into the cache of a running gateway."""
    lines = content_of(file).splitlines()
    gateway = Gateway(config, url, key)
    warmed, failed = 0, list[dict[str, Any]]()
    for start in range(0, len(lines), LINES):
        told = gateway.post("/admin/cache/warm", b"\n".join(lines[start : start + LINES]) + b"\n")
        warmed += told["warmed"]
        failed += [{**row, "line": row["line"] + start} for row in told["failed"]]
    if as_json:
        _print({"warmed": warmed, "failed": failed})
    else:
        out.print(f"{warmed} warmed, {len(failed)} failed")
    for row in failed:
        err.print(f"[red]{escape(file.name)} line {row['line']}:[/] {escape(row['error'])}", highlight=False,
                  soft_wrap=True)  # fmt: skip
    if failed:
        raise typer.Exit(1)


def _print(told: Any) -> None:
    out.print_json(orjson.dumps(told).decode())
