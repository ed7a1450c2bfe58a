"""What is worth a judge, and what is refused for good."""

from __future__ import annotations

import pytest

from gateway.cache.facets import contradicts, facets
from gateway.cache.grey import grey
from gateway.chat import CachedQuestion, Neighbor
from tests.cache.makers import key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("정규직 직원은 연차휴가가 1년에 며칠인가요?", "정규직 연차 며칠?"),  # only one says "1년"
        ("연차 신청은 언제까지 해야 하나요?", "연차는 며칠 전까지 올려야 돼?"),
        ("남은 연차는 며칠까지 이월되나요?", "다 못 쓴 연차를 내년으로 며칠 넘길 수 있어요?"),
        ("How long is the free trial?", "For how many days can we try the Pro plan for free?"),
    ],
)
def test_what_only_one_of_two_questions_says_is_no_contradiction(one: str, other: str) -> None:
    assert not contradicts(facets(one), facets(other))
    assert not contradicts(facets(other), facets(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("정규직 연차는 며칠인가요?", "계약직 연차는 며칠인가요?"),
        ("10만원 이상 결재는?", "10만원 이하 결재는?"),
        ("3일 이상 병가 서류는?", "5일 이상 병가 서류는?"),
        ("VPN 접속 방법 알려줘", "VDI 접속 방법 알려줘"),
        ("구독 신청은 어떻게 하나요?", "구독 해지는 어떻게 하나요?"),
        ("연차는 며칠인가요?", "How many days of leave?"),
        ("How do I enable two-factor login?", "How do I disable two-factor login?"),
    ],
)
def test_where_both_say_something_else_no_judge_is_asked(one: str, other: str) -> None:
    assert contradicts(facets(one), facets(other))
    near = Neighbor(CachedQuestion(other, key()), 0.99)
    assert grey(one, [near]) == []


def test_each_answer_is_judged_once_by_its_nearest_question() -> None:
    neighbors = [
        Neighbor(CachedQuestion("연차 며칠인가요?", key("a")), 0.97),
        Neighbor(CachedQuestion("연차는 며칠이에요?", key("a")), 0.96),
        Neighbor(CachedQuestion("", key("f")), 0.96),  # forgotten by a purge
        Neighbor(CachedQuestion("연차 일수가 어떻게 되나요?", key("b")), 0.95),
        Neighbor(CachedQuestion("휴가 일수가 어떻게 되나요?", key("c")), 0.94),
    ]
    found = grey("연차가 며칠이죠?", neighbors, most=2)
    assert [g.neighbor.question.key.digest for g in found] == ["a", "b"]
