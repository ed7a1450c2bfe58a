"""A page for one run of a bench: tables, pictures inside, and what it was made with. Pure but for the writing."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
img { max-width: 100% } code { background: #f4f4f4; padding: .1rem .3rem } .facts { color: #666; font-size: 13px }
"""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def page(
    title: str, lead: Sequence[str], tables: Sequence[Table], pictures: Sequence[Path], facts: Mapping[str, object]
) -> str:
    """The whole page; ``pictures`` are PNG files and become part of it."""
    told = " · ".join(f"{_text(key)} {_text(value)}" for key, value in facts.items() if key != "command")
    parts = [f"<h1>{_text(title)}</h1>", *(f"<p>{_text(line)}</p>" for line in lead if line)]
    if "command" in facts:
        parts.append(f"<p><code>{_text(facts['command'])}</code></p>")
    parts += [_table(table) for table in tables[:1]]
    parts += [f'<img alt="{_text(picture.stem)}" src="{_inline(picture)}">' for picture in pictures]
    parts += [_table(table) for table in tables[1:]]
    parts.append(f'<p class="facts">{told}</p>')
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _table(table: Table) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in table.columns)
    body = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<table><caption>{_text(table.title)}</caption>\n<tr>{head}</tr>\n{body}</table>"


def _inline(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def _text(value: object) -> str:
    return html.escape(str(value))
