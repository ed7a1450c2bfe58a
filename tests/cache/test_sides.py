"""Contrasts are found the quick way as they would be by looking at every row."""

import re

import pytest

from gateway.cache import contrasts
from gateway.cache.sides import Contrasts, _compile, starts_in

TABLES = (contrasts.AUDIENCE, contrasts.HARD, contrasts.SOFT)
SENTENCES = [
    "정규직도 인턴처럼 연차를 신청하나요, 해지하나요?",
    "can i enable it today or must i disable the annual plan before the monthly one",
    "",
    "전",
    *(re.sub(r"[^\w ]", "", word) for table in TABLES for row in table for side in row for word in side.split("|")),
]


@pytest.mark.parametrize("table", TABLES)
def test_no_side_is_overlooked(table: tuple[tuple[str, ...], ...]) -> None:
    quick, slow = Contrasts(table), [[_compile(side) for side in row] for row in table]
    named = 0
    for text in SENTENCES:
        every = {number: {i for i, side in enumerate(row) if side.search(text)} for number, row in enumerate(slow)}
        expected = {number: sides for number, sides in every.items() if sides}
        assert quick.sides(text, starts_in(text)) == expected, text
        named += len(expected)
    assert named > len(table)
