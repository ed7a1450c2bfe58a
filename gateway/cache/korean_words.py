"""What each word of a Korean question does there: its particle, what negates it or comes after it. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.cache.arrangement import Arrangement, Word
from gateway.cache.language import HANGUL
from gateway.cache.lexical import small, stem

_WORD = re.compile(  # a particle after a name in Latin letters belongs to it
    r"[가-힣]+|[^\W\d_가-힣][^\W_가-힣]*(?:\+\+?|#)?"
    r"(?:(?:에서|으로|에게|한테|까지|부터|보다|은|는|이|가|을|를|의|에|와|과|로|만|도)(?![가-힣]))?|\d+"
)
_PARTICLE = re.compile(
    r"(?<=.)(?:(?P<case>께서|에게서|한테서|에게|한테|께|에서|까지|부터|보다|처럼|만큼|으로|로|이랑|랑|와|과|의|에|이|가|을|를)"
    r"(?:(?<![이가을를의])(?P<more>는|은|만|도))?|(?P<focus>는|은|만|도))$"  # "휴가는" is 휴가 and 는
)
_CASES = {
    "이": "subject", "가": "subject", "께서": "subject", "을": "object", "를": "object", "의": "of", "에": "at",
    "에게": "to", "한테": "to", "께": "to", "에서": "from", "에게서": "from", "한테서": "from", "으로": "into",
    "로": "into", "까지": "until", "부터": "since", "보다": "than", "처럼": "like", "만큼": "as much as", "와": "with",
    "과": "with", "랑": "with", "이랑": "with",  "은": "topic", "는": "topic", "만": "only", "도": "also",
}  # fmt: skip
_AFTER_CONSONANT = frozenset(("이", "을", "은", "과", "으로", "이랑"))
_AFTER_VOWEL = frozenset(("가", "를", "는", "와", "랑"))
# Nouns that end as if with a particle, where no syllable before it tells.
_NOUN = re.compile(
    r"(?:[휴허추]가|[결성통경학인]과|[한제정속온연년지태각강빈]도|[도서진경항]로|[회동문주강합논정협심유예]의|마을|가을|서울|불만)$"
)
_CLAUSES = (("이고", "then"), ("고", "then"), ("이면", "if"), ("면", "if"))
_PERSONS = {
    word: (person, role)
    for person, roles in {
        "i": {
            "subject": "내가 제가 나는 저는 난 나도 저도", "object": "나를 저를 날 절", "of": "내 제 나의 저의",
            "to": "나한테 저한테 나에게 저에게 내게 제게",
        },
        "we": {
            "subject": "우리가 저희가 우리는 저희는", "object": "우리를 저희를", "of": "우리 저희",
            "to": "우리에게 저희에게",
        },
    }.items()
    for role, words in roles.items()
    for word in words.split()
}  # fmt: skip
_BEHIND = {  # what follows the word that it governs
    "후": "after", "뒤": "after", "이후": "after", "전": "before", "이전": "before",
    "기준": "by", "제외하고": "without", "빼고": "without", "없이": "without",
}  # fmt: skip
_NOT_BEFORE = frozenset(("안", "못"))
_NOT_BEHIND = re.compile(r"않|없(?!이)")
_NOT_AFTER_JI = re.compile(r"않|못|말|마")  # 쓰지 못하면, 쓰지 말고
_LIGHT = frozenset(("되", "돼", "하", "해", "됐", "했", "나"))  # verbs that say nothing without the noun before them


def arranged(text: str) -> Arrangement:
    """Of a question in NFKC and lower case."""
    words: list[Word] = []
    persons: list[tuple[str, str]] = []
    limits: set[tuple[str, str]] = set()
    not_next, last = False, ""
    for written in _WORD.findall(text):
        if written in _PERSONS:
            persons.append(_PERSONS[written])
        elif written in _NOT_BEFORE:
            not_next = True
        elif marker := _marker(written, last):
            _govern(words, marker)
        else:
            word, limit = _read(written)
            if limit:
                limits.add((word.stem, limit))
            if not_next and (not word.stem or word.stem in _LIGHT):
                _govern(words, "not")
            if word.stem:
                words.append(word)
            if not_next and word.stem and word.stem not in _LIGHT:
                _govern(words, "not")
            not_next = False
        last = written
    return Arrangement("ko", tuple(words), (), tuple(persons), frozenset(limits))


def _marker(written: str, last: str) -> str:
    """What the word makes of the one before it; "" where it is a word like others."""
    if written in _BEHIND:
        return _BEHIND[written]
    if _NOT_BEHIND.match(written) or (last.endswith("지") and _NOT_AFTER_JI.match(written)):
        return "not"
    found = _PARTICLE.search(written)
    return _BEHIND.get(written[: found.start()], "") if found else ""


def _govern(words: list[Word], marker: str) -> None:
    """``marker`` governs the last word."""
    if words:
        last = words[-1]
        words[-1] = Word(last.stem, last.role, last.under | {marker})


@lru_cache(maxsize=20_000)
def _read(written: str) -> tuple[Word, str]:
    """The word without its particle or ending, and "only" or "also" where it says so."""
    bare = stem(written) if HANGUL.match(written) else written
    if not bare or _NOUN.search(written):
        return Word(written if bare else ""), ""
    found = _PARTICLE.search(written)
    if found is None or len(bare) < found.start():  # the ending of a verb
        ending, role = next((clause for clause in _CLAUSES if written.endswith(clause[0])), ("", ""))
        return Word(bare.removesuffix("이") if ending in ("이고", "이면") else bare, role), ""
    if not _fits(written[: found.start()], found["case"] or found["focus"]):
        return Word(written), ""
    base = written[: found.start()]
    case, last = found["case"] or found["focus"], found["more"] or found["focus"] or ""
    limit = _CASES[last] if last in ("만", "도") else ""
    return Word("" if small(base) and HANGUL.match(base) else base, _CASES[case]), limit


def _fits(base: str, particle: str) -> bool:
    """병가 and 나이 have no particle: "가" follows a vowel, "이" a consonant."""
    if not HANGUL.match(base[-1]):
        return True
    closed = (ord(base[-1]) - ord("가")) % 28 > 0
    return particle not in (_AFTER_VOWEL if closed else _AFTER_CONSONANT)
