"""Rows of cells → blocks: what CSV and spreadsheets share. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from gateway.retrieval.ingest.blocks import Block, Parsed, table

MAX_ROWS = 50_000  # of one sheet; more is data, not a document


def parse_csv(text: str) -> Parsed:
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:10_000], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    return Parsed("", tuple(row_blocks(csv.reader(io.StringIO(text), dialect))))


def row_blocks(rows: Iterable[list[str]]) -> Iterator[Block]:
    """Tables out of rows; an empty row ends a table."""
    held: list[list[str]] = []
    for number, row in enumerate(rows):
        if number == MAX_ROWS:
            break
        if any(cell.strip() for cell in row):
            held.append(row)
        elif (found := table(held)) is not None:
            yield found
            held = []
    if (found := table(held)) is not None:
        yield found
