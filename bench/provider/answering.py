"""Composing an answer: the statement that answers, cited, then talk to the wanted length; with faults (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random

from bench.provider.config import Faults
from bench.provider.features import is_korean
from bench.provider.mistakes import replace_fact, wrong_version
from bench.provider.passages import Prompt
from bench.provider.phrases import Wording, polite, wording
from bench.provider.ranking import ENOUGH, Ranked, rank
from bench.provider.records import Fault
from bench.provider.statements import Statement
from bench.provider.taking import STEADY_SHARE, Taken, taken
from bench.provider.tokens import count_tokens, tokenize
from bench.provider.truths import Gold

TOPIC_WORDS = 4
PARAGRAPH_SENTENCES = 3
_ASKING = re.compile(
    r"며칠|얼마|무엇|언제|어디|어떻|누가|누구|인가요|나요|까요|주세요|알려|뭐|^몇$|^줘$"
    r"|^(?:what|when|where|which|who|why|how|does|can|are|is|much|many|please|should)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Composed:
    """An answer and the truth about it."""

    text: str
    fault: Fault = Fault.NONE
    doubtful: tuple[str, ...] = ()  # what a model would be unsure of: changed numbers, made-up claims
    truth: str = ""  # the statement that a faultless answer rests on; "" when there is none
    source: str = ""  # "doc3": what the text cites first


def compose(
    prompt: Prompt, rng: Random, faults: Faults, length: int, *, steady: bool, gold: Gold | None = None
) -> Composed:
    """Answer ``prompt`` in about ``length`` tokens, or in as many sentences as it asks for.

    ``steady``: the caller asked for repeatable answers, so the wording mostly repeats. ``gold``: what answers it, where
    that is known; else the statement with most words in common is taken for it.
    """
    words = wording(is_korean(prompt.question))
    fault, choice = _draw_fault(faults, rng), rng.random()
    if not faults.phrasings or (steady and rng.random() < STEADY_SHARE):
        choice = 0.0
    if not prompt.grounded:
        return Composed(_generic(prompt, words, choice, length))
    ranked = rank(prompt)
    found = _by_words(ranked) if gold is None else taken(prompt, ranked, gold, faults, rng, steady=steady)
    if not found.statements:
        return Composed(words.not_found)
    return _from_passages(prompt, found, fault, words, choice, rng, length)


def _by_words(ranked: Sequence[Ranked]) -> Taken:
    return Taken(ranked if ranked and ranked[0].coverage >= ENOUGH else ())


def topic_of(question: str) -> str:
    """The longest words of the question, in its order."""
    candidates = [word for raw in question.split() if not _ASKING.search(word := raw.strip("?!.,:;\"'()"))]
    longest = sorted({word for word in candidates if len(word) > 1}, key=lambda word: (-len(word), word))[:TOPIC_WORDS]
    return " ".join(dict.fromkeys(word for word in candidates if word in longest)) or question.strip() or "this"


def _draw_fault(faults: Faults, rng: Random) -> Fault:
    dice = rng.random()
    for fault, rate in (
        (Fault.WRONG_FACT, faults.wrong_fact_rate),
        (Fault.WRONG_PASSAGE, faults.wrong_passage_rate),
        (Fault.REFUSAL, faults.refusal_rate),
        (Fault.UNSUPPORTED, faults.unsupported_rate),
    ):
        if dice < rate:
            return fault
        dice -= rate
    return Fault.NONE


def _from_passages(
    prompt: Prompt, found: Taken, fault: Fault, words: Wording, choice: float, rng: Random, length: int
) -> Composed:
    ranked = found.statements
    best = ranked[0].statement
    truth = "" if found.amiss else best.text
    if fault is Fault.REFUSAL:
        return Composed(words.not_found, fault, truth=truth)
    others = [other.statement for other in ranked if other.statement.passage != best.passage]
    if fault is Fault.WRONG_PASSAGE:
        if not others:
            fault = Fault.NONE
        else:
            best = others[0]
    claim = rng.choice(words.claims) if fault is Fault.UNSUPPORTED else ""
    template = words.direct[int(choice * len(words.direct))]
    opening = [template.format(fact=_said(best, claim if prompt.max_sentences == 1 else ""))]
    if claim and prompt.max_sentences != 1:
        opening.append(f"{claim[0].upper()}{claim[1:]} [{best.passage}].")
    rest = (s for s in chain((r.statement for r in ranked if r.statement.passage == best.passage), others) if s != best)
    text = _lengthened(opening, best, rest, prompt, words, rng, length)
    composed = Composed(text, fault, (claim,) if claim else (), truth, best.passage)
    if fault is Fault.WRONG_PASSAGE or (found.amiss and fault in (Fault.NONE, Fault.UNSUPPORTED)):
        return replace(composed, doubtful=(_quoted(best), *composed.doubtful))
    if fault is Fault.WRONG_FACT:
        return _with_wrong_fact(composed, _quoted(best), prompt.question, rng)
    return composed


def _with_wrong_fact(composed: Composed, statement: str, question: str, rng: Random) -> Composed:
    if (change := wrong_version(statement, question, rng)) is None:
        return replace(composed, fault=Fault.NONE)
    right, wrong = change
    return replace(composed, text=replace_fact(composed.text, right, wrong), doubtful=(wrong.strip(),))


def _quoted(statement: Statement) -> str:
    return polite(statement.text) if is_korean(statement.text) else statement.text


def _said(statement: Statement, claim: str = "") -> str:
    """The statement as an answer says it, with its citation and without a full stop."""
    return f"{_quoted(statement)}{', ' + claim if claim else ''} [{statement.passage}]"


def _lengthened(
    opening: list[str],
    best: Statement,
    rest: Iterator[Statement],
    prompt: Prompt,
    words: Wording,
    rng: Random,
    length: int,
) -> str:
    """The opening paragraph, and after a blank line as much talk as asked for."""
    direct = " ".join(opening)
    more = chain(
        (f"{rng.choice(words.more)}{_said(statement)}." for statement in rest), _stock(words, prompt, best, rng)
    )
    if (limit := prompt.max_sentences) is not None:
        extra = [next(more) for _ in range(max(0, limit - len(opening)) if limit > 2 else 0)]
        return ("\n\n" if prompt.lead_apart else " ").join(filter(None, (direct, " ".join(extra))))
    return _padded(direct, more, length)


def _padded(direct: str, more: Iterator[str], length: int) -> str:
    """``direct``, then paragraphs of ``more`` until about ``length`` tokens; the error has mean zero."""
    used = count_tokens(direct)
    body: list[str] = []
    for sentence in more:
        cost = count_tokens(sentence) + 1
        if used + cost / 2 >= length:
            break
        used += cost
        body.append(sentence)
    paragraphs = [" ".join(body[i : i + PARAGRAPH_SENTENCES]) for i in range(0, len(body), PARAGRAPH_SENTENCES)]
    return "\n\n".join([direct, *paragraphs])


def _stock(words: Wording, prompt: Prompt, best: Statement | None, rng: Random) -> Iterator[str]:
    """Endless talk: the stock sentences in a drawn order, then the fact again, and so on."""
    topic = topic_of(prompt.question)
    while True:
        for sentence in rng.sample(words.stock, len(words.stock)):
            yield sentence.format(topic=topic)
        if best is not None:
            yield words.again.format(fact=_said(best))


def _generic(prompt: Prompt, words: Wording, choice: float, length: int) -> str:
    direct = words.general[int(choice * len(words.general))].format(topic=topic_of(prompt.question))
    if prompt.max_sentences is not None and prompt.max_sentences <= 2:
        return direct
    more = _stock(words, prompt, None, Random(len(tokenize(direct)) + int(choice * 1000)))
    if prompt.max_sentences is not None:
        return " ".join([direct, *(next(more) for _ in range(prompt.max_sentences - 1))])
    return _padded(direct, more, length)
