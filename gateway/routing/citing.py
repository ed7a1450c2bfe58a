"""The passages that a draft without citations rests on, cited for it. Pure.

Small models leave out the marks that the gate asks for. Where every sentence is borne out by a line of one passage,
and clearly by no other, the mark is put where the model would have put it; else the draft stays as it is, for the gate
to veto.
"""

from __future__ import annotations

import re

from gateway.chat import Evidence, Passage
from gateway.facts import Verdict, compare, signature, unsupported
from gateway.routing.gate import CITATION, Unit, features, nearest, normal, numbers_in, sentences, share, units, whole
from gateway.routing.rivals import said_better

ENOUGH = 0.7  # share of a sentence that the line, the headings above it and the question must say
CLEAR = 0.2  # so much less must each line of another passage say
_END = re.compile(r"[\s.!?。]*$")


def with_citations(text: str, question: str, evidence: Evidence) -> str | None:
    """``text`` with ``[docN]`` at the end of each sentence. None where it has citations of its own, where a sentence
    is supported by no passage or by several, or where another line answers better."""
    text = normal(text)
    if CITATION.search(text) or said_better(question, text, evidence):
        return None
    marked, at = "", 0
    for sentence in sentences(text):
        number, start = _source(sentence, question, evidence), text.find(sentence, at)
        if number is None or start < 0:
            return None
        said = _END.sub("", sentence)
        marked += f"{text[at:start]}{said} [doc{number}]{sentence[len(said) :]}"
        at = start + len(sentence)
    return marked or None


def _source(sentence: str, question: str, evidence: Evidence) -> int | None:
    """The number of the one passage that supports it."""
    shares = [max(_support(sentence, question, u, p) for u in units(p)) for p in evidence.passages]
    best = max(shares, default=0.0)
    near = [number for number, found in enumerate(shares, start=1) if found > best - CLEAR]
    if best < ENOUGH or len(near) != 1 or _of_another(sentence, question, near[0], evidence):
        return None
    return None if _of_another_line(sentence, question, evidence.passages[near[0] - 1]) else near[0]


def _support(sentence: str, question: str, unit: Unit, passage: Passage) -> float:
    """How much of the sentence the line says. 0 where that is too little to matter, where the line does not state its
    facts or speaks against them, or where only the question is said again."""
    said, asked, line = features(sentence), features(normal(question)), unit.features | unit.around
    found = share(said, line | asked)
    if found <= ENOUGH - CLEAR or not (said - asked) & line:
        return 0.0
    if not numbers_in(sentence) <= numbers_in(unit.text) | unit.heading_numbers | numbers_in(question):
        return 0.0
    if unsupported(sentence, (unit.text, f"{passage.title} {passage.section}"), question):
        return 0.0
    return 0.0 if compare(signature(sentence), signature(unit.text)).verdict is Verdict.DIFFERENT else found


def _of_another(sentence: str, question: str, number: int, evidence: Evidence) -> bool:
    """A word that was asked for and is answered with stands in another passage and nowhere in this one: its line may be
    about something else."""
    own = evidence.passages[number - 1]
    foreign = (features(sentence) & features(normal(question))) - features(whole(own))
    return any(foreign & features(whole(passage)) for passage in evidence.passages)


def _of_another_line(sentence: str, question: str, passage: Passage) -> bool:
    """The line that says most of it states other numbers: its own is the answer to another question."""
    stated, nearest_line = numbers_in(sentence) - numbers_in(question), nearest(features(sentence), [passage])
    numbers = numbers_in(nearest_line.text)
    return bool(stated and numbers) and not stated & numbers
