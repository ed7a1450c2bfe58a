from __future__ import annotations

import unicodedata

import pytest

from gateway.cache.facets import facets, veto
from gateway.cache.numbers import numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3만 5천원", [(35_000, "won")]),
        ("1.5억 원", [(150_000_000, "won")]),
        ("1천만원", [(10_000_000, "won")]),
        ("10,000,000원", [(10_000_000, "won")]),
        ("이틀 동안 두 명", [(2, ""), (2, "day")]),
        ("2주 전", [(14, "day")]),
        ("세 달", [(3, "month")]),
        ("삼십 퍼센트", [(30, "percent")]),
        ("열두 시", [(12, "clock")]),
        ("30%", [(30, "percent")]),
        ("twenty days", [(20, "day")]),
        ("a week", [(7, "day")]),
        ("$1,000", [(1_000, "dollar")]),
        ("이번 주 이상 없음", []),
        ("일반 사용자 오류", []),
    ],
)
def test_numbers(text: str, found: list[tuple[float, str]]) -> None:
    assert list(numbers(text)) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("연차는 15일인가요?", "연차가 십오 일이에요?"),
        ("연차는 며칠인가요?", "연차 일수 알려주세요"),
        ("2주 휴가 가능한가요?", "14일 휴가 가능해요?"),
        ("비밀번호를 잊었어요", unicodedata.normalize("NFD", "비밀번호를 잊었어요")),
        ("How do I reset my password?", "What's the way to reset my password?"),
        ("VPN 설치는 어떻게 하나요", "vpn 설치 방법 좀"),
    ],
)
def test_rewording_is_no_difference(one: str, other: str) -> None:
    assert veto(facets(one), facets(other)) == ""
    assert veto(facets(other), facets(one)) == ""
