"""``--json``: a bench's figures for programs, given in the same way by every bench."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

STDOUT = "-"


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        default="",
        metavar="FILE",
        help="all figures as JSON, into FILE or to stdout",
    )


def tables_aside(where: str) -> AbstractContextManager[object]:
    """Inside the block whatever is printed goes to stderr where JSON is to have stdout for itself."""
    return redirect_stdout(sys.stderr) if where == STDOUT else nullcontext()


def give_json(result: Mapping[str, Any], where: str) -> None:
    text = json.dumps(result, ensure_ascii=False, indent=1)
    if where == STDOUT:
        print(text)
    elif where:
        Path(where).write_text(text + "\n", encoding="utf-8")
