"""``ocho answers``: what people reviewed, from the command line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.markup import escape
from rich.table import Column, Table

from gateway.cli.common import ConfigOption, content_of, err, fail, out
from gateway.cli.operating import Gateway, JsonOption, KeyOption, UrlOption

LINES = 200  # sent at a time

app = typer.Typer(no_args_is_help=True, help="Review answers of a running gateway: pin, edit, approve, reject.")

IdArgument = Annotated[str, typer.Argument(help="As `ocho answers list` shows it: ans_…")]
NoteOption = Annotated[str, typer.Option(help="Why; kept in the history.")]
WhoOption = Annotated[
    str, typer.Option("--as", envvar="OCHO_REVIEWER", help="Your name for the history; default: login.")
]
WhichOption = Annotated[str, typer.Option(help="answer, other (the one that contradicts it) or both.")]
TextOption = Annotated[
    list[str] | None, typer.Option("--answer", "-a", help="Text, or LANGUAGE=TEXT (ko=…, en=…); @FILE reads one.")
]
WordingOption = Annotated[
    list[str] | None, typer.Option("--wording", "-w", help="Another wording of the question; repeatable.")
]
DocumentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--document", "-d", help="collection/document it rests on; repeatable. Default: found by the gateway."
    ),
]
STATUSES = {
    "awaiting_review": "yellow",
    "needs_review": "yellow",
    "pinned": "green",
    "approved": "green",
    "rejected": "red",
}
LANGUAGES = ("ko", "en", "ja", "zh", "cyrillic", "arabic", "other")


@app.command("list")
def list_(
    status: Annotated[
        str, typer.Option(help="awaiting_review, needs_review, pinned, approved, rejected; several by comma.")
    ] = "",
    tenant: Annotated[str, typer.Option()] = "",
    model: Annotated[str, typer.Option()] = "",
    document: Annotated[str, typer.Option(help="That they rest on.")] = "",
    text: Annotated[str, typer.Option(help="In question or answer.")] = "",
    limit: Annotated[int, typer.Option()] = 50,
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Reviewed answers and those that wait for review, the latest changed first."""
    given = {"status": status, "tenant": tenant, "model": model, "document": document, "text": text}
    query = {name: value for name, value in given.items() if value} | {"limit": str(limit)}
    told = Gateway(config, url, key).get("/admin/answers", **query)
    if as_json:
        return _print(told)
    table = Table(Column("id", no_wrap=True, min_width=28), Column("status", no_wrap=True), "question", "answer", "why")
    for row in told["data"]:
        answer = " / ".join(row["answers"].values()) or "—"
        why = row["found"] or row["note"]
        table.add_row(
            row["id"],
            _status(row["status"]),
            escape(_short(row["question"])),
            escape(_short(answer)),
            escape(_short(why, 30)),
        )
    if table.row_count:
        out.print(table)
    waiting = told["counts"]["awaiting_review"] + told["counts"]["needs_review"]
    out.print(f"{told['found']} found, {len(told['data'])} shown; {waiting} wait for review")


