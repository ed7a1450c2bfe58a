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
CLEAR = 0.2  # so much less must each line of another passage say by itself
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
    found = [_best(sentence, question, passage) for passage in evidence.passages]
    enough = [(own, number) for number, (support, own) in enumerate(found, start=1) if support >= ENOUGH]
    if not enough:
        return None
    best, number = max(enough)
    clear = all(
        own <= best - CLEAR for support, own in found[: number - 1] + found[number:] if support > ENOUGH - CLEAR
    )
    if not clear or _of_another(sentence, question, number, evidence):
        return None
    return None if _of_another_line(sentence, question, evidence.passages[number - 1]) else number


def _best(sentence: str, question: str, passage: Passage) -> tuple[float, float]:
    """Of the line that supports it most: how much it says of the sentence with the question's help, and without."""
    said = features(sentence)
    return max((_support(sentence, question, u, passage), share(said, u.features | u.around)) for u in units(passage))


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
