"""Answers → figures. Pure.

Two answers agree where both state the gold facts, or where neither does and their fact signatures are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from bench.handbook import Question, Verdict, judge
from gateway.facts import same_facts, says


@dataclass(frozen=True, slots=True)
class Asked:
    """One ask and what came back."""

    question: Question  # with the facts that were right then
    repeat: int
    answer: str
    cache: str = ""  # x-ocho-cache; "" for the direct path
    error: str = ""

    @property
    def right(self) -> bool:
        return not self.error and judge(self.question, self.answer) is Verdict.RIGHT


def agree(one: Asked, other: Asked) -> bool:
    """The same facts, by gold where both are right, by signature where both are not."""
    if one.error or other.error:
        return False
    if one.answer == other.answer:
        return True
    if one.right != other.right:
        return False
    return one.right or same_facts(one.answer, other.answer)


def figures(asked: Sequence[Asked]) -> dict[str, Any]:
    """Of one path, over asks between which no document changed."""
    by_question: defaultdict[str, list[Asked]] = defaultdict(list)
    for ask in asked:
        by_question[ask.question.id].append(ask)
    flips = [(a, b) for asks in by_question.values() for a, b in pairwise(asks) if not agree(a, b)]
    most = max(1, sum(len(asks) - 1 for asks in by_question.values()))
    pairs = list(paraphrase_pairs(asked))
    return {
        "tarr_10": share(len({a.answer for a in asks}) == 1 and not asks[0].error for asks in by_question.values()),
        "corrected": share(_corrected(asks) for asks in by_question.values()),
        "tara_10": share(all(agree(asks[0], a) for a in asks[1:]) for asks in by_question.values()),
        "paraphrase_agreement": share(agree(a, b) for a, b in pairs),
        "paraphrase_agreement_by_language": {
            lang: share(agree(a, b) for a, b in pairs if a.question.lang == lang)
            for lang in sorted({ask.question.lang for ask in asked})
        },
        "correct": share(ask.right for ask in asked),
        "correct_best_of": share(any(a.right for a in asks) for asks in by_question.values()),
        "correct_majority": share(2 * sum(a.right for a in asks) > len(asks) for asks in by_question.values()),
        "agreeing_on_wrong": share(agree(a, b) and not a.right for a, b in pairs),
        "flips_per_1000": round(1000 * len(flips) / most, 2),
        "corrections_per_1000": round(1000 * sum(b.right and not a.right for a, b in flips) / most, 2),
        "errors": share(bool(ask.error) for ask in asked),
        "asks": len(asked),
        "pairs": len(pairs),
    }


def _corrected(asks: Sequence[Asked]) -> bool:
    """Other bytes than before, but each time right ones in the place of wrong ones. Not counted as the same bytes."""
    changes = [(a, b) for a, b in pairwise(asks) if a.answer != b.answer]
    return bool(changes) and all(b.right and not a.right for a, b in changes)


def paraphrase_pairs(asked: Iterable[Asked]) -> Iterable[tuple[Asked, Asked]]:
    """Every two wordings of a group, in the same repeat."""
    rounds: defaultdict[tuple[str, int], list[Asked]] = defaultdict(list)
    for ask in asked:
        rounds[ask.question.group, ask.repeat].append(ask)
    for asks in rounds.values():
        yield from combinations(asks, 2)


def after_changes(asked: Sequence[Asked], before: Sequence[Asked], old_facts: dict[str, str]) -> dict[str, Any]:
    """Of asks after documents changed: ``old_facts`` by group.

    Justified: the answer no longer states the old fact. Stale: it came from the cache and is one given before.
    """
    given = {(a.question.id, a.answer) for a in before} | {(a.question.group, a.answer) for a in before}
    changed = [a for a in asked if a.question.group in old_facts]
    stale = [
        a for a in changed
        if a.cache in ("exact", "semantic", "stale", "coalesced") and (a.question.group, a.answer) in given
    ]  # fmt: skip
    return {
        "justified_changes": share(not _states(a.answer, old_facts[a.question.group]) for a in changed),
        "stale_serves": len(stale),
        "changed_asks": len(changed),
        "changed_correct": share(a.right for a in changed),
    }


def _states(answer: str, fact: str) -> bool:
    return says(answer.split("\n\n", 1)[0], fact)


def share(values: Iterable[bool]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else 1.0
