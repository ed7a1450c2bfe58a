"""The ``ocho`` program: its commands, registered."""

from __future__ import annotations

import typer

from gateway import __version__
from gateway.cli import answers, cache, gate
from gateway.cli.calibrating import calibrate
from gateway.cli.common import out
from gateway.cli.documents import documents
from gateway.cli.ingesting import ingest
from gateway.cli.serving import check, serve

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Ocho gateway: answers in 5 seconds, and the same facts every time.",
)

app.command()(serve)
app.command()(check)
app.command()(ingest)
app.add_typer(documents, name="documents")
app.command()(cache.warm)
cache.app.command()(calibrate)
app.add_typer(cache.app, name="cache")
app.add_typer(answers.app, name="answers")
app.add_typer(gate.app, name="gate")


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


def main() -> None:
    app()
