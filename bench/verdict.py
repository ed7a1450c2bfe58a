"""The judge's prompt and what counts in its reply (pure): does a kept answer answer another question too?

What counts is not the word but its margin, log p(Yes) - log p(No): measured, a 1.5B model says Yes to nearly every
trap, and its margin still tells them from paraphrases better than any similarity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gateway.chat import Answer

TOP = 5  # alternatives asked for: Yes and No in their spellings
MOST_ANSWER = 600  # characters of the kept answer in the prompt
MOST_QUESTION = 400
YES = frozenset({"yes", "y", "예", "네"})
NO = frozenset({"no", "n", "아니", "아니요", "아니오"})


def margin(answer: Answer) -> float | None:
    """log p(Yes) - log p(No) of the first token, in nats; None where it is not known.

    A word outside the alternatives has at most the probability of the least of them: that is what it gets, so that the
    margin is never larger than the truth where Yes leads.
    """
    given = (answer.choices[0].get("logprobs") or {}).get("content") if answer.choices else None
    first = given[0] if isinstance(given, list) and given and isinstance(given[0], Mapping) else {}
    top = [t for t in first.get("top_logprobs") or () if isinstance(t, Mapping)]
    pairs = [(_word(t.get("token")), float(t["logprob"])) for t in top if isinstance(t.get("logprob"), int | float)]
    yes, no = _sum([p for word, p in pairs if word in YES]), _sum([p for word, p in pairs if word in NO])
    if yes is None and no is None:
        return None
    least = min(p for _, p in pairs)
    return (least if yes is None else yes) - (least if no is None else no)


def _word(token: object) -> str:
    return str(token).strip().strip("▁Ġ.").lower()


def _sum(logprobs: Sequence[float]) -> float | None:
    return math.log(sum(map(math.exp, logprobs))) if logprobs else None


def prompt(asked: str, kept: str, answer: str) -> list[dict[str, str]]:
    """One message. ``asked`` comes last; whatever it says stays inside its line."""
    lines = [EXAMPLES, ""]
    lines += [f"Kept answer: {_line(answer, MOST_ANSWER)}"] if answer else []
    lines += [f"Question A: {_line(kept, MOST_QUESTION)}", f"Question B: {_line(asked, MOST_QUESTION)}", TASK]
    return [{"role": "user", "content": "\n".join(lines)}]


def _line(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


TASK = (
    "Do A and B ask for exactly the same thing, so that the kept answer to A is right and complete for B? "
    "Answer with one word, Yes or No:"
)
EXAMPLES = """\
Company chatbot. Same: other words, same facts wanted. Not the same: another person, number, date, amount, product, \
action, direction or negation.

A: 연차는 며칠 전에 신청해야 하나요? B: 휴가 쓰려면 며칠 전까지 올려야 해요? → Yes
A: 정규직 연차는 며칠인가요? B: 계약직 연차는 며칠인가요? → No
A: How do I reset my password? B: I forgot my password, what do I do? → Yes
A: Which plans include roaming? B: Which plans don't include roaming? → No"""
