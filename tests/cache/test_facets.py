from __future__ import annotations

import unicodedata

import pytest

from gateway.cache.facets import contradicts, facets, veto
from gateway.cache.numbers import found_in, quantities


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
        ("2월 3일", [(2, "month of the year"), (3, "day")]),
        ("월급 3 월급", [(3, "")]),
        ("-5도", [(-5, "")]),
        ("기온 −5도", [(-5, "")]),
        ("영하 5도", [(-5, "")]),
        ("minus 5 degrees", [(-5, "")]),
        ("3-5일, COVID-19", [(3, ""), (5, "day"), (19, "")]),
        ("이번 주 이상 없음", []),
        ("일반 사용자 오류", []),
    ],
)
def test_numbers(text: str, found: list[tuple[float, str]]) -> None:
    assert list(quantities(found_in(text))) == found


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("지원금지급 일정은 언제인가요?", "지원금 지급 일정이 언제예요?"),  # no 금지
        ("안내 데스크는 어디인가요?", "안내데스크가 어디예요?"),
        ("연차가 며칠인지 궁금합니다.", "연차가 며칠인지 알려주세요."),
        ("What ATMs can I use?", "Which ATM can I use?"),
        ("How long to the U.S.?", "How long to the US?"),
        ("WHY is my card declined?", "Why is my card declined?"),
        ("I don't know how to top up", "How do I top up?"),
        ("송금하는 방법이 궁금하네요", "송금 방법 알려줘"),
        ("정산은 언제까지 마감인가요?", "정산 마감은 언제까지예요?"),  # no "-지 마"
        ("카드인가요 아니면 현금인가요?", "카드인가요, 현금인가요?"),
        ("근무상황부는 어디에 있나요?", "근무 상황부가 어디 있나요?"),
        ("Verify my PAN card", "verify my pan card"),
        ("I didn’t get my refund", "I didn't get my refund"),
        ("올해 휴가 일정은?", "이번 해 휴가 일정은?"),
        ("내가 김 대리한테 받은 메일은?", "김 대리한테서 나한테 온 메일은?"),  # given to me, both
        ("내가 쓸 수 있는 한도 알려줘", "나한테 쓸 수 있는 한도를 알려줘"),  # told to me
        ("신청이 모두 몇 건인가요?", "신청은 모두 몇 개예요?"),
        ("메일 말고 전화로 문의하고 싶어요", "메일 대신 전화로 문의할래요"),
        ("정산 마감이 언제인지 말해 줘", "정산 마감이 언제야?"),  # no "-지 말"
        ("정산 마감이 언제인지 아니?", "정산 마감이 언제야?"),
        ("잊지 말고 마감 알려줘", "마감 알려줘"),
        ("환율을 찾아봐 주지 않으시겠습니까?", "환율을 찾아봐 주세요"),
    ],
)
def test_what_only_looks_like_a_difference_is_none(one: str, other: str) -> None:
    assert veto(facets(one), facets(other)) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("출산휴가는 언제부터 쓸 수 있나요?", "출산휴가는 언제까지 쓸 수 있나요?"),
        ("휴직 중에 급여가 나오나요?", "휴직 후 급여가 나오나요?"),
        ("출장비는 선지급되나요?", "출장비는 후지급되나요?"),
        ("변동금리로 바꿀 수 있나요?", "고정금리로 바꿀 수 있나요?"),
        ("교환 배송비는 누가 내나요?", "반품 배송비는 누가 내나요?"),
        ("보험 계약자를 바꾸고 싶어요", "보험 수익자를 바꾸고 싶어요"),
        ("육아휴직 기간은 얼마나 되나요?", "육아휴직 급여는 얼마나 되나요?"),
        ("재택근무는 주 2회까지 가능한가요?", "재택근무는 월 2회까지 가능한가요?"),
        ("대출 금리가 올랐나요?", "대출 금리가 내렸나요?"),
        ("Can I return an opened item?", "Can I return an unopened item?"),
        ("My physical card does not work", "My non-physical card does not work"),
        ("내가 김 대리한테 보낸 메일은 몇 통이야?", "김 대리가 나한테 보낸 메일은 몇 통이야?"),
        ("첨부 파일은 몇 개까지 보낼 수 있나요?", "첨부 파일은 몇 기가까지 보낼 수 있나요?"),
        ("첨부 파일의 최대 용량은?", "첨부 파일의 최대 개수는?"),
        ("식비 말고 교통비를 청구할게요", "교통비 말고 식비를 청구할게요"),
        ("엑셀을 PDF로 변환하려면?", "PDF를 엑셀로 변환하려면?"),
        ("VPN을 서버로 옮기나요?", "서버를 VPN으로 옮기나요?"),
    ],
)
def test_two_sides_of_one_thing_contradict_each_other(one: str, other: str) -> None:
    assert contradicts(facets(one), facets(other))
    assert contradicts(facets(other), facets(one))
