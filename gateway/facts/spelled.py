"""Whether a text says a fact in so many words, as labelled questions have it. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache


def says(text: str, fact: str) -> bool:
    """Blanks and case do not count. A number at either end of ``fact`` is a whole number: 11% does not say 1%."""
    return bool(_pattern(fact).search(unicodedata.normalize("NFC", text)))


@lru_cache(maxsize=10_000)
def _pattern(fact: str) -> re.Pattern[str]:
    letters = re.sub(r"\s+", "", unicodedata.normalize("NFC", fact))
    begin = r"(?<!\d)(?<!\d[.,])" if letters[:1].isdigit() else ""
    end = r"(?!\d)(?![.,]\d)" if letters[-1:].isdigit() else ""
    return re.compile(begin + r"\s*".join(map(re.escape, letters)) + end, re.IGNORECASE)
