"""What a configuration becomes where that is a decision of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from gateway.settings.models import ModelSettings
from gateway.wiring.cache import SECRET_BYTES, secret_of
from gateway.wiring.chat import settling_of


@pytest.mark.parametrize(
    ("settle", "deadline", "fresh"),
    [
        ({}, None, True),
        ({}, {"seconds": 5}, False),  # the first token was promised
        ({"mode": "on"}, {"seconds": 5}, True),
        ({"mode": "off"}, None, None),
        ({"mode": "off"}, {"seconds": 5}, None),
    ],
)
def test_new_answers_are_settled_unless_a_time_is_promised(
    settle: dict[str, Any], deadline: dict[str, Any] | None, fresh: bool | None
) -> None:
    fields: dict[str, Any] = {"name": "handbook", "answers_with": "big", "documents": {"collections": ["hr"]}}
    fields |= {"settle": settle} | ({"deadline": deadline} if deadline else {})
    settling = settling_of(ModelSettings.model_validate(fields))
    assert (settling.fresh if settling is not None else None) is fresh


@pytest.mark.parametrize("left", [None, b"", b"begun"])  # by a disk that was full at an earlier start
def test_the_secret_of_the_cache_is_made_once_and_whole(left: bytes | None, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    if left is not None:
        (tmp_path / "cache-secret").write_bytes(left)
    made = secret_of(settings)
    assert len(made) == SECRET_BYTES
    assert secret_of(settings) == made
    assert [path.name for path in tmp_path.iterdir()] == ["cache-secret"]
    assert (tmp_path / "cache-secret").stat().st_mode & 0o077 == 0
