"""Korean words that carry no content, and the nouns that begin like them."""

from __future__ import annotations

import pytest

from gateway.cache.korean_light import light
from gateway.cache.lexical import surface

LIGHT = """
알려주십시오 알려줄래 궁금합니다 궁금해요 안되나요 안돼 됩니까 될까요 하나요 했는데 있으신가요
없나요 언젠지 언제인가요 어디에서 누구한테 얼마인가요 몇시에 어떤가요 왜요 저한테 제게 네가 우리는
설명해주세요 찾아줘 확인해다오 마세요 말아라 좋을까요 괜찮을까요 좋은지요 괜찮나요 못하나요 주실래요
"""
CONTENT = """
한도 한도를 할인 할인이 해지 해지하려면 해고 해외 안내 안내문 안전 마감 제도 제도는 돼지 되감기
하자 합의 합격 말라리아 마시면 마일리지 왜건 아시아 하네다 한가지 말고기 우리은행 나이 내과 저장
확인 확인해야 조회하는 설명서 찾아가려면 몇몇
좋은 좋아하는 괜찮은
"""


@pytest.mark.parametrize("word", LIGHT.split())
def test_a_word_that_only_asks_or_helps_is_light(word: str) -> None:
    assert light(word)
    assert not surface(word).words


@pytest.mark.parametrize("word", CONTENT.split())
def test_a_word_that_names_something_is_not(word: str) -> None:
    assert not light(word)
    assert surface(word).words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("연차 이월 기한이 언제인지 알려주십시오", "연차 이월 기한이 언제예요?"),
        ("법인카드 한도가 얼마인지 궁금합니다", "법인카드 한도가 얼마죠?"),
        ("와이파이 비밀번호를 찾아줘", "와이파이 비밀번호를 알려줄래"),
    ],
)
def test_questions_that_differ_in_such_words_have_the_same_words(one: str, other: str) -> None:
    assert surface(one).words == surface(other).words
