"""``ocho gate``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table

from gateway.cli.common import ConfigOption, content_of, err, fail, out, settings_of
from gateway.errors import GatewayError

app = typer.Typer(no_args_is_help=True, help="The confidence gate that decides which drafts are given.")

SHAPE = '{"q": question, "facts": [fact or [spelling, …], …], "wrong_facts": […], "group": …}'


@app.callback()
def _gate() -> None:
    """The confidence gate that decides which drafts are given."""


@app.command()
def calibrate(
    files: Annotated[list[Path], typer.Argument(help=f"Labelled questions, a JSON object a line: {SHAPE}.")],
    model: Annotated[str | None, typer.Option(help="The model whose drafts are judged; default: the only one.")] = None,
    asks: Annotated[int, typer.Option(min=1, max=100, help="Drafts per question.")] = 4,
    max_wrong: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Upper bound of wrong ones among accepted drafts.")
    ] = 0.02,
    seed: Annotated[int, typer.Option(help="Which questions are fitted on and which held out.")] = 1,
    write: Annotated[Path, typer.Option("--out", help="Where to write the calibration.")] = Path(
        "gate-calibration.json"
    ),
    config: ConfigOption = None,
) -> None:
    """Calibrate the gate for a draft model, from questions to your documents of which you know the answers.

    Asks the configured draft model, so it costs what that many drafts cost. Name the file in the model's
    draft.calibration. It holds numbers only, none of your questions.
    """
    from gateway.routing.calibrating import calibrated
    from gateway.wiring.gating import NothingToAsk, labelled_of, sampled

    settings = settings_of(config)
    try:
        labelled = [labelled_of(row, number) for number, row in enumerate(_rows(files), start=1)]
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            if done % 100 == 0:
                err.print(f"{done} of {asks * len(labelled)} drafts")

        samples = asyncio.run(sampled(settings, model, labelled, asks, count))
        source = f"ocho gate calibrate: {len(labelled)} questions, {asks} drafts each, seed {seed}, bound {max_wrong:g}"
        made = calibrated(samples, max_wrong, seed, source)
    except (NothingToAsk, GatewayError, ValueError) as error:
        fail(str(error))
    write.write_bytes(orjson.dumps(made.calibration, option=orjson.OPT_INDENT_2) + b"\n")
    _show(made.report)
    out.print(f"calibration written to {write}; set draft.calibration: {write}")


def _rows(files: list[Path]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for path in files:
        try:
            found = [orjson.loads(line) for line in content_of(path).splitlines() if line.strip()]
        except ValueError as error:
            fail(f"{path} cannot be read: {error}")
        if not all(isinstance(row, dict) for row in found):
            fail(f"{path} must hold a JSON object a line: {SHAPE}")
        rows += found
    if not rows:
        fail("there is not one question in these files")
    return rows


def _show(report: dict[str, object]) -> None:
    out.print(
        f"{report['drafts']} drafts, {report['held_out']} of them of questions held out; "
        f"the draft model alone is wrong in {report['draft_alone_wrong']:.1%} of those"
    )
    table = Table("", "given", "wrong", "wrong at most (95 %)", title="Drafts of questions held out")
    for name in (name for name in report if name.startswith("with")):
        found = report[name]
        assert isinstance(found, dict)
        for bar in ("accept", "usable"):
            if bar in found:
                row = found[bar]
                wrong = "-" if row["wrong"] is None else f"{row['wrong']:.1%}"
                table.add_row(
                    f"{bar}, {name.replace('_', ' ')}", f"{row['share']:.1%}", wrong, f"{row['wrong_upper']:.1%}"
                )
    out.print(table)
