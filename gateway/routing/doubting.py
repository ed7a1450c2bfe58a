"""How likely the big model's answer is right, when it is asked for once more, and when none is given.

Four things tell, on documents of any kind: how sure the model was of its least sure token, how many of the drafts, or
of other samples, say the same, how many of them find nothing, and whether the passage it rests on answers the question
(``answerability.py``). What does not: overlap of words, and whether the line it rests on is the nearest in meaning.
Numbers that stand nowhere are wrong whatever else is known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.chat import Answer, Evidence
from gateway.facts import signature
from gateway.meaning import STANDS_ALONE, Meaning
from gateway.routing.answerability import CLEAR, Answerability, unasked
from gateway.routing.contender import Reading
from gateway.routing.gate import (
    CITATION,
    Draft,
    Verdict,
    features,
    names_quantity,
    normal,
    why_unsupported,
    why_vetoed,
)
from gateway.routing.votes import Votes, votes_on
from gateway.routing.weighing import Scale

SURE = 0.9  # an answer this likely right is given at once
GIVEN = 0.5  # none is given that is less likely right
# Weights of (lowest log-probability, drafts that agree, drafts that refuse, constant): rounded from fits on the answers
# to three document sets (decision 13); `python -m bench doubts` fits them anew and says how well they tell.
WEIGHTS = {True: (4.3, 0.8, -1.5, 4.8), False: (0.0, 0.9, -1.45, 1.3)}  # with and without log-probabilities
MOST_AGREE = 2
OPEN_CITATION = re.compile(r"\s*\[doc\d*$", re.IGNORECASE)
ALONE_IN_REFUSING = 0.5  # a refusal where no draft refuses, and the draft may be right; another one is believed
NOWHERE = -1.1  # nats: no passage that was asked about is likely to answer
DENIED = 0.4  # at most, of what is not sure where the same model, asked once more, finds nothing: that is right then

UNTRUE = frozenset({"number", "code"})  # vetoes
UNBORNE = UNTRUE | {"citation"}
PROVISIONAL_TTL_S = 600.0  # of drafts that passed, but not with ease, and of answers that are not sure


@dataclass(frozen=True, slots=True)
class Said:
    """The beginning of an answer, with the lowest log-probability of its tokens, where that is known."""

    text: str
    lowest: float | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the draft model has said in one look."""

    text: str
    likely: bool  # more likely right than wrong, as far as it is judged by itself


def likely(draft: Verdict) -> bool:
    """A veto for its form says nothing of that."""
    return draft.veto not in UNTRUE if draft.veto else draft.score >= GIVEN


