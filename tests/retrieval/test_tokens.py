from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retrieval.tokens import Terms, coverage, terms, tokenize


def test_korean_becomes_bigrams_and_whole_words() -> None:
    assert tokenize("연차휴가는 3일") == ["연차", "차휴", "휴가", "가는", "연차휴가는", "3", "일"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234,567원", "1234567"),
        ("1.5배", "1.5"),
        ("VPN을", "vpn"),
        ("ISO-27001 인증", "iso-27001"),
        ("A4 용지", "a4"),
        ("two policies", "policy"),
        ("business days", "day"),
        ("the address", "address"),
        ("出張旅費", "出張"),
    ],
)
def test_what_people_search_for_is_a_term(text: str, expected: str) -> None:
    assert expected in tokenize(text)


def test_a_particle_does_not_hide_the_word() -> None:
    assert set(tokenize("휴가")) & set(tokenize("휴가를")) == {"휴가"}


@given(st.text(alphabet=st.sampled_from("연차휴가는 가나다AbcZ019.,-각힣出")))
def test_decomposed_text_has_the_same_terms(text: str) -> None:
    assert tokenize(unicodedata.normalize("NFD", text)) == tokenize(unicodedata.normalize("NFC", text))


@given(st.text())
def test_terms_survive_storage(text: str) -> None:
    found = terms(text)
    again = Terms.from_bytes(found.to_bytes())
    assert np.array_equal(found.ids, again.ids)
    assert np.array_equal(found.counts, again.counts)
    assert np.array_equal(found.ids, np.unique(found.ids))


def test_a_term_repeated_beyond_a_byte_stays_at_its_ceiling() -> None:
    assert terms("vpn " * 300).counts.tolist() == [255]


def test_coverage_is_the_share_of_the_question_that_is_found() -> None:
    assert coverage(["a", "b"], ["b", "c"]) == 0.5
    assert coverage([], ["b"]) == 0.0