@app.command()
def show(
    id: IdArgument,
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """One answer whole, with its history."""
    gateway = Gateway(config, url, key)
    told = gateway.get(f"/admin/answers/{quote(id, safe='')}")
    told["history"] = gateway.get("/admin/answers/history", answer=id, limit="20")["data"]
    if as_json:
        return _print(told)
    _card(told)
    for line in told["history"]:
        note = f": {line['note']}" if line["note"] else ""
        out.print(
            f"  {_when(line['at'])}  {escape(line['action'])} by {escape(line['who'])}{escape(note)}", highlight=False
        )


@app.command()
def pin(
    model: Annotated[str, typer.Option(help="As callers name it.")] = "",
    question: Annotated[str, typer.Option("--question", "-q")] = "",
    answer: TextOption = None,
    wording: WordingOption = None,
    document: DocumentOption = None,
    entry: Annotated[str, typer.Option(help="Instead: the kept answer with this handle (x-ocho-entry).")] = "",
    tenant: Annotated[str, typer.Option()] = "",
    namespace: Annotated[str, typer.Option()] = "",
    system: Annotated[str, typer.Option(help="Instructions callers send; '*' for any. Default: none.")] = "",
    note: NoteOption = "",
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Give this answer to the question from now on, in every recognised wording."""
    if not entry and not (model and question and answer):
        fail("give --model, --question and --answer, or --entry")
    texts, plain = _texts(answer)
    given: dict[str, Any] = {
        "model": model,
        "question": question,
        "answers": texts,
        "answer": plain,
        "wordings": wording,
        "documents": document,
        "entry": entry,
        "tenant": tenant,
        "namespace": namespace,
        "system": system,
        "note": note,
    }
    body = {name: value for name, value in given.items() if value}
    _done(_gateway(config, url, key, who).post("/admin/answers", body), as_json)


@app.command()
def edit(
    id: IdArgument,
    answer: TextOption = None,
    wording: Annotated[list[str] | None, typer.Option("--wording", "-w", help="One more wording; repeatable.")] = None,
    document: DocumentOption = None,
    note: NoteOption = "",
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Change an answer (which pins it), or add wordings."""
    texts, plain = _texts(answer)
    given: dict[str, Any] = {
        "answers": texts,
        "answer": plain,
        "add_wordings": wording,
        "documents": document,
        "note": note,
    }
    body = {name: value for name, value in given.items() if value}
    if not body:
        fail("give --answer, --wording, --document or --note")
    _done(_gateway(config, url, key, who).post(f"/admin/answers/{quote(id, safe='')}", body), as_json)


@app.command()
def approve(
    id: IdArgument,
    which: WhichOption = "answer",
    note: NoteOption = "",
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Confirm an answer against its documents as they are now."""
    told = _gateway(config, url, key, who).post(
        f"/admin/answers/{quote(id, safe='')}/approve", {"which": which, "note": note}
    )
    _done(told, as_json)


@app.command()
def reject(
    id: Annotated[str, typer.Argument(help="ans_…, or the handle of a kept answer (x-ocho-entry).")],
    which: WhichOption = "answer",
    note: NoteOption = "",
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Never give this answer again while its documents stay as they are."""
    gateway = _gateway(config, url, key, who)
    if id.startswith("ans_"):
        told = gateway.post(f"/admin/answers/{quote(id, safe='')}/reject", {"which": which, "note": note})
    else:
        told = gateway.post("/admin/answers", {"entry": id, "status": "rejected", "note": note})
    _done(told, as_json)


@app.command()
def delete(
    id: IdArgument,
    note: NoteOption = "",
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Forget a decision; its history stays."""
    told = _gateway(config, url, key, who).delete(f"/admin/answers/{quote(id, safe='')}", note=note)
    if as_json:
        return _print(told)
    out.print(f"{told['id']} deleted")


@app.command()
def history(
    tenant: Annotated[str, typer.Option()] = "",
    limit: Annotated[int, typer.Option()] = 50,
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Who changed what and when, the latest first."""
    query = {"limit": str(limit)} | ({"tenant": tenant} if tenant else {})
    told = Gateway(config, url, key).get("/admin/answers/history", **query)
    if as_json:
        return _print(told)
    table = Table("when", "who", "did", Column("answer", no_wrap=True, min_width=28), "note")
    for line in told["data"]:
        table.add_row(
            _when(line["at"]), escape(line["who"]), line["action"], line["answer"], escape(_short(line["note"]))
        )
    out.print(table)


@app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="Default: standard output.")] = None,
    status: Annotated[str, typer.Option()] = "",
    tenant: Annotated[str, typer.Option()] = "",
    model: Annotated[str, typer.Option()] = "",
    config: ConfigOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Write answers as JSON lines that `ocho answers import` takes."""
    query = {name: value for name, value in {"status": status, "tenant": tenant, "model": model}.items() if value}
    lines = Gateway(config, url, key).read("/admin/answers/export", **query)
    if file is None:
        sys.stdout.buffer.write(lines)
        return
    try:
        file.write_bytes(lines)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror}")
    out.print(f"{len(lines.splitlines())} written to {escape(str(file))}")


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help='JSON lines: {"model", "question", "answer" or "answers", "status"?, …}')
    ],
    who: WhoOption = "",
    config: ConfigOption = None, url: UrlOption = None, key: KeyOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Take reviewed answers in; a line for a question that is there changes it."""
    lines = content_of(file).splitlines()
    gateway = _gateway(config, url, key, who)
    taken, failed = 0, list[dict[str, Any]]()
    for start in range(0, len(lines), LINES):
        told = gateway.post("/admin/answers/import", b"\n".join(lines[start : start + LINES]) + b"\n")
        taken += told["imported"]
        failed += [{**row, "line": row["line"] + start} for row in told["failed"]]
    if as_json:
        _print({"imported": taken, "failed": failed})
    else:
        out.print(f"{taken} imported, {len(failed)} failed")
    for row in failed:
        err.print(
            f"[red]{escape(file.name)} line {row['line']}:[/] {escape(row['error'])}", highlight=False, soft_wrap=True
        )
    if failed:
        raise typer.Exit(1)


def _gateway(config: Path | None, url: str | None, key: str | None, who: str) -> Gateway:
    if not who:
        try:
            who = getpass.getuser()
        except (OSError, KeyError):
            who = "admin"
    return Gateway(config, url, key, headers={"x-ocho-reviewer": quote(who)})


def _texts(given: Sequence[str] | None) -> tuple[dict[str, str], str]:
    """Answers by language, and the one without."""
    texts, plain = {}, ""
    for value in given or ():
        language, mark, text = value.partition("=")
        if not mark or language not in LANGUAGES:
            language, text = "", value
        if text.startswith("@"):
            try:
                text = content_of(Path(text[1:])).decode().strip()
            except UnicodeDecodeError as error:
                fail(f"cannot read {text[1:]}: {error}")
        if language:
            texts[language] = text
        elif plain:
            fail("say for which language each answer is: --answer ko=… --answer en=…")
        else:
            plain = text
    return texts, plain


def _done(told: Any, as_json: bool) -> None:
    if as_json:
        _print(told)
    else:
        _card(told)


def _card(told: Any) -> None:
    out.print(
        f"[bold]{told['id']}[/]  {_status(told['status'])}  {escape(told['model'])} of {escape(told['tenant'])}",
        highlight=False,
    )
    lines = [
        ("question", told["question"]),
        *(("wording", text) for text in told["wordings"]),
        *((f"answer {language}", text) for language, text in told["answers"].items()),
        ("contradicted by", told["other"]),
        *(("rejected", one["text"]) for one in told["rejected"]),
        ("documents", ", ".join(told["documents"])),
        ("instructions", told["system"]),
        ("found", told["found"]),
        ("note", told["note"]),
        ("changed", f"{_when(told['updated_at'])} by {told['author']}"),
    ]
    for name, value in lines:
        if value:
            out.print(f"  [bold]{name}[/]: {escape(value)}", highlight=False, soft_wrap=True)
    _warn(told)


def _warn(told: Any) -> None:
    for name, lost in told["unsupported"].items():
        out.print(f"  [yellow]not in its documents[/] ({name}): {escape(', '.join(lost))}", highlight=False)


def _status(status: str) -> str:
    return f"[{STATUSES[status]}]{status}[/]"


def _short(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def _print(told: Any) -> None:
    out.print_json(orjson.dumps(told).decode())
