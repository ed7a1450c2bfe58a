"""What the stand-in knows about questions because a bench or a test told it: which are one, what follow-ups mean, what
answers them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bench.provider.logprobs import TokenLogprob
from bench.provider.margins import as_token

_ASKED = re.compile(r"^Follow-up: (.+)$", re.MULTILINE)
_BEFORE = re.compile(r"^Earlier question: (.+)$", re.MULTILINE)
SURE = (5.0, 1.2)  # mean and sd of a judge's margin, in nats, on questions whose meaning it knows


@dataclass(frozen=True, slots=True)
class Gold:
    """What answers a question. ``facts``: all of them, each in any of its spellings; none: no document answers it."""

    facts: tuple[tuple[str, ...], ...]
    wrong_facts: tuple[str, ...] = ()  # of its siblings
    document: str = ""  # where it stands; "" where that is not known

    def stands_in(self, text: str, siblings_too: bool = False) -> bool:
        """All its facts do, and none of a sibling's unless ``siblings_too``."""
        said = bare(text)
        stated = all(any(bare(spelling) in said for spelling in spellings) for spellings in self.facts)
        return bool(self.facts) and stated and (siblings_too or not any(bare(w) in said for w in self.wrong_facts))


@dataclass(frozen=True, slots=True)
class Truths:
    """``meanings``: question → label; two questions with one label ask the same. ``noise``: share of verdicts that
    are the opposite of the truth. ``rewrites``: follow-up → the question it stands for; its key is the follow-up, or
    the question before it, a line break and the follow-up. ``answers``: question → what answers it. Keys as
    ``squeezed``."""

    meanings: Mapping[str, str] = field(default_factory=dict)
    rewrites: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Gold] = field(default_factory=dict)
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must be from 0 to 1, got {self.noise}")

    def verdict(self, one: str, other: str, rng: Random) -> TokenLogprob | None:
        """Yes or No with its probabilities; None where a question is not known."""
        labels = [self.meanings.get(squeezed(text)) for text in (one, other)]
        if None in labels:
            return None
        right = rng.random() >= self.noise
        size = abs(rng.gauss(*SURE))
        return as_token(size if (labels[0] == labels[1]) == right else -size)

    def rewriting(self, text: str) -> str | None:
        """The stand-alone question, or the follow-up itself where it is not known; None where none is asked for."""
        if "stand-alone question" not in text or not (asked := _ASKED.findall(text)):
            return None
        follow_up, before = str(asked[-1]), _BEFORE.findall(text)
        return self.stands_for(str(before[-1]) if before else "", follow_up) or follow_up

    def stands_for(self, earlier: str, follow_up: str) -> str | None:
        """The stand-alone question that ``follow_up`` asks after ``earlier``; None where it is not known."""
        key = squeezed(follow_up)
        return self.rewrites.get(f"{squeezed(earlier)}\n{key}") or self.rewrites.get(key)

    def gold(self, question: str) -> Gold | None:
        return self.answers.get(squeezed(question))


def squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()


def bare(text: str) -> str:
    """For comparing facts: without blanks, case and ways of encoding Hangul."""
    return "".join(unicodedata.normalize("NFC", text).split()).casefold()


def read_rewrites(files: Iterable[Path]) -> dict[str, str]:
    """From files of questions: those with earlier ``turns`` and what they stand for (``means``)."""
    found: dict[str, str] = {}
    for _, row in _rows(files):
        if row.get("turns") and row.get("means"):
            earlier = [turn["content"] for turn in row["turns"] if turn["role"] == "user"]
            found[f"{squeezed(earlier[-1] if earlier else '')}\n{squeezed(row['q'])}"] = str(row["means"])
    return found


def read_answers(files: Iterable[Path]) -> dict[str, Gold]:
    """From files of questions with ``facts``; a follow-up's are those of the question it stands for."""
    found: dict[str, Gold] = {}
    for _, row in _rows(files):
        if isinstance(row.get("facts"), list):
            facts = [[fact] if isinstance(fact, str) else fact for fact in row["facts"]]
            gold = Gold(tuple(tuple(map(str, f)) for f in facts), tuple(row.get("wrong_facts") or ()),
                        str(row.get("doc") or ""))  # fmt: skip
            found[squeezed(str(row.get("means") or row["q"]))] = gold
    return found


def read_meanings(files: Iterable[Path]) -> dict[str, str]:
    """From ``*_groups.jsonl`` (``q``, ``g``) files, and from files of questions (``q``, ``group``)."""
    found = {}
    for path, row in _rows(files):
        group = row.get("g", row.get("group"))
        if group is not None and "q" in row and not row.get("turns"):
            found[squeezed(row["q"])] = f"{path.name}:{group}"
    return found


def _rows(files: Iterable[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield path, json.loads(line)
