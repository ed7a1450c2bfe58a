"""Making an answer wrong the way models do (pure): another number, the opposite word."""

from __future__ import annotations

import re
from random import Random

_NUMBER = re.compile(r"(?<![\d.,A-Za-z])(?<!\[doc)\d[\d,]*(?:\.\d+)?")
_YEARS = range(1990, 2100)
# Only used where a statement has no number. Each is replaced by its twin.
_TWINS = (
    *(
        ("있다", "없다"),
        ("있습니다", "없습니다"),
        ("가능", "불가능"),
        ("필수", "선택"),
        ("이상", "이하"),
        ("이전", "이후"),
    ),
    *(("본부장", "팀장"), ("팀장", "본부장"), ("해야", "하지 않아도"), ("인사팀", "재무팀"), ("재무팀", "총무팀")),
    *((" not ", " "), ("required", "optional"), ("before", "after"), ("above", "below"), ("must", "need not")),
    *(("manager", "director"), ("can ", "cannot "), (" is ", " is not "), (" are ", " are not ")),
)


def wrong_version(statement: str, question: str, rng: Random) -> tuple[str, str] | None:
    """What to replace by what; None: nothing in ``statement`` can be changed.

    Prefers a number that the question does not say: the fact that was asked for.
    """
    numbers = [match.group().rstrip(",") for match in _NUMBER.finditer(statement)]
    if numbers:
        asked_for = [number for number in numbers if number not in question]
        right = rng.choice(asked_for or numbers)
        return right, _other_number(right, rng)
    for right, wrong in _TWINS:
        if right in statement:
            return right, wrong
    return None


def replace_fact(text: str, right: str, wrong: str) -> str:
    """``right`` becomes ``wrong`` wherever `fact_pattern` finds it; citations stay."""
    return fact_pattern(right).sub(wrong, text)


def fact_pattern(fact: str) -> re.Pattern[str]:
    """Finds ``fact`` in a text: as a whole number, or as any substring."""
    if fact[:1].isdigit():
        return re.compile(rf"(?<![\d.,])(?<!\[doc){re.escape(fact)}(?!\d|[.,]\d)")
    return re.compile(re.escape(fact))


def _other_number(number: str, rng: Random) -> str:
    """A different number of the same look and size: commas, decimals and trailing zeros are kept."""
    whole, point, decimals = number.partition(".")
    if point:
        return f"{int(whole.replace(',', '')) + rng.choice((1, 2))}.{decimals}"
    value = int(whole.replace(",", ""))
    digits = str(value)
    unit = 1 if value in _YEARS else 10 ** (len(digits) - len(digits.rstrip("0"))) if value else 1
    other = value + unit * rng.choice((-2, -1, 1, 2, 3, 5))
    if other <= 0:
        other = value + unit * rng.choice((1, 2, 3))
    return f"{other:,}" if "," in whole else str(other).zfill(len(whole))
