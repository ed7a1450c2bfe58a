"""May a question asked in the middle of a conversation share an answer with the same question asked first? Pure.

Everything before the last turn is part of the scope, so follow-ups meet only within the very same conversation. Here
are the exceptions, for document models alone, and always with the evidence as a further guard (``freshness``):

    a question that stands by itself, after turns that neither restrict nor touch what it asks      ``why_not_alone``
    a follow-up rewritten to a question of its own that adds, drops and changes nothing          ``why_not_rewritten``
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from gateway.cache.facets import Facets, facets
from gateway.chat import CacheEntry, ChatRequest, Message
from gateway.turns import names, personal, self_contained, subjects

_INSTRUCTS = re.compile(
    r"(?:영어|한국어|한글|일본어|중국어|영문)로|짧게|간단히|간략|자세히|길게|한\s?문장|요약|번역|앞으로|지금부터|이제부터|항상|무조건|가정|라고\s?(?:치|하)"
    r"|기준으로|입장에서|이라면|라면|인데|이고|입니다|이에요|이야(?:\s|$|\.)|거든|답해|대답|말해|해당(?:자|됩)"
    r"|\b(?:in (?:english|korean|german|french|japanese|chinese|one sentence)|briefly|short(?:er)?|from now on|always"
    r"|assume|suppose|pretend|imagine|as an?|translate|summari[sz]e|answer (?:in|as|with)|speak|reply|respond)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(r"[?？]\s*$|(?:나요|까요|가요|니까|는지|려줘|주세요|줘|는가|을까|은지)[.\s]*$")
_THANKS = re.compile(
    r"^(?:(?:ok|okay|thanks?|thank you|cheers|great|brilliant|lovely|perfect|cool|nice|got it|found it|done|sorted|fine"
    r"|네|예|넵|감사합니다|고맙습니다|감사해요|고마워요?|알겠습니다|알겠어요|확인했습니다|좋아요)[\s,.!]*)+$",
    re.IGNORECASE,
)  # says nothing
MOST_TURNS = 12  # earlier user turns; a longer talk restricts in more ways than are looked for here


def first_turn(request: ChatRequest, question: str | None = None) -> ChatRequest:
    """``request`` as if its last question (or ``question`` in its place) had been asked first."""
    last = request.messages[-1]
    if question is not None:
        last = Message(last.role, question, True, {"role": last.role, "content": question})
    kept = tuple(m for m in request.messages[:-1] if m.role in {"system", "developer"})
    return replace(request, messages=(*kept, last))


def why_not_alone(request: ChatRequest) -> str:
    """Why the last question may not be taken by itself; "" where it may."""
    if not self_contained(request.question):
        return "leans"
    if reason := _why_restricted(request):
        return reason
    wanted, before = facets(request.question), [facets(text) for text in _asked_before(request)]
    if any(not one.codes <= wanted.codes for one in before) or _names(request) - names(request.question):
        return "other names"
    if any(one.numbers and one.numbers != wanted.numbers for one in before):
        return "other numbers"
    if any(not theirs <= mine for one in before for theirs, mine in zip(one.hard, wanted.hard, strict=True)):
        return "other side"
    return "" if _unrelated(request, request.question) else "related"


def why_not_this_answer(request: ChatRequest, entry: CacheEntry) -> str:
    """Why a kept answer to the question alone may not be the one that is wanted here; "" where it may.

    Earlier turns that speak of what the answer speaks of may restrict it; and what is asked must be a topic of the
    documents: "연차는 며칠?" is, under the heading 연차; "주차는 어디에?" may be of the office that was talked about.
    """
    found = " ".join([entry.question, entry.answer.text, *(f"{p.title} {p.section} {p.text}" for p in entry.citations)])
    if not _unrelated(request, found):
        return "related"
    headings = _squeezed(" ".join(f"{p.document} {p.title} {p.section}" for p in entry.citations))
    return "" if any(_squeezed(word) in headings for word in subjects(request.question)) else "no topic"


def why_not_rewritten(request: ChatRequest, rewritten: str) -> str:
    """Why a rewriting of the last question may not stand for it in another conversation; "" where it may."""
    if not self_contained(rewritten):
        return "leans"
    if reason := _why_restricted(request):
        return reason
    said = [m.text for m in request.earlier if m.role in {"user", "assistant"}]
    if not _all_within(subjects(rewritten), " ".join([*said, request.question])):
        return "invented"
    if not _all_within(subjects(request.question), rewritten):
        return "dropped"
    if (names(request.question) or _names(request)) - names(rewritten):
        return "dropped"
    return _why_changed(facets(request.question), [facets(t) for t in _asked_before(request)], facets(rewritten))


def _why_changed(asked: Facets, before: list[Facets], rewritten: Facets) -> str:
    """What the last question says replaces what was said before it; what it leaves open is taken over whole."""
    if asked.language != rewritten.language:
        return "language"
    if rewritten.negations % 2 != asked.negations % 2:
        return "negation"
    if rewritten.codes != (asked.codes or frozenset().union(*(one.codes for one in before))):
        return "codes"
    if set(rewritten.numbers) != (set(asked.numbers) or {n for one in before for n in one.numbers}):
        return "numbers"
    for row, (mine, theirs) in enumerate(zip(asked.hard, rewritten.hard, strict=True)):
        if theirs != (mine or frozenset().union(*(one.hard[row] for one in before))):
            return "side"
    return ""


def _why_restricted(request: ChatRequest) -> str:
    """What earlier turns may do to any later answer."""
    before = _asked_before(request)
    if not before or len(before) > MOST_TURNS or not all(m.plain for m in request.messages):
        return "turns"
    if not all(_ASKED.search(text.strip()) for text in before):
        return "statement"
    if any(personal(text) for text in before):
        return "personal"
    if any(_INSTRUCTS.search(text) for text in before):
        return "instruction"
    said = [m.text.strip() for m in request.earlier if m.role == "assistant"]
    return "asked back" if said and said[-1].rstrip("\"'”)").endswith(("?", "？")) else ""


def _unrelated(request: ChatRequest, text: str) -> bool:
    """No subject of earlier questions occurs in ``text``."""
    squeezed = _squeezed(text)
    return not any(_squeezed(word) in squeezed for one in _asked_before(request) for word in subjects(one))


def _all_within(words: Iterable[str], text: str) -> bool:
    squeezed = _squeezed(text)
    return all(_squeezed(word) in squeezed for word in words)


def _squeezed(text: str) -> str:
    return "".join(text.lower().split())


def _asked_before(request: ChatRequest) -> list[str]:
    return [m.text for m in request.earlier if m.role == "user" and not _THANKS.match(m.text.strip())]


def _names(request: ChatRequest) -> frozenset[str]:
    return frozenset().union(*(names(text) for text in _asked_before(request)))
