"""Numbers in a question, whatever script they are written in: 3만 5천원, 이틀, 두 명, 2주, twenty, 1,000. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cache.language import HANGUL

Quantities = tuple[tuple[float, str], ...]  # (value, unit), sorted; unit "" where none is known

_NATIVE = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "넷": 4, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7,
    "여덟": 8, "아홉": 9, "열": 10, "스무": 20, "스물": 20, "서른": 30, "마흔": 40, "쉰": 50,
}  # fmt: skip
_SINO = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}
_DAYS = {"하루": 1, "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "이레": 7, "열흘": 10, "보름": 15}
_SCALE = {"십": 10, "백": 100, "천": 1_000, "만": 10_000, "억": 100_000_000, "조": 1_000_000_000_000}
_ENGLISH = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "eighteen": 18, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "ninety": 90, "hundred": 100, "thousand": 1_000,
    "million": 1_000_000, "dozen": 12, "twice": 2, "double": 2, "couple": 2, "half": 0.5, "third": 3, "fourth": 4,
}  # fmt: skip
_UNITS = (  # pattern, unit, factor: what means the same gets the same unit
    (r"주일|주(?=[^가-힣소문차]|간|에|를|은|는|이|$)|weeks?", "day", 7),
    (r"개월|달|months?", "month", 1),
    (r"년|years?", "month", 12),
    (r"월(?![급세차드])", "month of the year", 1),
    (r"일|days?", "day", 1),
    (r"시간|hours?|hrs?", "minute", 60),
    (r"분|minutes?|mins?", "minute", 1),
    (r"초|seconds?|secs?", "second", 1),
    (r"%|퍼센트|프로(?!그|젝)|percent", "percent", 1),
    (r"원|won|krw", "won", 1),
    (r"달러|dollars?|usd|\$", "dollar", 1),
    (r"유로|euros?|eur", "euro", 1),
    (r"파운드|pounds?|gbp", "pound", 1),
    (r"회(?![사의원식비계차복수])|번(?![호째])", "times", 1),
    (r"시|o'clock|am|pm|a\.m\.|p\.m\.", "clock", 1),
)
_COUNTERS = r"개월|개|명|시간|시|번째|번|살|잔|권|대|장|병|달|마리|가지|곳|군데|차례|사람|분|해|쪽|배|끼|통|층|줄|건"
_SINO_UNITS = (
    r"개월|년|일(?=$|[^가-힣]|[이인은간을에까])|일간|주일|퍼센트|프로|분기|분|초|층|회|박|인분|인실|급|학년|단계|호선|차|점|위|원|월"
    r"|시간|만|천|백"
)

_BELOW_ZERO = re.compile(r"(?:영하|마이너스|\bminus)\s?$|(?:^|[^\w\s]|[^\d\s]\s)[-−]$")
_DIGITS = re.compile(r"(?<![\d.])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?((?:\s?\d*\s?[십백천만억조])*)")
_SCALED = re.compile(r"(\d*)\s?([십백천만억조])")
_NATIVE_RE = re.compile(
    rf"(?<![가-힣])(열|스물|서른|마흔|쉰)?\s?({'|'.join(_NATIVE)})\s?(?={_COUNTERS})|(?<![가-힣])({'|'.join(_DAYS)})(?!치)"
)
_SINO_RE = re.compile(
    rf"(?<![가-힣\d])(?<!\d\s)((?:[일이삼사오육칠팔구]?[십백천만억])+[일이삼사오육칠팔구]?|[삼사오육칠팔구])\s?(?={_SINO_UNITS})"
)
_ENGLISH_RE = re.compile(rf"\b(?:{'|'.join(_ENGLISH)})\b|\b(?:one|a|an)(?= (?:day|week|month|year|hour|minute)\b)")
_LATIN = re.compile(r"[a-z]")
_UNIT_RES = tuple((re.compile(rf"\s?-?(?:{pattern})(?![a-z])"), unit, factor) for pattern, unit, factor in _UNITS)
_CURRENCY_BEFORE = {"$": "dollar", "€": "euro", "£": "pound", "₩": "won"}


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    unit: str
    start: int  # of its digits or its word in the text
    end: int  # behind its unit


def found_in(text: str) -> tuple[Number, ...]:
    """The numbers in the order of the text. ``text`` in NFC and lower case."""
    return tuple(sorted(_find(text), key=lambda number: number.start))


def quantities(found: tuple[Number, ...]) -> Quantities:
    return tuple(sorted((number.value, number.unit) for number in found))


def agree(one: Quantities, other: Quantities) -> bool:
    """The same quantities; a unit that only one of them names is no difference."""
    if one == other:
        return True
    if len(one) != len(other) or exchanged(one, other):
        return False
    left = list(other)
    for value, unit in one:
        match = next((x for x in left if x[0] == value and (x[1] == unit or not unit or not x[1])), None)
        if match is None:
            return False
        left.remove(match)
    return True


def exchanged(one: Quantities, other: Quantities) -> bool:
    """The same values and the same units, put together differently: 2월 3일 and 3월 2일."""
    values, units = zip(*one, strict=True) if one else ((), ())
    theirs, their_units = zip(*other, strict=True) if other else ((), ())
    return one != other and values == theirs and sorted(units) == sorted(their_units)


def _find(text: str) -> Iterator[Number]:
    for found in _DIGITS.finditer(text):
        value = float(found[1].replace(",", "") + (found[2] or ""))
        before = text[found.start() - 1] if found.start() else ""
        value = _scaled(value, found[3]) * (-1 if _BELOW_ZERO.search(text, 0, found.start()) else 1)
        yield _with_unit(value, text, found, _CURRENCY_BEFORE.get(before, ""))
    hangul = HANGUL.search(text) is not None  # a search in vain takes longer
    for found in _NATIVE_RE.finditer(text) if hangul else ():
        if found[3]:
            yield Number(float(_DAYS[found[3]]), "day", *found.span())
        else:
            yield _with_unit(float(_NATIVE.get(found[1] or "", 0) + _NATIVE[found[2]]), text, found)
    for found in _SINO_RE.finditer(text) if hangul else ():
        yield _with_unit(float(_sino(found[1])), text, found)
    for found in _ENGLISH_RE.finditer(text) if _LATIN.search(text) else ():
        yield _with_unit(float(_ENGLISH.get(found[0], 1)), text, found)


def _scaled(value: float, scales: str) -> float:
    """3 and "만 5천" → 35,000; 1.5 and "억" → 150,000,000."""
    total, part = 0.0, value
    for digits, scale in _SCALED.findall(scales):
        part = float(digits) if digits else part
        factor = _SCALE[scale]
        if factor >= 10_000:
            total, part = (total + part or 1.0) * factor, 0.0
        else:
            total, part = total + (part or 1.0) * factor, 0.0
    return total + part


def _sino(word: str) -> int:
    total = part = 0
    for sign in word:
        if sign in _SINO:
            part = _SINO[sign]
        elif _SCALE[sign] >= 10_000:
            total, part = (total + part or 1) * _SCALE[sign], 0
        else:
            total, part = total + (part or 1) * _SCALE[sign], 0
    return total + part


def _with_unit(value: float, text: str, found: re.Match[str], unit: str = "") -> Number:
    for pattern, name, factor in _UNIT_RES:
        if behind := pattern.match(text, found.end()):
            return Number(value * factor, name, found.start(), behind.end())
    return Number(value, unit, *found.span())
