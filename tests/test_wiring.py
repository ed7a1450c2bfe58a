"""What a configuration becomes where that is a decision of its own."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.settings.models import ModelSettings
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
