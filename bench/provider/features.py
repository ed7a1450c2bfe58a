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

_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "get",
        "give",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "many",
        "may",
        "me",
        "much",
        "must",
        "my",
        "of",
        "on",
        "or",
        "our",
        "please",
        "shall",
        "should",
        "tell",
        "that",
        "the",
        "their",
        "there",
        "they",
        "this",
        "to",
        "us",
        "was",
        "we",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
# Bigrams of question words and endings: they say that something is asked, not what.
_STOP_BIGRAMS = frozenset(
    [
        "인가",
        "가요",
        "나요",
        "까요",
        "습니",
        "니까",
        "니다",
        "합니",
        "입니",
        "됩니",
        "하나",
        "되나",
        "어떻",
        "떻게",
        "게되",
        "게하",
        "얼마",
        "마나",
        "며칠",
        "칠인",
        "무엇",
        "엇인",
        "언제",
        "제까",
        "어디",
        "디에",
        "누가",
        "누구",
        "어느",
        "있나",
        "있는",
        "있습",
        "있어",
        "알려",
        "려줘",
        "려주",
        "주세",
        "세요",
        "해줘",
        "해주",
        "줘요",
        "뭐야",
        "뭔가",
        "뭐예",
        "예요",
        "인지",
        "는지",
        "은지",
        "되는",
        "하는",
        "하면",
        "되면",
        "이면",
        "려면",
        "경우",
        "우에",
        "대해",
        "해서",
        "에서",
        "에게",
        "으로",
        "부터",
        "까지",
        "이며",
        "하고",
        "있다",
        "한다",
        "된다",
        "이다",
        "어요",
        "아요",
        "야하",
        "해야",
        "할수",
        "수있",
        "될까",
        "할까",
        "몇일",
        "일까",
        "가능",
        "궁금",
        "금해",
        "금합",
    ]
)


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
