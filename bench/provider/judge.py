"""One-token verdicts: "same question? Yes or No" and "does this passage answer?", as a small model gives them (pure).

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
from bench.provider.ranking import ENOUGH
from bench.provider.truths import Truths

_LABELLED = re.compile(
    r"^\W*(?:(?:question|질문)\s*[ab12]?|first|second|[ab12])\s*[:.)]\s*(.+)$", re.IGNORECASE | re.MULTILINE
)
_PASSAGE = re.compile(
    r"^Passage of (?P<passage>.+?)\n\n(?:Earlier question: (?P<earlier>[^\n]+)\n)?"
    r"Question: (?P<question>[^\n]+)\n\nDoes this passage",
    re.DOTALL,
)
# Margins of a real 1.5B model, in nats: of passages that state what is asked for, of the nearest that do not (means;
# standard deviation of both). Measured 1.42 (sd 0.54, 13 passages), and 0.59 and -0.10 (0.49 and 0.33, 12 and 11).
_STATES, _DOES_NOT, _SPREAD = 1.4, 0.35, 0.55
_LEAN = 1.0  # towards Yes, in nats
_NOISE = 1.2  # sd of the margin, in nats


def is_verdict(body: Mapping[str, Any], text: str) -> bool:
    """True for a request that wants one token, its logprobs, and says "Yes or No"."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return limit == 1 and bool(body.get("logprobs")) and "yes or no" in text.lower()


def verdict(text: str, rng: Random, truths: Truths | None = None) -> TokenLogprob:
    """Yes or No with both probabilities, on a passage or on the last two questions of ``text``; the truth, where it is
    known."""
    if (asked := _PASSAGE.search(text)) is not None:
        return _answerable(asked["question"], asked["earlier"] or "", asked["passage"], truths)
    one, other = _two_questions(text)
    if truths is not None and (known := truths.verdict(one, other, rng)) is not None:
        return known
    return as_token(8.0 * (_likeness(one, other) - 0.5) + _LEAN + _NOISE * rng.gauss(0.0, 1.0))


def _answerable(question: str, earlier: str, passage: str, truths: Truths | None) -> TokenLogprob:
    """A model asked at temperature 0 about the same passage says the same."""
    question = (truths.stands_for(earlier, question) if truths is not None else None) or question
    gold = truths.gold(question) if truths is not None else None
    if gold is not None:
        states = gold.stands_in(passage, siblings_too=True) and gold.document in passage.split("\n", 1)[0]
    else:
        wanted = features(question)
        states = sum(map(weight, wanted & features(passage))) >= ENOUGH * sum(map(weight, wanted))
    return as_token((_STATES if states else _DOES_NOT) + _SPREAD * Random(f"{question} {passage}").gauss(0.0, 1.0))


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
