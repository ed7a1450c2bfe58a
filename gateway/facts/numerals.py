"""Numbers in a text, whatever script they are written in: 3만 5천, 이틀, 두, 십오, twenty-five, 1.2 million. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.facts.tables import either


@dataclass(frozen=True, slots=True)
class Numeral:
    start: int
    end: int
    value: float
    kind: str = ""  # told by the word itself: 이틀 is days, twice is times


_SCALE = {"십": 10, "백": 100, "천": 1_000, "만": 10_000, "억": 100_000_000, "조": 1_000_000_000_000}
_SINO = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}
_NATIVE = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "넷": 4, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7,
    "여덟": 8, "아홉": 9,
}  # fmt: skip
_NATIVE_TENS = {"열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40, "쉰": 50, "예순": 60}
_DAYS = {
    "하루": 1,
    "이틀": 2,
    "사흘": 3,
    "나흘": 4,
    "닷새": 5,
    "엿새": 6,
    "이레": 7,
    "여드레": 8,
    "아흐레": 9,
    "열흘": 10,
    "보름": 15,
}
_OTHER_WORDS = {"반년": (6, "month"), "반나절": (0.5, "day"), "반일": (0.5, "day"), "무제한": (1e12, "")}
_UNDER_TWENTY = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen"""
_ONES = {name: number for number, name in enumerate(_UNDER_TWENTY.split())}
_FROM_TWENTY = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {name: 10 * number for number, name in enumerate(_FROM_TWENTY.split(), start=2)}
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "tenth": 10,
}
_BIG = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_ENGLISH_TIMES = {"once": 1, "twice": 2, "thrice": 3}

_WORDED = r"k|thousand|million|billion"
_LIFTED = r"(?:\s?\d{0,3}(?:,?\d{3})*\s?[십백천만억조])*(?:(?<=[만억])\s?\d{1,4}(?=\s?원))?"
_DIGITS = re.compile(rf"(?<![\d.])(?<![a-z]-)(\d{{1,3}}(?:,\d{{3}})+|\d+)(\.\d+)?(?:\s?({_WORDED})\b|({_LIFTED}))")
_SCALED = re.compile(r"([\d,]*)\s?([십백천만억조])")
_TAIL = re.compile(r"\d{1,4}$")
_NATIVE_RE = re.compile(
    rf"(?<![가-힣])(?:({'|'.join(_NATIVE_TENS)})\s?)?({'|'.join(_NATIVE)})\s?(?={either('counters')})"
    rf"|(?<![가-힣])({'|'.join(_NATIVE_TENS)})\s?(?={either('counters')})"
    rf"|(?<![가-힣])({'|'.join(_DAYS)})(?!치|살이)|(?<![가-힣])({'|'.join(_OTHER_WORDS)})"
)
_SINO_RE = re.compile(
    rf"(?<![가-힣\d])(?<!\d\s)((?:[일이삼사오육칠팔구]?[십백천만억])+[일이삼사오육칠팔구]?|[삼사오육칠팔구]|(?:일|이)(?=\s?(?:개월|년|주일|회|분|층|퍼센트)))\s?(?={either('sino_units')})"
)
_SMALL = "|".join([*_ONES, *_TENS])
_ENGLISH_RE = re.compile(
    rf"\b(?:(?:{_SMALL})(?:[ -](?:{_SMALL}|{'|'.join(_BIG)}|(?<=hundred )and (?:{_SMALL})))*"
    rf"|(?:a|one) (?:{'|'.join(_BIG)}|dozen|couple(?: of)?)|dozen|{'|'.join(_ENGLISH_TIMES)})\b"
    r"|\b(?:a|an)(?= (?:day|week|month|year|hour|minute)\b)|\bhalf(?: an?)?(?=[ -](?:day|hour|year|month))"
    rf"|\b(?:{'|'.join(_ORDINALS)})\b(?= (?:time|day|floor|month|year|of\b))"
)
_ONE_OF = re.compile(r"\bone of\b|\bno one\b|\bone (?:by|or|another|can|must|should)\b")


