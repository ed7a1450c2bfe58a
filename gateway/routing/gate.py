"""May a draft be shown? Pure: the draft, the question and its evidence in, a verdict out.

First the vetoes: what no probability can outweigh (a number that is in no passage, a citation that points nowhere, "not
in the documents"). Then a logistic score over the measures below, against thresholds calibrated so that the share of
wrong answers among accepted ones stays bounded. ``calibration.json`` holds weights, thresholds and where they are from.
Servers that give no log-probabilities have weights of their own and a higher bar.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import orjson

from gateway.chat import Evidence, Passage

END_TOKENS = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "</s>", "<eos>", "<end_of_turn>"})
MAX_CHARACTERS = 900  # a short answer is short; more is a model that ignored the instruction
MEASURES = (
    "lowest_logprob", "mean_logprob", "support", "local_numbers", "polarity", "relevance", "rival", "top_passage",
    "length", "direct", "quantity", "agree", "refused",
)  # fmt: skip
KINDS = {"with_logprobs": True, "without_logprobs": False}  # drafts of each kind have weights of their own
CLEARLY_NOT = -1.0  # nats of ``answered``: one right draft in fourteen, two in three of those that nothing answers
REFUSES = "insufficient"  # the veto on a draft that says that nothing is there
DROPPED = frozenset({"near"})  # measures of earlier versions; kinds that had them are passed over

_INSUFFICIENT = re.compile(
    r"찾을 수 없|찾지 못|확인할 수 없|확인되지 않|알 수 없|모르겠|나와 ?있지 않"
    r"|포함되어 ?있지 않|언급되어 ?있지 않|정보가 없"
    r"|답(?:변)?(?:을|를)? ?드릴 수 없|도와드릴 수 없|죄송"
    r"|\binsufficient\b|do(?:es)? not (?:contain|mention|specify|say)"
    r"|not (?:found|mentioned|specified|provided|in the doc)"
    r"|no information|\b(?:i|we) (?:cannot|can't|do not know|don't know)|unable to|sorry|as an ai",
    re.IGNORECASE,
)
CITATION = re.compile(r"\[doc(\d+)\]", re.IGNORECASE)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_CODE = re.compile(
    r"(?<![A-Za-z])(?:[A-Za-z]*[A-Z][A-Za-z]*[A-Z0-9][A-Za-z0-9]*|[A-Za-z]+[-_]?\d[\w-]*)"
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+"
)
_SENTENCE_END = re.compile(r"(?<=[.!?。])(?<![ap]\.m\.)(?:\s+|$)|\n+|(?<=다\.)(?=\S)")
_RUN = re.compile(r"[가-힣]+|[a-z]+|\d[\d,]*(?:\.\d+)?")
_NEGATION = re.compile(
    r"않|없|못|아니|아닌|아닙|아님|불가|금지|제외|불필요|미포함|(?<![가-힣])안 |선택 ?사항"
    r"|\bnot\b|\bno\b|n't\b|cannot|without|except|optional|prohibited|forbidden|never",
    re.IGNORECASE,
)
_ASKS_QUANTITY = re.compile(
    r"며칠|몇|얼마|언제|기한|금액|한도|비율|가격|요금|횟수|기간|일수|시한"
    r"|\bhow (?:many|much|long|often|soon|far|late|early)\b"
    r"|\bwhen\b|\b(?:price|cost|fee|rate|limit|deadline|amount|percent\w*)\b",
    re.IGNORECASE,
)
_HANGUL = re.compile(r"[가-힣]")
_LATIN = re.compile(r"[A-Za-z]")
_STOP = frozenset(
    """the a an of to in on at for by and or is are be was were it its this that with as from per if do does can may
    will must should what when where which who why how much many long please you your i my we our""".split()  # noqa: SIM905
)
# Bigrams of endings and of how answers open; they say nothing of what is answered.
_STOP_KO = frozenset(
    """습니 니다 합니 입니 됩니 문서 서에 따르 르면 규정 정을 확인 인해 관련 결론 론부 부터 말씀 씀드 드리 리면 제공
    공된 자료 료기 기준 준으 으로 문의 의하 하신 내용 용은 이렇 렇습 인가 가요 나요 까요 하나 되나 어떻 떻게 얼마 마나
    며칠 무엇 언제 어디 알려 려줘 려주 주세 세요 에서 에게 까지 이며 하고 있다 한다 된다 이다 해야 있습 하는 있는 되는
    하면""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the fast model said. ``logprobs``: (token, natural log of its probability), or None where not given.
    ``found``: it cited nothing, and its citations were put there by ``routing/citing.py``."""

    text: str
    finish_reason: str | None
    logprobs: Sequence[tuple[str, float]] | None = None
    found: bool = False
    votes: tuple[int, int] = (0, 0)  # of drafts over other cuts of the evidence: how many agree, how many find nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score``: estimated probability that the draft is right. ``veto``: why it must not be shown at all, or ""."""

    score: float
    veto: str
    accepted: bool  # may be given as the answer
    usable: bool  # may be given, labelled, when time is up
    sure: bool  # accepted, and as good as the big model's answer: kept as long


