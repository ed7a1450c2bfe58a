"""The sample questions, and whether an answer to one is right. Pure but for reading the files."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from openai.types.chat import ChatCompletionMessageParam

from gateway.facts import says

FOLDER = Path(__file__).parents[1] / "examples" / "handbook"
QUESTIONS = FOLDER / "questions.jsonl"
FOLLOW_UPS = Path(__file__).parent / "data" / "handbook_follow_ups.jsonl"  # over the same documents


@dataclass(frozen=True, slots=True)
class Question:
    id: str
    group: str  # questions of one group have the same answer
    lang: str
    text: str
    facts: tuple[tuple[str, ...], ...]  # all of them must be in the answer, each in any of its spellings
    wrong_facts: tuple[str, ...]  # facts of a sibling question: in the first paragraph they show a mix-up
    document: str | None  # None: the handbook does not answer this
    kind: str  # plain, rephrase, trap, unanswerable, follow_up
    turns: tuple[tuple[str, str], ...] = ()  # what was said before: (role, text)

    @property
    def messages(self) -> list[ChatCompletionMessageParam]:
        """The conversation as it is sent."""
        said = [*self.turns, ("user", self.text)]
        return [cast(ChatCompletionMessageParam, {"role": role, "content": text}) for role, text in said]


class Verdict(StrEnum):
    RIGHT = "right"
    WRONG = "wrong"
    REFUSED = "refused"  # said it cannot answer; for an unanswerable question that is right


class BadQuestions(ValueError):
    """A file of questions cannot be read; the message names the line."""


def load(path: Path = QUESTIONS) -> list[Question]:
    """One JSON object a line. Needed: ``q`` and ``facts``, each fact one spelling or a list of them; the rest has
    defaults: every question its own ``group``, answerable where it has facts. Raises BadQuestions."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadQuestions(f"cannot read {path}: {error}") from error
    found: list[Question] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_question(json.loads(line), str(number)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadQuestions(
                    f"{path.name}, line {number}: {type(error).__name__}: {error}; expected an object such as "
                    '{"q": "…?", "facts": [["16일", "16 days"]], "wrong_facts": ["13일"], "group": "leave"}'
                ) from error
    return found


def _question(row: Mapping[str, Any], number: str) -> Question:
    facts = [[fact] if isinstance(fact, str) else fact for fact in row["facts"]]
    name = str(row.get("id", number))
    document = row.get("doc", "documents" if facts else None)  # which one is not told
    text = str(row["q"])
    return Question(
        id=name,
        group=str(row.get("group", name)),
        lang=str(row.get("lang") or ("ko" if re.search("[가-힣]", text) else "en")),
        text=text,
        facts=tuple(tuple(map(str, spellings)) for spellings in facts),
        wrong_facts=tuple(map(str, row.get("wrong_facts") or ())),
        document=str(document) if document else None,
        kind=str(row.get("kind", "plain")),
        turns=tuple((str(turn["role"]), str(turn["content"])) for turn in row.get("turns") or ()),
    )


_REFUSAL = re.compile(
    r"찾을 수 없|찾지 못|없습니다\.?\s*$|나와 ?있지 않|포함되어 ?있지 않|확인할 수 없|확인되지 않"
    r"|답변(?:을)? ?드릴 수 없|도와드릴 수 없|죄송"
    r"|do(?:es)? not contain|not (?:in|mentioned|found|specified|provided)|no information"
    r"|cannot (?:help|answer)|can't|unable to|sorry",
    re.IGNORECASE,
)


def judge(question: Question, answer: str) -> Verdict:
    """Right: every gold fact is there and the first paragraph states no sibling's. As ``gateway.facts.says`` has it."""
    lead = answer.strip().split("\n\n", 1)[0]
    refused = bool(_REFUSAL.search(lead))
    if question.document is None:
        return Verdict.RIGHT if refused else Verdict.WRONG
    complete = all(any(says(answer, spelling) for spelling in spellings) for spellings in question.facts)
    mixed_up = any(says(lead, wrong) for wrong in question.wrong_facts)
    if complete and not mixed_up:
        return Verdict.RIGHT
    return Verdict.REFUSED if refused and not mixed_up else Verdict.WRONG


def agreement(answers: Iterable[tuple[str, str]]) -> float:
    """Share of pairs of answers within one group that state the same facts. ``answers``: (group, answer) pairs.

    Facts compared: the numbers of the first paragraph, and whether it is a refusal. 1.0 where there is no pair.
    """
    groups: defaultdict[str, list[tuple[frozenset[str], bool]]] = defaultdict(list)
    for group, answer in answers:
        groups[group].append(_stated(answer))
    pairs = [one == other for stated in groups.values() for one, other in combinations(stated, 2)]
    return sum(pairs) / len(pairs) if pairs else 1.0


def _stated(answer: str) -> tuple[frozenset[str], bool]:
    lead = re.sub(r"\[doc\d+\]", "", answer.strip().split("\n\n", 1)[0])
    numbers = frozenset(n.replace(",", "") for n in re.findall(r"\d+(?:[.,]\d+)*", lead))
    return numbers, bool(_REFUSAL.search(lead))
