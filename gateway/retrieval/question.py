"""What to search for, given the conversation. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from gateway.chat import ChatRequest

_TURN_CHARS = 300
_LONG_CHARS = 300  # it names whatever it is about
_FEW_WORDS = 3
_SHORT_WORDS = 8  # in a longer English question "that" and "they" mostly point at its own words
_POINTS_BACK = re.compile(
    r"(?:^|\s)(?:그럼|그러면|그건|그거|그것|그게|그때|그런|그렇|그\s|그분|이건|이거|이것|이게|저건|거기|여기|위의|위에|앞의|방금|아까)"
    r"|^(?:또는|그리고|혹시 그)|^(?:and|but|so|or|what about|how about)\b|\bthere\W*$",
    re.IGNORECASE,
)
_ENGLISH_POINTERS = re.compile(r"\b(?:[Ii]t|[Ii]ts|[Tt]h(?:at|is|ose|ese|ey|em|en)|same|ones?|instead)\b")  # IT is none
_ELLIPSIS = re.compile(
    r"(?:(?:은|는|면|경우|때|에선|으로)|(?<!한)도)(?:요|여)?\s*[?？.~]*$"
)  # "인턴은요?", "3일 미만이면?"
_WORD = re.compile(r"[가-힣]+|[a-z][a-z'-]*")
# Asks, but names nothing: question words, and the verbs and nouns that go with every subject.
_KOREAN_ASKING = re.compile(
    r"(?:얼마|며칠|몇|언제|어디|누구|누가|어떻|어떤|무엇|무슨|뭐|뭘|왜|인가|나요|해야|알려|알고|궁금|싶|가능|이에요|예요|까지|나오)"
    r"|(?:되|하|있|없|받|쓰|내)(?:$|[나는면려지고죠야으을어었아았습세])|(?:된|됐|돼|했|해|할|한|쓸|써)(?:$|[다도지요까])"
    r"|(?:수|것|거|건|좀|그|저|제|내)[은는이가도를]?$|(?:일|시|번|개|자|명|원|층)(?:이|까지|에|부터|인|전|요)"
)
_ENGLISH_ASKING = re.compile(
    r"(?:a|an|the|is|are|was|were|be|do|does|did|can|could|may|might|will|would|should|must|i|we|you|they|he|she|it|my|our"
    r"|your|their|of|to|in|on|at|by|for|from|with|and|or|but|so|as|if|when|what|which|who|whom|where|why|how|many|much|long"
    r"|often|there|get|got|have|has|had|not|no|any|some|me|us|please|tell|about)$"
)
# What any subject has: "담당 부서는 어디인가요?" asks for it and names nothing.
_KOREAN_ASPECTS = re.compile(
    r"(?:담당|부서|서류|신청|방법|기한|기간|시간|비용|금액|한도|대상|절차|장소|위치|연락|지급|필요|결재|승인|처리|이유|조건|기준"
    r"|예외|제출|준비|이수|지원)"
)
_ENGLISH_ASPECTS = re.compile(
    r"(?:apply|approv(?:e|es|al)|costs?|deadline|documents?|forms?|limit|need(?:ed)?|process|requires?|required|start|end|time"
    r"|happens?)$"
)
_THANKS = re.compile(
    r"^\W*(?:(?:(?:네|넵|예|아|오|음|ㅇㅋ|ok|okay|yes|great|good|i see)\b"
    r"|(?:thank|got it|알겠|알았|감사|고마|고맙|확인)\S*)\W*){1,4}$",
    re.IGNORECASE,
)


def search_text(request: ChatRequest) -> str:
    """The text documents are searched with.

    A question that names its subject stands for itself, whatever was said before. A follow-up ("그럼 인턴은요?") is
    searched together with the last question before it that did, and with the latest follow-up in between. What came
    after the user's last words (a tool's result, the beginning of an answer) does not change what he asked.
    """
    asked = _up_to_question(request)
    question = asked.question.strip()
    if not question or not follows_up(asked):
        return question
    return "\n".join([*_subject(_asked_before(asked)), question])


def besides(request: ChatRequest) -> str:
    """What is searched for as well, where words alone do not tell whether the question goes on with the subject before
    it or names one of its own ("휴대폰은 몇 배예요?", "재택근무는요?"). "" where they do."""
    asked = _up_to_question(request)
    question, before = asked.question.strip(), _asked_before(asked)
    if not before or len(question) > _LONG_CHARS:
        return ""
    if leans(question):
        return question if _names_something(question) else ""
    return "\n".join([*_subject(before), question]) if len(_saying(question)) <= _FEW_WORDS else ""


def follows_up(request: ChatRequest) -> bool:
    """Whether the last message is a question that leaves out, or points at, what the user's earlier turns are about."""
    question = request.question.strip()
    return bool(question and _asked_before(request)) and leans(question)


def leans(question: str) -> bool:
    """Whether the question says too little to be asked by itself.

    Measured: 1 of the sample handbook's 449 questions and 24 of 3,154 of a Korean welfare FAQ lean, all of which stand
    alone; so do 55 of the handbook's 60 follow-ups. The other 5 name a subject, and are found by it.
    """
    if len(question) > _LONG_CHARS:
        return False
    if _POINTS_BACK.search(question) or _ELLIPSIS.search(question):
        return True
    if len(question.split()) <= _SHORT_WORDS and _ENGLISH_POINTERS.search(question):
        return True
    words = _saying(question)
    return len(words) <= 1 or all(map(_is_aspect, words))


def _names_something(question: str) -> bool:
    """It has a word of its own, be it the subject or what is left out of it."""
    return not all(_is_aspect(word) or _points(word) for word in _saying(question))


def _saying(question: str) -> list[str]:
    """Its words but those that every question has."""
    return [word for word in _WORD.findall(question.casefold()) if not _asks(word)]


def _asks(word: str) -> bool:
    return bool((_ENGLISH_ASKING if word.isascii() else _KOREAN_ASKING).match(word))


def _points(word: str) -> bool:
    return bool(_POINTS_BACK.match(word) or _ENGLISH_POINTERS.match(word))


def _is_aspect(word: str) -> bool:
    return bool((_ENGLISH_ASPECTS if word.isascii() else _KOREAN_ASPECTS).match(word))


def _up_to_question(request: ChatRequest) -> ChatRequest:
    """The conversation as it was when the user spoke last."""
    last = max((n for n, message in enumerate(request.messages) if message.role == "user"), default=-1)
    return replace(request, messages=request.messages[: last + 1])


def _asked_before(request: ChatRequest) -> list[str]:
    """The user's earlier turns that ask or tell something, first to last."""
    texts = [m.text.strip()[:_TURN_CHARS] for m in request.earlier if m.role == "user"]
    return [text for text in texts if text and not _THANKS.match(text)]


def _subject(turns: Sequence[str]) -> list[str]:
    """The last turn that stands alone, and the latest after it; the first where none does."""
    found = next((i for i in reversed(range(len(turns))) if not leans(turns[i])), 0)
    return [turns[found], turns[-1]] if found < len(turns) - 1 else [turns[found]]