@dataclass(frozen=True, slots=True)
class Calibration:
    weights: tuple[float, ...]  # one per measure, then the constant
    accept: float
    usable: float
    sure: float


Calibrations = Mapping[bool, Calibration]  # with log-probabilities, and without


def judge(
    draft: Draft,
    question: str,
    evidence: Evidence,
    calibrations: Calibrations | None = None,
    answered: float = 0.0,
) -> Verdict:
    """The verdict on a finished draft, by the shipped calibration where none is given. No probability is asked of one
    that a veto has refused. ``answered``: natural log of how much likelier it is, by what else is known, that its
    passage answers the question; only what is clearly against it counts, for the right passage can be misread too."""
    if veto := why_vetoed(draft, question, evidence):
        return Verdict(0.0, veto, False, False, False)
    calibrations = calibrations or shipped()
    kind = bool(draft.logprobs)
    calibration, values = calibrations[kind], of_kind(measures(draft, question, evidence), kind)
    odds = sum(w * v for w, v in zip(calibration.weights, (*values, 1.0), strict=True))
    score = _logistic(odds + (answered if answered <= CLEARLY_NOT else 0.0))
    sure = score >= calibration.sure
    if draft.found:  # the bars were set on models that say themselves where they have it from
        return Verdict(score, "", sure and bool(draft.logprobs), score >= calibration.usable, False)
    return Verdict(score, "", score >= calibration.accept, score >= calibration.usable, sure)


def why_vetoed(draft: Draft, question: str, evidence: Evidence) -> str:
    """The first rule that forbids the draft, one of few fixed words; "" where none does."""
    text = normal(draft.text)
    if draft.finish_reason != "stop":
        return "cut"
    if not text:
        return "empty"
    if not evidence.passages:
        return "no evidence"
    if len(text) > MAX_CHARACTERS:
        return "long"
    if _INSUFFICIENT.search(text):
        return REFUSES
    if _other_language(question, text):
        return "language"
    cited = {int(number) for number in CITATION.findall(text)}
    if any(not 1 <= number <= len(evidence.passages) for number in cited):
        return "citation"
    if not cited:
        return "uncited"
    return next(filter(None, (why_unsupported(sentence, question, evidence) for sentence in sentences(text))), "")


def why_unsupported(sentence: str, question: str, evidence: Evidence) -> str:
    """ "number" or "code" that stands neither in the cited passages (all, where none is cited) nor in the question."""
    passages = _cited(sentence, evidence) or evidence.passages
    known = numbers_in(question).union(*(numbers_in(whole(p)) for p in passages))
    if not numbers_in(sentence) <= known:
        return "number"
    said = f"{question} {' '.join(whole(p) for p in passages)}".casefold()
    return "code" if any(code.casefold() not in said for code in _CODE.findall(_without_marks(sentence))) else ""


def names_of(logprobs: bool) -> tuple[str, ...]:
    """Of ``MEASURES``, those that a draft of this kind has."""
    return MEASURES if logprobs else MEASURES[2:]


def of_kind(values: Sequence[float], logprobs: bool) -> tuple[float, ...]:
    """The same of ``measures``."""
    return tuple(values if logprobs else values[2:])


def measures(draft: Draft, question: str, evidence: Evidence) -> tuple[float, ...]:
    """``MEASURES``, each roughly in [-2, 2]. The draft has passed the vetoes."""
    text = normal(draft.text)
    asked = features(normal(question))
    support, local, polarity, relevance, direct = 1.0, 1.0, 1.0, 0.0, 0.0
    cited: list[Passage] = []
    for nth, sentence in enumerate(sentences(text)):
        passages = _cited(sentence, evidence) or tuple(cited[-1:]) or evidence.passages
        cited += passages if nth == 0 else ()
        said = features(sentence)
        unit = nearest(said, passages)
        support = min(support, share(said, unit.features | unit.around | asked))
        if not numbers_in(sentence) <= numbers_in(unit.text) | numbers_in(question) | unit.heading_numbers:
            local = 0.0
        if len(_NEGATION.findall(sentence)) % 2 != len(_NEGATION.findall(unit.text)) % 2:
            polarity = 0.0
        if nth == 0:
            relevance, direct = share(asked, unit.features | unit.around), share(asked, unit.features)
    others = [u for p in evidence.passages if p not in cited for u in units(p)]
    rival = max((share(asked, u.features | u.around) for u in others), default=0.0)
    first = sentences(text)[0]
    quantity = float(names_quantity(first, question))
    best = max(evidence.passages, key=lambda p: p.score)
    values = (
        support, local, polarity, relevance, max(-1.0, min(1.0, rival - relevance)), float(best in cited),
        math.log1p(len(text)) / 5, direct, quantity, *map(float, draft.votes),
    )  # fmt: skip
    return (*_logprob_measures(draft.logprobs), *values)


