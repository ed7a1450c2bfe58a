"""A gateway over a few documents, with reviewed answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bench.provider import Provider
from tests.flows.house import House, fill
from tests.flows.reviewed.desk import (
    LEAVE,
    opened,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    (made / "c#.md").write_text("# C#\n\nC# 코드는 4칸을 들여 쓴다.\n", encoding="utf-8")
    (made / "leave.md").write_text(LEAVE.format(days=15), encoding="utf-8")
    (made / "expenses.md").write_text("# Expenses\n\nTaxi receipts are refunded within 30 days.\n", encoding="utf-8")
    return made


@pytest.fixture
async def it(provider: Provider, tmp_path: Path, folder: Path, kept_in: dict[str, Any]) -> AsyncIterator[House]:
    async with opened(tmp_path, provider.base_url, cache=kept_in) as running:
        await fill(running.gateway.settings, "hr", folder)
        yield running
