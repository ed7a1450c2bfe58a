"""How much of an answer has to be there to know what it claims."""

from __future__ import annotations

import pytest

from gateway.samples import has_claim, has_sentence


@pytest.mark.parametrize(
    "text",
    [
        "정규직 연차는 16일입니다 [doc",
        "The limit is 5 days. [doc2]",
        "[doc1]에 따르면 정규직 연차는 16일입니다 [doc",
        "According to [doc1] and [doc2], the limit is 5 days [doc1",
        "It is 5 days. And",
        "183일\n\n",
    ],
)
def test_a_mark_ends_a_claim(text: str) -> None:
    assert has_claim(text)


@pytest.mark.parametrize(
    "text",
    [
        "[doc",
        "[doc1]에 따르면 정규직",
        "[doc1], [doc2]에 따르면 정규직",
        "According to [doc1], the",
        "According to [doc1] and [doc",
        "문서 [doc1]의 내용",
        "정규직 연차는 16일",
    ],
)
def test_a_mark_that_is_part_of_the_sentence_ends_nothing(text: str) -> None:
    assert not has_claim(text)
    assert not has_sentence(text)
