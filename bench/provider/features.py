"""What two texts have in common, for Korean and English without a dictionary (pure).

A feature is a Hangul bigram, the stem of a Latin word, a number, or a number with the syllable after it ("10년").
Bigrams make particles matter little: 연차휴가는 and 연차휴가를 share 연차, 차휴, 휴가.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_RUN = re.compile(r"[가-힣]+|[a-z]+|\d[\d,]*(?:\.\d+)?")
_STEM = 6  # letters kept: "reimbursement" and "reimbursed" agree, as do "approval" and "approve"

_WORDS = """
a an and any are as at be been but by can could did do does for from get give has have how i if in
is it its many may me much must my of on or our please shall should tell that the their there they
this to us was we what when where which who why will with would you your
"""
_BIGRAMS = """
가능 가요 게되 게하 경우 궁금 금합 금해 까요 까지 나요 누가 누구 는지 니까 니다 대해 되나 되는 되면
된다 될까 됩니 디에 떻게 려면 려주 려줘 마나 며칠 몇일 무엇 뭐야 뭐예 뭔가 부터 세요 수있 습니 아요
알려 야하 어느 어디 어떻 어요 언제 얼마 엇인 에게 에서 예요 우에 으로 은지 이다 이며 이면 인가 인지
일까 입니 있나 있는 있다 있습 있어 제까 주세 줘요 칠인 하고 하나 하는 하면 한다 할까 할수 합니 해서
해야 해주 해줘
"""
_STOP_WORDS = frozenset(_WORDS.split())
_STOP_BIGRAMS = frozenset(_BIGRAMS.split())  # question words and endings: they say that something is asked, not what


@lru_cache(maxsize=20_000)
def features(text: str) -> frozenset[str]:
    """Features of ``text``, without those every question has."""
    normal = unicodedata.normalize("NFC", text).lower()
    found: set[str] = set()
    for match in _RUN.finditer(normal):
        run = match.group()
        if run[0].isdigit():
            number = run.replace(",", "")
            found.add(number)
            if match.end() < len(normal) and "가" <= normal[match.end()] <= "힣":
                found.add(number + normal[match.end()])
        elif run[0].isascii():
            if run not in _STOP_WORDS:
                found.add(_stem(run))
        else:
            found.update(run[i : i + 2] for i in range(len(run) - 1))
            if len(run) == 1:
                found.add(run)
    return frozenset(found - _STOP_BIGRAMS)


def weight(feature: str) -> float:
    """Numbers and Latin words identify; single bigrams only hint."""
    if feature[0].isdigit():
        return 2.5
    if feature[0].isascii():
        return 2.0
    return 1.0 if len(feature) > 1 else 0.3


def is_korean(text: str) -> bool:
    return any("가" <= char <= "힣" or "\u1100" <= char <= "\u11ff" for char in text)


def _stem(word: str) -> str:
    if len(word) > _STEM:
        return word[:_STEM]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
