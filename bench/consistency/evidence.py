"""Do rephrasings find the same passages? Read from the prompts that reach the provider, apart from what it answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from bench.consistency.figures import share
from bench.handbook import Question
from bench.provider import Call
from bench.provider.passages import Passage, read_prompt


def passages_of(call: Call) -> tuple[str, tuple[Passage, ...]]:
    """(question, passages in the order of the prompt)."""
    prompt = read_prompt(call.body.get("messages") or ())
    return prompt.question, prompt.passages


def evidence_figures(questions: Sequence[Question], found: Mapping[str, tuple[Passage, ...]]) -> dict[str, Any]:
    """Per language: mean Jaccard of the passages of two wordings, shares with the same set, and in the same order."""
    groups: defaultdict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for question in questions:
        if question.text in found:
            groups[question.lang, question.group].append(tuple(f"{p.title}\n{p.text}" for p in found[question.text]))
    figures = {}
    for lang in sorted({lang for lang, _ in groups}):
        pairs = [pair for (l, _), sets in groups.items() if l == lang for pair in combinations(sets, 2)]  # noqa: E741
        overlaps = [len({*a} & {*b}) / (len({*a} | {*b}) or 1) for a, b in pairs]
        same_set = [(a, b) for a, b in pairs if {*a} == {*b}]
        figures[lang] = {
            "pairs": len(pairs),
            "jaccard": round(sum(overlaps) / (len(overlaps) or 1), 4),
            "identical_set": share({*a} == {*b} for a, b in pairs),
            "same_order_when_same_set": share(a == b for a, b in same_set),
            "same_best_document": share(bool({*a} & {*b}) for a, b in pairs),
        }
    return figures
