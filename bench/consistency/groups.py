"""What is asked: groups of rephrasings that have one answer, the documents it stands in, and how they change."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench import handbook
from bench.corpora import CORPORA, NOT_DOCUMENTS
from bench.handbook import Question

_KOREAN = re.compile(r"[가-힣]")
T = TypeVar("T")
_NUMBER = re.compile(r"\d[\d,]*")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Questions in groups and a folder with the documents that answer them."""

    name: str
    groups: dict[str, list[Question]]
    documents: Path

    @property
    def questions(self) -> list[Question]:
        return [question for group in self.groups.values() for question in group]


@dataclass(frozen=True, slots=True)
class Change:
    """One document's fact and what it became."""

    group: str
    path: Path
    old: str
    new: str


def shipped_corpus(name: str, work: Path, count: int, rng: random.Random) -> Corpus:
    """A copy of one of ``CORPORA``: groups of at least two wordings, Korean and English in their proportion."""
    documents, shipped = work / "documents", CORPORA[name]
    shutil.copytree(shipped.documents, documents, ignore=shutil.ignore_patterns(*NOT_DOCUMENTS))
    groups: defaultdict[str, list[Question]] = defaultdict(list)
    for question in handbook.load(shipped.questions):
        groups[question.group].append(question)
    return Corpus(name, _chosen({g: q for g, q in groups.items() if len(q) > 1}, count, rng), documents)


def labelled_corpus(path: Path, work: Path, count: int, rng: random.Random) -> Corpus:
    """Labelled rephrasings (``{"q", "g"}`` a line) over documents that are made for them.

    The first wording of each group becomes an entry of a FAQ with an answer that holds a number of its own; the other
    wordings (eight at most) are asked. Gold fact: that number.
    """
    wordings: defaultdict[str, list[str]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        wordings[str(row["g"])].append(str(row["q"]))
    chosen = _chosen({g: texts for g, texts in wordings.items() if len(texts) > 2}, count, rng)
    numbers = rng.sample(range(1_000, 9_999), len(chosen))
    documents = work / "documents" / "faq"
    documents.mkdir(parents=True)
    groups: dict[str, list[Question]] = {}
    for (group, texts), number in zip(chosen.items(), numbers, strict=True):
        korean = bool(_KOREAN.search(texts[0]))
        fact = f"{texts[0].rstrip('?.! ')} 문의의 처리 번호는 {number}번이다." if korean else (
            f"The reference number for the question whether {texts[0].rstrip('?.! ')} is {number}.")  # fmt: skip
        (documents / f"{group}.md").write_text(f"# {texts[0]}\n\n{fact}\n", encoding="utf-8")
        lang = "ko" if korean else "en"
        asked = rng.sample(texts[1:], min(8, len(texts) - 1))
        groups[group] = [
            Question(f"{group}-{n}", group, lang, text, ((str(number),),), (), f"faq/{group}.md", "rephrase")
            for n, text in enumerate(asked, start=1)
        ]  # fmt: skip
    return Corpus(path.stem, groups, work / "documents")


def changes(corpus: Corpus, count: int, rng: random.Random) -> Iterator[Change]:
    """Facts to change: a number that is the gold fact of a group and stands once, in one document."""
    used: set[Path] = set()
    groups = sorted(corpus.groups)
    rng.shuffle(groups)
    for group in groups:
        question = corpus.groups[group][0]
        if len(used) == count:
            return
        path = corpus.documents / (question.document or "")
        if question.document is None or path in used or len(question.facts) != 1:
            continue
        text = path.read_text(encoding="utf-8")
        old = next((s for s in question.facts[0] if _NUMBER.search(s) and text.count(s) == 1), None)
        if old is None:
            continue
        new = _NUMBER.sub(lambda found: _other(found[0]), old, count=1)
        if new not in text:
            used.add(path)
            yield Change(group, path, old, new)


def apply(corpus: Corpus, change: Change) -> Corpus:
    """Write the document as changed; the corpus with the gold facts that are right from now on."""
    text = change.path.read_text(encoding="utf-8")
    change.path.write_text(text.replace(change.old, change.new), encoding="utf-8")
    after = [replace(q, facts=((change.new,),), wrong_facts=(change.old,)) for q in corpus.groups[change.group]]
    return replace(corpus, groups={**corpus.groups, change.group: after})


def _other(number: str) -> str:
    digits = number.replace(",", "")
    other = str(int(digits) + 10 ** (len(digits) - len(digits.rstrip("0"))) * 3)
    return f"{int(other):,}" if "," in number else other


def _chosen(groups: dict[str, list[T]], count: int, rng: random.Random) -> dict[str, list[T]]:
    names: Sequence[str] = sorted(groups)
    return {name: groups[name] for name in (rng.sample(names, count) if 0 < count < len(names) else names)}
