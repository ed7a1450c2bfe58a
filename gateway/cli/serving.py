"""``ocho serve``, ``ocho check``."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli.common import ConfigOption, err, fail, loaded, out, run, settings_of
from gateway.logs import configure_logs


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Serve until SIGTERM."""
    from gateway.app import serve as serve_forever
    from gateway.cache.calibrated import BadCalibration
    from gateway.cli.workers import Supervisor, is_worker, tell_ready
    from gateway.embedding.onnx_folder import BadModel
    from gateway.wiring.telling import LOOPBACK

    settings = settings_of(config)
    given = {k: v for k, v in {"host": host, "port": port}.items() if v is not None}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=given)})
    configure_logs(settings.telemetry.log_level, settings.telemetry.log_format)
    if settings.host not in LOOPBACK and not settings.auth.keys and not is_worker():
        err.print(f"[yellow]warning:[/] listening on {settings.host} without API keys: anybody who reaches it spends "
                  "your provider's money; set auth.keys")  # fmt: skip
    try:
        if settings.server.workers > 1 and not is_worker():
            chosen = [] if config is None else ["--config", str(config)]
            run(Supervisor(settings, chosen, lambda: loaded(config)).run())
        else:
            run(serve_forever(settings, tell_ready))
    except (BadCalibration, BadModel) as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"the data folder {settings.data_dir!r} cannot be used: {error}")
    except OSError as error:
        if error.filename is not None:
            fail(f"cannot use {error.filename}: {error.strerror}")
        fail(
            f"cannot listen on {settings.host}:{settings.server.port}: {error.strerror or error}; "
            "is another process using it?"
        )


def check(config: ConfigOption = None) -> None:
    """Say what is wrong with the configuration, or what will run with it."""
    from gateway.wiring.telling import describe

    settings = settings_of(config)
    table = Table("part", "what will run", title="configuration is valid", title_style="green", show_header=False)
    problems = 0
    try:
        rows = asyncio.run(describe(settings))
    except (OSError, sqlite3.Error) as error:
        fail(f"the data folder {settings.data_dir!r} cannot be used: {error}")
    for part, text, ok in rows:
        problems += not ok
        table.add_row(escape(part), escape(text) if ok else f"[yellow]{escape(text)}[/]")
    out.print(table)
    if any(text.startswith("cannot start") for _, text, _ in rows):
        fail("the gateway cannot start with this configuration; see above")
    if problems:
        err.print(f"[yellow]{problems} optional part(s) will not run; see above[/]")