def numerals(text: str) -> Iterator[Numeral]:
    """Every number of the folded ``text``, in its order; none twice."""
    found = [*_digits(text), *_korean(text), *_english(text)]
    reached = -1
    for numeral in sorted(found, key=lambda n: (n.start, -n.end)):
        if numeral.start >= reached:
            yield numeral
            reached = numeral.end


def _digits(text: str) -> Iterator[Numeral]:
    for match in _DIGITS.finditer(text):
        value = float(match[1].replace(",", "") + (match[2] or ""))
        if match[3]:
            value *= 1000 if match[3] == "k" else _BIG[match[3]]
        yield Numeral(match.start(), match.end(), _scaled(value, match[4] or ""))


def _korean(text: str) -> Iterator[Numeral]:
    for match in _NATIVE_RE.finditer(text):
        tens, ones, tens_only, days, other = match.groups()
        if days:
            yield Numeral(match.start(), match.end(), _DAYS[days], "day")
        elif other:
            value, kind = _OTHER_WORDS[other]
            yield Numeral(match.start(), match.end(), value, kind)
        else:
            value = _NATIVE_TENS.get(tens or tens_only or "", 0) + _NATIVE.get(ones or "", 0)
            yield Numeral(match.start(), match.end(), value)
    for match in _SINO_RE.finditer(text):
        yield Numeral(match.start(), match.end(), _sino(match[1]))


def _english(text: str) -> Iterator[Numeral]:
    for match in _ENGLISH_RE.finditer(text):
        if _ONE_OF.match(text, match.start()):
            continue
        words = match[0].replace("-", " ").split()
        if words[0] in _ENGLISH_TIMES:
            yield Numeral(match.start(), match.end(), _ENGLISH_TIMES[words[0]], "times")
        elif words[0] in _ORDINALS:
            yield Numeral(match.start(), match.end(), _ORDINALS[words[0]], "ordinal")
        else:
            yield Numeral(match.start(), match.end(), _spelled(words))


def _spelled(words: list[str]) -> float:
    total = part = 0.0
    for word in words:
        if word in _BIG:
            part = (part or 1) * _BIG[word]
            if _BIG[word] >= 1000:
                total, part = total + part, 0.0
        elif word == "dozen":
            part = (part or 1) * 12
        elif word in ("couple", "half"):
            part = 2.0 if word == "couple" else 0.5
        elif word in ("a", "an") and words[0] != "half":
            part = part or 1.0
        else:
            part += _ONES.get(word, 0) + _TENS.get(word, 0)
    return total + part


def _scaled(value: float, scales: str) -> float:
    """3 and "만 5천" → 35,000; 1 and "억 2,000만" → 120,000,000."""
    pieces = [(float(digits.replace(",", "")) if digits else None, scale) for digits, scale in _SCALED.findall(scales)]
    tail = _TAIL.search(scales)
    rest = float(tail[0]) if tail and pieces else 0.0
    return round(
        rest + _added([(value if at == 0 else part, scale) for at, (part, scale) in enumerate(pieces)], value), 6
    )


def _sino(word: str) -> float:
    pieces: list[tuple[float | None, str]] = []
    part: float | None = None
    for sign in word:
        if sign in _SINO:
            part = float(_SINO[sign])
        else:
            pieces.append((part, sign))
            part = None
    return _added(pieces, 0.0) + (part or 0.0)


def _added(pieces: list[tuple[float | None, str]], alone: float) -> float:
    """(digits before it or None, scale) in their order: tens to thousands add up until 만, 억 or 조 lifts them."""
    if not pieces:
        return alone
    total = section = 0.0
    for part, scale in pieces:
        factor = _SCALE[scale]
        if factor < 10_000:
            section += (1.0 if part is None else part) * factor
        else:
            total += (section + (part or 0.0) or 1.0) * factor
            section = 0.0
    return total + section