@dataclass(slots=True)
class Doubts:
    """Of one question's answers, as they come."""

    asked: str
    evidence: Evidence
    drafts: Sequence[str] = ()  # what the draft model has said in its looks so far; or other samples
    meaning: Meaning = STANDS_ALONE
    scale: Scale = field(default_factory=Scale)  # of the model that answers
    answerability: Answerability = field(default_factory=unasked)
    unlikely: bool = False  # the draft, once it is judged: more likely wrong than right
    passed_over: int = 0  # drafts that are likely wrong

    @property
    def question(self) -> str:
        """Of a follow-up what it stands for, where that is known."""
        return self.meaning.text or self.asked

    def heard(self, drafts: Sequence[Heard]) -> None:
        """A draft that is likely wrong bears nobody out: both have read the same wrong line."""
        self.drafts = [draft.text for draft in drafts if draft.likely]
        self.passed_over = len(drafts) - len(self.drafts)

    def astray(self) -> bool:
        """All that the draft model has said so far is likely wrong."""
        return self.passed_over > 0 and not self.drafts

    def judged(self, draft: Verdict) -> None:
        self.unlikely = not likely(draft)

    def confidence(self, text: str, lowest: float | None, whole: bool, again: Said | None = None) -> float:
        """That a text which has begun is right. ``lowest``: log-probability of its tokens so far, if known. ``whole``:
        with its first sentence. ``again``: what the same model said when it was asked once more; of what it says twice
        it is unsure if it was so once. What no document bears out has no say in it: its doubt was about that."""
        if again is not None and self._refuted(again.text):
            again = None
        votes = votes_on(text, self.drafts if again is None else (*self.drafts, again.text), self.evidence)
        if again is not None and votes_on(text, [again.text], self.evidence).agree and lowest is not None:
            lowest = min(lowest, again.lowest or 0.0)
        if signature(text).refuses:
            return SURE if self._refuses_rightly(votes) else ALONE_IN_REFUSING
        said = OPEN_CITATION.sub("", text) if whole else text[: text.rfind(" ") + 1]  # half a number is another number
        if why_unsupported(said, self.question, self.evidence):  # nowhere, or only not where it says
            return 0.0 if self._refuted(said) else GIVEN
        if whole and _only_asks(said, self.question):
            return 0.0
        if not whole or (lowest is None and not votes.others + self.passed_over):
            return 1.0
        found = _likelihood(self.scale.read(lowest), votes.agree, votes.refused, self.answerability.of(text))
        if lowest is None:
            return max(GIVEN, found)  # drafts alone do not know better
        return min(found, DENIED) if found < SURE and again is not None and signature(again.text).refuses else found

    def reading(self, text: str, lowest: float | None) -> Reading:
        """Of a text whose first sentence is not whole yet. Doubtful or unlikely: even if all that is not known yet were
        in its favour."""
        refused = sum(signature(draft).refuses for draft in self.drafts)
        if lowest is not None:
            at_best = _likelihood(self.scale.read(lowest), MOST_AGREE, refused, max(0.0, self.answerability.best()))
            if at_best < SURE and signature(text).refuses:
                return Reading.OPEN  # drafts tell of refusals
            if at_best < SURE:
                return Reading.DOUBTFUL if at_best >= GIVEN else Reading.UNLIKELY
        return Reading.AGREED if self._agreed(text, lowest, refused) else Reading.OPEN

    def _agreed(self, text: str, lowest: float | None, refused: int) -> bool:
        """It is sure already: it has stated every figure that a draft states and the question does not. What follows
        those is grammar, and half the time of a sentence."""
        said = text[: text.rfind(" ") + 1]  # half a number is another number
        if lowest is None or not self.drafts or not any(map(str.isdigit, said)):
            return False
        stated, asked = _figures(said), _figures(self.question)
        agree = sum(bool(figures := _figures(draft) - asked) and figures <= stated for draft in self.drafts)
        if not agree or why_unsupported(said, self.question, self.evidence):
            return False
        return _likelihood(self.scale.read(lowest), agree, refused, self.answerability.of(said)) >= SURE

    def _refuses_rightly(self, votes: Votes) -> bool:
        best = self.answerability.best()
        unborne = self.unlikely or (best <= NOWHERE and self.astray())
        return best < CLEAR and (votes.refused > 0 or unborne)

    def unanswered(self) -> bool:
        """All that the draft model says speaks against an answer: it claims nothing that is likely right, and of no
        passage that it states what is asked for. Nineteen in twenty such questions have none (decision 18)."""
        heard = self.passed_over > 0 or bool(self.drafts)
        claims = any(not signature(draft).refuses for draft in self.drafts)
        return heard and not claims and self.answerability.complete() and self.answerability.best() <= NOWHERE

    def _refuted(self, text: str) -> bool:
        """A number or a code of it stands in no passage."""
        return bool(why_unsupported(CITATION.sub("", OPEN_CITATION.sub("", text)), self.question, self.evidence))

    def kept_for_s(self, answer: Answer, confidence: float) -> float | None:
        """Seconds that the big model's answer is kept at most; None: as long as any. A wrong answer that is kept is
        repeated: one that no passage supports is not kept at all, one that is not sure for a while, so that who asks
        again at once is told the same."""
        if not self.evidence.passages:
            return None
        lead = answer.text.strip().split("\n\n", 1)[0]
        if confidence < GIVEN or self._unborne(lead, answer):
            return 0.0
        return PROVISIONAL_TTL_S if confidence < SURE or self._unborne(answer.text, answer) else None

    def _unborne(self, text: str, answer: Answer) -> bool:
        return why_vetoed(Draft(text, answer.finish_reason), self.question, self.evidence) in UNBORNE


def _likelihood(lowest: float | None, agree: int, refused: int, answered: float) -> float:
    by_token, by_agreement, by_refusal, constant = WEIGHTS[lowest is not None]
    x = by_token * (lowest or 0.0) + by_agreement * min(agree, MOST_AGREE) + by_refusal * refused + constant + answered
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, x))))


def _only_asks(text: str, question: str) -> bool:
    """The question asks for a figure, and the answer says again what was asked, and none."""
    return not names_quantity(text, question) and features(normal(text)) <= features(normal(question))


def _figures(text: str) -> frozenset[tuple[str, float]]:
    """What its answering sentence states in numbers."""
    return frozenset((quantity.kind, quantity.value) for quantity in signature(text).lead.quantities)
