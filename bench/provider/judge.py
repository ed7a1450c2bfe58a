"""One-token verdicts: "same question? Yes or No", as a small model gives them (pure).

Like the measured 1.5B model it leans to Yes; its log-probability margin tells more than its word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from bench.provider.features import features, weight
from bench.provider.logprobs import TokenLogprob
from bench.provider.margins import as_token
from bench.provider.truths import Truths

_LABELLED = re.compile(
    r"^\W*(?:(?:question|질문)\s*[ab12]?|first|second|[ab12])\s*[:.)]\s*(.+)$", re.IGNORECASE | re.MULTILINE
)
_LEAN = 1.0  # towards Yes, in nats
_NOISE = 1.2  # sd of the margin, in nats


def is_verdict(body: Mapping[str, Any], text: str) -> bool:
    """True for a request that wants one token, its logprobs, and says "Yes or No"."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit == 1 and bool(body.get("logprobs")) and "yes or no" in text.lower()


def verdict(text: str, rng: Random, truths: Truths | None = None) -> TokenLogprob:
    """Yes or No on the last two questions of ``text``, with both probabilities; the truth, where it is known."""
    one, other = _two_questions(text)
    if truths is not None and (known := truths.verdict(one, other, rng)) is not None:
        return known
    return as_token(8.0 * (_likeness(one, other) - 0.5) + _LEAN + _NOISE * rng.gauss(0.0, 1.0))


def _two_questions(text: str) -> tuple[str, str]:
    """The last two labelled lines ("A: …", "Question 2: …"), else the last two lines that ask."""
    for found in (
        _LABELLED.findall(text),
        [line for line in text.splitlines() if "?" in line and "yes or no" not in line.lower()],
    ):
        asked = [line.strip() for line in found if "yes or no" not in line.lower()]
        if len(asked) >= 2:
            return asked[-2], asked[-1]
    return text, ""


def _likeness(left: str, right: str) -> float:
    """Weighted Dice coefficient of the features, in [0, 1]."""
    a, b = features(left), features(right)
    both, total = sum(map(weight, a & b)), sum(map(weight, a)) + sum(map(weight, b))
    return 2 * both / total if total else 0.0
