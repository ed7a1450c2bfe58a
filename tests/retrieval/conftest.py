from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.retrieval.record import Record


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    record = Record.open(tmp_path / "data" / "documents.db")
    yield record
    record.close()
