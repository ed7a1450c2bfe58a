"""Quantities in a text, in one unit per kind: 3만 5천원, 이틀, 2주, 오후 6시, 3월 1일, 1.2 million, twice. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from gateway.facts.numerals import Numeral, numerals
from gateway.facts.tables import pattern, rows

MAX, MIN = "max", "min"
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    kind: str  # day, month, minute, clock, date, percent, a currency, person, times, …; "" where none is told
    value: float  # in the kind's base unit; dates as yyyymmdd with zeros for what is not told
    bound: str = ""  # MAX (이하, within), MIN (이상, at least)
    relation: str = ""  # BEFORE (3일 전), AFTER


_UNIT_RES = tuple(
    (re.compile(rf"\s?-?(?:{words})(?![a-z])"), kind, float(factor)) for words, kind, factor in rows("units")
)
_CURRENCY_BEFORE = (
    (re.compile(r"(?:us)?\$\s?$|usd\s?$"), "usd"),
    (re.compile(r"s\$\s?$|sgd\s?$"), "sgd"),
    (re.compile(r"₩\s?$|krw\s?$"), "won"),
    (re.compile(r"€\s?$|eur\s?$"), "eur"),
    (re.compile(r"£\s?$|gbp\s?$"), "gbp"),
    (re.compile(r"¥\s?$|jpy\s?$"), "jpy"),
)
_MONTHS = {name: number for number, name in enumerate(
    "january february march april may june july august september october november december".split(), start=1)}  # noqa: SIM905  # fmt: skip
_MONTH = "|".join([*_MONTHS, "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"])
_DATES = (
    re.compile(r"(?P<y>(?:19|20)\d\d)\s?[년./-]\s?(?P<m>\d{1,2})\s?[월./-]\s?(?P<d>\d{1,2})(?:\s?일)?(?!\d)"),
    re.compile(r"(?P<y>(?:19|20)\d\d)\s?년\s?(?P<m>\d{1,2})\s?월"),
    re.compile(r"(?<!\d)(?P<m>\d{1,2})\s?월\s?(?P<d>\d{1,2})\s?일"),
    re.compile(r"(?<!\d)(?P<m>\d{1,2})\s?월(?!\s?\d)"),
    re.compile(rf"\b(?P<n>{_MONTH})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y>(?:19|20)\d\d))?"),
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<n>{_MONTH})\b\.?(?:,? (?P<y>(?:19|20)\d\d))?"),
    re.compile(rf"\b(?P<n>{_MONTH})(?:,? (?P<y>(?:19|20)\d\d))(?!\d)"),
    re.compile(rf"(?<=\bin )(?P<n>{_MONTH})\b|(?<=\bevery )(?P<n2>{_MONTH})\b|(?<=\buntil )(?P<n3>{_MONTH})\b"),
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d\d)\s?년(?:도)?(?!\s?\d)|(?<=\bin )(?P<y2>(?:19|20)\d\d)\b"),
)
_CLOCKS = (
    re.compile(r"(?P<ap>오전|오후|아침|저녁|밤|새벽|낮)\s?(?P<h>\d{1,2})\s?시(?!간)(?:\s?(?P<mi>\d{1,2})\s?분|\s?(?P<half>반))?"),
    re.compile(r"(?<!\d)(?P<h>\d{1,2})\s?:\s?(?P<mi>\d{2})(?!\d)(?:\s?(?P<ap>[ap]\.?m\b\.?))?"),
    re.compile(r"(?<!\d)(?P<h>\d{1,2})\s?시(?!간)(?:\s?(?P<mi>\d{1,2})\s?분|\s?(?P<half>반))?"),
    re.compile(r"(?<![\d:.])(?P<h>\d{1,2})\s?(?P<ap>[ap]\.?m\b\.?)"),
    re.compile(r"\b(?P<noon>noon|정오|midnight|자정)(?=\b|[가-힣])"),
)  # fmt: skip
_RATE_RES = tuple((name, re.compile(rf"(?<![a-z])(?:{words})(?![a-z])")) for name, words in rows("rates"))
_MAX_AFTER = pattern("max_after", r"\s?(?:씩\s?)?")
_MIN_AFTER = pattern("min_after", r"\s?(?:씩\s?)?")
_MAX_BEFORE = pattern("max_before", after=r"(?: (?:the|a|an|first))?\s*$")
_MIN_BEFORE = pattern("min_before", after=r"(?: (?:the|a|an))?\s*$")
_BEFORE = pattern("before", r"\s?")
_AFTER = pattern("after", r"\s?")
_RANGE = re.compile(r"\s?(?:~|-|–|—|∼|에서|부터|내지|to|and|or|또는)\s?")
_AND_HALF = re.compile(r"\s?반(?![가-힣])|\s?반(?=[이을의입])| and a half")
_ONCE = re.compile(r"(\d\s?(?:일|주|개월|달|년|시간)에 )((?:한|1) ?(?:번|회))")  # every 90 days, said as once in 90
_HALF = re.compile(r"(?<![가-힣])절반|\bhalf (?:of|the|their|its|your)|\bone half\b")


def rates(text: str) -> frozenset[str]:
    """Per what the quantities are: day, week, month, year, person, …"""
    return frozenset(name for name, rate in _RATE_RES if rate.search(text))


def quantities(text: str) -> tuple[Quantity, ...]:
    """In the order of the text, which is folded (NFKC, lower case)."""
    return tuple(quantity for _, quantity in located(text))


def located(text: str) -> list[tuple[int, Quantity]]:
    """(position, quantity) in the order of the text."""
    found: list[tuple[int, Quantity]] = []
    text = _mask(text, _dates(text, found))
    text = _mask(text, _clocks(text, found))
    text = _ONCE.sub(lambda m: m[1] + " " * len(m[2]), text)
    for _, rate in _RATE_RES:
        text = rate.sub(lambda m: " " * len(m[0]), text)
    for match in _HALF.finditer(text):
        found.append((match.start(), Quantity("percent", 50)))
    found += _numbers(text)
    return sorted(found, key=lambda pair: pair[0])


@dataclass(slots=True)
class _Found:
    start: int
    after: int  # behind number and unit
    value: float
    kind: str
    factor: float


def _numbers(text: str) -> Iterator[tuple[int, Quantity]]:
    found = [_with_unit(text, numeral) for numeral in numerals(text)]
    for one, following in pairwise(found):
        between = text[one.after : following.start]
        if not one.kind and following.kind and _RANGE.fullmatch(between):
            one.kind, one.factor = following.kind, following.factor  # 3~5일
    merged: list[_Found] = []
    for one in found:
        before = merged[-1] if merged else None
        if (
            before is not None
            and before.kind == one.kind in ("minute", "month")
            and before.factor > one.factor
            and text[before.after : one.start].strip() in ("", "and")
        ):
            before.value, before.after = before.value + one.value / before.factor, one.after  # 1시간 30분, 1년 6개월
        else:
            merged.append(one)
    for one in merged:
        value = one.value * one.factor
        if one.factor in (12, 60) and _AND_HALF.match(text, one.after):
            value += one.factor / 2
        yield one.start, Quantity(one.kind, round(value, 6), *_placed(text, one))


def _with_unit(text: str, numeral: Numeral) -> _Found:
    if numeral.kind:
        return _Found(numeral.start, numeral.end, numeral.value, numeral.kind, 1)
    before = text[: numeral.start]
    for sign, kind in reversed(_CURRENCY_BEFORE):
        if sign.search(before[-8:]):
            return _Found(numeral.start, numeral.end, numeral.value, kind, 1)
    for unit, kind, factor in _UNIT_RES:
        if match := unit.match(text, numeral.end):
            return _Found(numeral.start, match.end(), numeral.value, kind, factor)
    return _Found(numeral.start, numeral.end, numeral.value, "", 1)


def _placed(text: str, one: _Found) -> tuple[str, str]:
    """(bound, relation). "3일 전까지" says at least, "within 3 days" at most: beside a relation no bound counts."""
    relation = BEFORE if _BEFORE.match(text, one.after) else AFTER if _AFTER.match(text, one.after) else ""
    if relation:
        return "", relation
    head = text[max(0, one.start - 24) : one.start]
    if _MAX_AFTER.match(text, one.after) or _MAX_BEFORE.search(head):
        return MAX, ""
    if _MIN_AFTER.match(text, one.after) or _MIN_BEFORE.search(head):
        return MIN, ""
    return "", ""


def _dates(text: str, found: list[tuple[int, Quantity]]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for date in _DATES:
        for match in date.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in spans):
                continue
            parts = match.groupdict()
            name = parts.get("n") or parts.get("n2") or parts.get("n3")
            year = int(parts.get("y") or parts.get("y2") or 0)
            month = _month(name) if name else int(parts.get("m") or 0)
            day = int(parts.get("d") or 0)
            if month > 12 or day > 31:
                continue
            spans.append(match.span())
            found.append((match.start(), Quantity("date", year * 10_000 + month * 100 + day)))
    return spans


def _month(name: str) -> int:
    return next(number for full, number in _MONTHS.items() if full.startswith(name[:3]))


def _clocks(text: str, found: list[tuple[int, Quantity]]) -> list[tuple[int, int]]:
    """Clock times as minutes of the day; what may be morning or afternoon is of the kind clock12."""
    spans: list[tuple[int, int]] = []
    marker = ""
    for clock in _CLOCKS:
        for match in clock.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in spans):
                continue
            parts = match.groupdict()
            if parts.get("noon"):
                minutes, kind = (720.0 if parts["noon"] in ("noon", "정오") else 0.0), "clock"
            else:
                hour, minute = int(parts["h"]), int(parts.get("mi") or 0) + (30 if parts.get("half") else 0)
                if hour > 24 or minute > 59:
                    continue
                marker = parts.get("ap") or ""
                late = marker in ("오후", "저녁", "밤", "낮") or marker.startswith("p")
                kind = (
                    "clock"
                    if marker or hour > 12 or hour == 0 or (":" in match[0] and match[0][0] == "0")
                    else "clock12"
                )
                hour = hour % 12 + 12 if late and hour <= 12 else hour % 12 if marker and hour == 12 else hour
                minutes = float(hour * 60 + minute)
            spans.append(match.span())
            found.append((match.start(), Quantity(kind, minutes)))
    return spans


def _mask(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


_LOOSE = {frozenset({"day", "ordinal"}), frozenset({"times", "ordinal"}), frozenset({"floor", "ordinal"}),
          frozenset({"month", "ordinal"}), frozenset({"month", "year_of_service"}), frozenset({"count", "times"}),
          frozenset({"day", "night"})}  # fmt: skip
_GENERIC = frozenset({"", "count", "person"})  # said with and without the counted thing


def comparable(one: Quantity, other: Quantity) -> bool:
    """Both measure the same kind of thing, so that other values contradict."""
    a, b = one.kind, other.kind
    return a == b or {a, b} <= {"clock", "clock12"} or {a, b} <= _GENERIC or (a == "") != (b == "") or {a, b} in _LOOSE


def equal(one: Quantity, other: Quantity) -> bool:
    """The same quantity; what only one of them tells (unit, year, half of the day) is no difference."""
    if not comparable(one, other):
        return False
    if {one.bound, other.bound} == {MAX, MIN} or {one.relation, other.relation} == {BEFORE, AFTER}:
        return False
    if one.kind == other.kind == "date":
        return _same_date(int(one.value), int(other.value))
    if "clock12" in (one.kind, other.kind):
        return one.value % 720 == other.value % 720
    return abs(one.value - other.value) < 1e-6 * max(1.0, abs(one.value))


def _same_date(one: int, other: int) -> bool:
    pairs = zip(
        (one // 10_000, one // 100 % 100, one % 100), (other // 10_000, other // 100 % 100, other % 100), strict=True
    )
    shared = [(a, b) for a, b in pairs if a and b]
    return bool(shared) and all(a == b for a, b in shared)
