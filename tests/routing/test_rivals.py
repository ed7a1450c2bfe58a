"""An answer that the documents bear out, and that answers another question."""

from __future__ import annotations

import pytest

from gateway.chat import Evidence, Passage
from gateway.routing.rivals import said_better

LOANS = Passage(
    "hr", "loans.md", "1", 0, "사내대출", "주택자금 대출",
    "- 주택자금 대출의 한도는 6,000만 원이다.\n- 주택자금 대출의 이자율은 연 1.8%이다.\n- 신청은 인사팀에 한다.", 2.0,
)  # fmt: skip
PLANS = Passage(
    "sales", "plans.md", "1", 0, "Plans", "International plans",
    "The international Basic plan includes 25 GB of storage.\nThe international Pro plan includes 250 GB of storage.",
    1.0,
)  # fmt: skip
EVIDENCE = Evidence((LOANS, PLANS))


@pytest.mark.parametrize(
    ("question", "answer", "better"),
    [
        ("주택자금 대출 한도는 얼마인가요?", "주택자금 대출의 이자율은 연 1.8%입니다 [doc1].", True),
        ("주택자금 대출 한도는 얼마인가요?", "주택자금 대출의 한도는 6,000만 원입니다 [doc1].", False),
        ("주택자금 대출의 이자율이 어떻게 되나요?", "주택자금 대출의 이자율은 연 1.8%입니다 [doc1].", False),
        ("How much storage has the Pro plan?", "The international Basic plan includes 25 GB of storage [doc2].", True),
        ("How much storage has the Pro plan?", "The international Pro plan includes 250 GB of storage [doc2].", False),
        ("집 살 때 회사에서 얼마 빌려줘요?", "주택자금 대출의 한도는 6,000만 원입니다 [doc1].", False),
    ],
)
def test_another_line_says_more_of_the_question(question: str, answer: str, better: bool) -> None:
    assert said_better(question, answer, EVIDENCE) is better


def test_without_documents_nothing_is_said_better() -> None:
    assert not said_better("주택자금 대출 한도는?", "주택자금 대출의 이자율은 연 1.8%입니다.", Evidence())
