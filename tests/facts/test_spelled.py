"""A fact is in a text whatever the blanks, but not as a part of another number."""

from __future__ import annotations

import unicodedata

import pytest

from gateway.facts import says


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("수수료율은 1%입니다.", "1%"),
        ("수수료율은 1 % 입니다.", "1%"),
        ("It costs KRW 65,000, and takes 9 days.", "krw 65,000"),
        ("2일 16일", "16일"),
        ("Take [doc1]5 days.", "5 days"),
        (unicodedata.normalize("NFD", "전날 오후 8시"), "전날 오후8시"),
    ],
)
def test_blanks_and_case_do_not_count(text: str, fact: str) -> None:
    assert says(text, fact)


@pytest.mark.parametrize(
    ("text", "fact"),
    [("연 11%입니다.", "1%"), ("0.5%", "5%"), ("16일", "6일"), ("65,000원", "65"), ("1,650", "650"), ("3.5", "3")],
)
def test_a_part_of_a_number_is_another_number(text: str, fact: str) -> None:
    assert not says(text, fact)
