from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts import Verdict, compare, same_facts, signature, unsupported
from gateway.facts.quantities import quantities

KOREAN_UNITS = {"일": "days", "개월": "months", "시간": "hours", "명": "people", "%": "percent", "회": "times"}
TEXT = st.text(st.sampled_from("가나다연차휴가일월원만억천 0123456789.,~-:%[]doc()abcXYZ\n$"), max_size=120)


def found(text: str) -> list[tuple[str, float]]:
    return [(quantity.kind, quantity.value) for quantity in quantities(text)]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("3만 5천 원", [("won", 35_000)]),
        ("1억 2,000만 원까지", [("won", 120_000_000)]),
        ("이백오십만 원", [("won", 2_500_000)]),
        ("2만 500원", [("won", 20_500)]),
        ("krw 30 million", [("won", 30_000_000)]),
        ("$1.5k", [("usd", 1_500)]),
        ("2주", [("day", 14)]),
        ("이틀", [("day", 2)]),
        ("열흘 이내", [("day", 10)]),
        ("1시간 30분", [("minute", 90)]),
        ("an hour and a half", [("minute", 90)]),
        ("한 시간 반입니다", [("minute", 90)]),
        ("1년 6개월", [("month", 18)]),
        ("3~5일", [("day", 3), ("day", 5)]),
        ("between three and five days", [("day", 3), ("day", 5)]),
        ("오후 6시 30분", [("clock", 1_110)]),
        ("18:30", [("clock", 1_110)]),
        ("6:30 pm", [("clock", 1_110)]),
        ("2025년 3월 1일", [("date", 20_250_301)]),
        ("march 1, 2025", [("date", 20_250_301)]),
        ("1 march 2025", [("date", 20_250_301)]),
        ("twenty-five days", [("day", 25)]),
        ("3영업일", [("workday", 3)]),
        ("절반", [("percent", 50)]),
        ("원칙적으로 일반 직원", []),
        ("인사팀에 문의", []),
    ],
)
def test_quantities_are_read_in_either_language(text: str, kinds: list[tuple[str, float]]) -> None:
    assert found(text) == kinds


@given(TEXT)
def test_any_text_has_a_signature_and_agrees_with_itself(text: str) -> None:
    once = signature(text)
    assert once == signature(text)
    assert compare(once, once).verdict is (Verdict.SAME if once.text else Verdict.UNCLEAR)


@given(TEXT, TEXT)
def test_comparisons_are_symmetric(one: str, other: str) -> None:
    a, b = signature(one), signature(other)
    assert compare(a, b).verdict is compare(b, a).verdict


@given(st.text(max_size=200))
def test_nothing_that_a_model_may_say_breaks_the_signature(text: str) -> None:
    signature(text)


@given(st.integers(1, 9_999), st.sampled_from(sorted(KOREAN_UNITS)))
def test_a_number_and_its_unit_are_the_same_fact_in_both_languages(number: int, unit: str) -> None:
    assert same_facts(f"한도는 {number}{unit}입니다.", f"The limit is {number:,} {KOREAN_UNITS[unit]}.")


@given(st.integers(1, 9_999), st.integers(1, 9_999), st.sampled_from(sorted(KOREAN_UNITS)))
def test_another_number_is_another_fact(one: int, other: int, unit: str) -> None:
    assert same_facts(f"한도는 {one}{unit}입니다.", f"{one}{unit}까지가 한도입니다.")
    verdict = compare(signature(f"한도는 {one}{unit}입니다."), signature(f"한도는 {other}{unit}입니다.")).verdict
    assert verdict is (Verdict.SAME if one == other else Verdict.DIFFERENT)


@given(st.integers(1, 9_999), st.sampled_from(["NFC", "NFD"]), st.integers(1, 9))
def test_unicode_form_citations_and_markup_change_nothing(number: int, form: str, doc: int) -> None:
    plain = f"연차는 {number}일입니다."
    marked = unicodedata.normalize(form, f"연차는 **{number}일**입니다 [doc{doc}].")  # type: ignore[arg-type]
    assert same_facts(plain, marked)


@given(st.integers(1, 99))
def test_money_is_the_same_in_digits_and_in_words(ten_thousands: int) -> None:
    assert found(f"{ten_thousands}만 원") == found(f"{ten_thousands * 10_000:,}원")


def test_what_no_passage_says_is_told() -> None:
    passages = ["연차휴가는 1년에 16일이다.", "신청은 ERP-20 화면에서 한다."]
    assert unsupported("연차는 16일입니다.", passages) == ()
    assert unsupported("연차는 17일입니다.", passages) == ("17 day",)
    assert unsupported("ERP-21 화면에서 신청합니다.", passages) == ("erp-21",)
    assert unsupported("3일 전에 신청하세요.", passages, "3일 전에 신청하면 되나요?") == ()