def names_quantity(answer: str, question: str) -> bool:
    """False where the question asks how many, how much or when, and the first sentence has no number of its own."""
    return not _ASKS_QUANTITY.search(question) or bool(numbers_in(_first_sentence(answer)) - numbers_in(question))


def _first_sentence(answer: str) -> str:
    return next(iter(sentences(normal(answer))), "")


def _logprob_measures(logprobs: Sequence[tuple[str, float]] | None) -> tuple[float, float]:
    values = [value for token, value in logprobs or () if token not in END_TOKENS]
    if not values:
        return 0.0, 0.0
    return max(-4.0, min(values)), max(-1.0, sum(values) / len(values))


def nearest(said: frozenset[str], passages: Sequence[Passage]) -> Unit:
    """The unit that says most of it, the shortest of equals."""
    return max((u for p in passages for u in units(p)), key=lambda u: (len(said & u.features), -len(u.text)))


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence, bullet or table row of a passage."""

    text: str
    features: frozenset[str]
    around: frozenset[str]  # of title and headings
    heading_numbers: frozenset[str]


def units(passage: Passage) -> tuple[Unit, ...]:
    return _units(f"{passage.title} {passage.section}", passage.text)  # a passage's score differs with every question


@lru_cache(maxsize=1_000)  # up to 100 KB each
def _units(heading: str, text: str) -> tuple[Unit, ...]:
    heading = normal(heading)
    around, numbers = features(heading), numbers_in(heading)
    texts = [part for part in _SENTENCE_END.split(normal(text)) if part and part.strip(" |-:#*")]
    return tuple(Unit(part, features(part), around, numbers) for part in texts or [text])


@lru_cache(maxsize=1_000)
def features(text: str) -> frozenset[str]:
    """Hangul bigrams, Latin stems and numbers: what a text is about."""
    found: set[str] = set()
    for run in _RUN.findall(_without_marks(text).casefold()):
        if run[0].isdigit():
            found.add(run.replace(",", "").rstrip("."))
        elif run[0].isascii():
            if run not in _STOP:
                found.add(run[:6])
        else:
            found.update(run[i : i + 2] for i in range(len(run) - 1))
    return frozenset(found - _STOP_KO)


@lru_cache(maxsize=1)
def shipped() -> Calibrations:
    return read_calibrations(resources.files("gateway.routing").joinpath("calibration.json").read_bytes())


def read_calibrations(data: bytes) -> Calibrations:
    """Raises ValueError that says what is wrong."""
    try:
        raw = orjson.loads(data)
        made_with = [str(name) for name in raw["measures"] if name not in DROPPED]
        if [name for name in MEASURES if name in made_with] != made_with:
            raise ValueError("it is of another version of the gate; calibrate again")
        return {kind: _calibration(raw[name], names_of(kind), made_with) for name, kind in KINDS.items()}
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise ValueError("it is no calibration of the gate") from error


def _calibration(found: Any, names: Sequence[str], made_with: Sequence[str]) -> Calibration:
    """``made_with``: the measures that there were then; those that came later weigh nothing."""
    known = [name for name in names if name in made_with]
    weights = [float(w) for w in found["weights"]]
    if len(weights) != len(known) + 1:
        raise ValueError("it needs one weight per measure and a constant")
    of = dict(zip(known, weights, strict=False))
    all_weights = (*(of.get(name, 0.0) for name in names), weights[-1])
    return Calibration(all_weights, *(float(found[bar]) for bar in ("accept", "usable", "sure")))


def _cited(sentence: str, evidence: Evidence) -> tuple[Passage, ...]:
    numbers = [int(n) for n in CITATION.findall(sentence)]
    return tuple(evidence.passages[n - 1] for n in numbers if 1 <= n <= len(evidence.passages))


def sentences(text: str) -> list[str]:
    """Sentences, each with the citation marks that follow it."""
    parts: list[str] = []
    for part in _SENTENCE_END.split(text):
        part = part.strip()
        if not part:
            continue
        if parts and not _without_marks(part).strip(" ."):
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


def _other_language(question: str, text: str) -> bool:
    """The question has Hangul and the answer next to none, or the other way round."""
    hangul, latin = len(_HANGUL.findall(text)), len(_LATIN.findall(_without_marks(text)))
    if _HANGUL.search(question):
        return hangul < 0.2 * latin or (hangul == 0 and latin > 0)
    return bool(_LATIN.search(question)) and hangul > latin


def numbers_in(text: str) -> frozenset[str]:
    return frozenset(n.replace(",", "").rstrip(".") for n in _NUMBER.findall(_without_marks(text)))


def _without_marks(text: str) -> str:
    return CITATION.sub(" ", text)


def whole(passage: Passage) -> str:
    return normal(f"{passage.title} {passage.section} {passage.text}")


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def share(part: frozenset[str], whole: frozenset[str]) -> float:
    return len(part & whole) / len(part) if part else 1.0


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-40.0, min(40.0, x))))
