"""What a reader knows beyond overlap of words: kinds of answer, opposites, other words for the same (data, pure).

Kept to common office language. It makes the big profiles read about as well as a real 1.5B model or better
(see ``ranking.py``); what it still gets wrong is an honest error of the "model", on top of the explicit faults.
"""

from __future__ import annotations

import re
from functools import lru_cache


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


# The question asks for … → a statement that answers has the form …
_KINDS: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (_pattern(r"며칠|몇 일|일수|날이|how many (?:\w+ )?days|how soon|days"), _pattern(r"\d ?(?:영업)?일|하루|days?\b")),
    (
        _pattern(r"언제|기한|마감|when|deadline|by what|how soon"),
        _pattern(r"까지|이내|안에|\d+일|\d+월|within|before|by\b|days"),
    ),
    (
        _pattern(r"얼마|가격|요금|금액|한도|비용|how much|price|cost|fee|limit|allowance"),
        _pattern(r"\d ?(?:천|만|백)? ?원|무료|%|usd|sgd|krw|eur|\$|₩|free\b"),
    ),
    (_pattern(r"퍼센트|금리|비율|이자|percent|rate\b|how much of"), _pattern(r"\d ?%|퍼센트|percent")),
    (_pattern(r"몇 시|what time|hours\b"), _pattern(r"\d+ ?시|\d+:\d\d|[ap]\.?m")),
    (_pattern(r"몇 회|몇 번|횟수|주에 며칠|how often|how many times"), _pattern(r"\d+ ?[회번]|한 번|times|once|twice")),
    (
        _pattern(r"몇 자|길이|how long (?:must|should)|length|characters"),
        _pattern(r"\d+ ?(?:자|시간|개월|년)|characters"),
    ),
    (
        _pattern(r"몇 시간|얼마나 오래|how long"),
        _pattern(r"\d+ ?(?:시간|분|개월|주|년)|hours?|months?|weeks?|minutes?"),
    ),
    (_pattern(r"기간|몇 개월|몇 달|몇 년"), _pattern(r"\d+ ?(?:개월|주|년|일)")),
    (
        _pattern(r"누가|누구|who\b|whose|whom"),
        _pattern(r"[가-힣]+(?:장|팀|부서|담당|멘토)|manager|head|lead|team|officer|director"),
    ),
)

# Words that exclude each other: a statement about another one of the row is about something else.
_OPPOSITES: tuple[tuple[re.Pattern[str], ...], ...] = tuple(
    tuple(_pattern(word) for word in row)
    for row in (
        ("이상|초과|넘", "미만|이하"),
        (r"\babove|over\b|or more|at least", r"\bbelow|under\b|less than"),
        ("국내", "해외", "싱가포르|singapore"),
        ("정규직", "계약직", "인턴"),
        ("(?<!불)합격", "불합격"),
        ("(?<!미)사용", "미사용"),
        ("신청", "취소", "정산"),
        ("평일", "토요일", "일요일|공휴일"),
        ("임원", "(?<!임)직원"),
        ("금리|이자", "한도|최대 얼마|빌릴", "상환 ?기간|갚"),
        ("켜|시작", "끄|종료"),
        ("basic|베이직", r"\bpro\b|프로(?!그)", "enterprise|엔터프라이즈"),
        ("2023", "2024", "2025", "2026"),
        ("조식|아침", "점심|중식", "저녁|석식"),
        ("본인", "자녀", "부모", "배우자"),
        ("[sS]등급", "[aA]등급", "[bB]등급", "[cC]등급"),
        ("economy|이코노미", "business class|비즈니스"),
    )
)

# Said in the question → also looked for.
_OTHER_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (_pattern(said), also)
    for said, also in (
        ("한 해|일 년|연간|해마다|매년", "1년"),
        ("월마다|매달|다달이|월별", "한 달"),
        ("일주일", "7일"),
        ("넘기|넘길|내년으로", "이월"),
        ("공짜|무상", "무료"),
        ("써 ?볼|체험", "무료 체험"),
        ("켜|켤", "접속 시작"),
        ("끄|끌 ", "접속 종료"),
        ("잃어버|분실", "분실 잃어버린"),
        ("월급|급여가 나오|봉급", "급여일 급여 지급"),
        ("결혼하는데|결혼해요|제 결혼|장가|시집", "본인 결혼"),
        ("부모님 ?상|부모님이 돌아", "부모 사망"),
        ("아플 때|아파서|몸이 아", "병가"),
        ("돈 받으면서|돈을 받으며", "유급"),
        ("내 돈|제 돈|사비", "개인 경비 개인 돈"),
        ("빌리|빌릴", "대출 한도"),
        ("갚", "상환"),
        ("땄|따면", "합격"),
        ("환불", "환불 취소"),
        ("얼마를? 내|부담", "부담 비용"),
        ("그만두|퇴사", "퇴직"),
        (r"\bmost\b|\blongest\b", "maximum up to"),
        (r"\bproof\b", "receipt"),
        (r"\bpay ?day\b|\bpaid\b", "salary pay"),
        (r"\bquit|\bleave the company", "resign"),
        (r"another country|overseas", "abroad"),
    )
)

_ABOUT_ITSELF = _pattern(
    r"정한다$|적용한다$|정합니다$|적용합니다$|다룬다$|문서이다$|현행 .{0,20}이다$|^this (?:policy|document|guide|page)"
)

FITS, UNFIT = 1.3, 1.0  # factor for a statement of the asked form, for another
OPPOSITE = 0.45  # factor for each excluded word
ABOUT_ITSELF = 0.6  # "this document sets out …"


def widened(question: str) -> str:
    """The question with other words for what it says."""
    return " ".join([question, *(also for said, also in _OTHER_WORDS if said.search(question))])


def fit(question: str, statement: str, around: str) -> float:
    """Factor on a statement's score: does it have the asked form, and is it about the asked thing?"""
    factor = 1.0
    for form in _wanted_forms(question):
        factor = max(factor, FITS if form.search(statement) else UNFIT)
    whole = f"{around} {statement}"
    for wanted, others in _excluded(question):
        if not wanted.search(whole) and any(other.search(whole) for other in others):
            factor *= OPPOSITE
    return factor * (ABOUT_ITSELF if _ABOUT_ITSELF.search(statement) else 1.0)


@lru_cache(maxsize=4_000)
def _wanted_forms(question: str) -> tuple[re.Pattern[str], ...]:
    return tuple(form for asks, form in _KINDS if asks.search(question))


@lru_cache(maxsize=4_000)
def _excluded(question: str) -> tuple[tuple[re.Pattern[str], tuple[re.Pattern[str], ...]], ...]:
    """(word the question has, its opposites that the question lacks), for each row with exactly one word said."""
    found = []
    for row in _OPPOSITES:
        said = [word for word in row if word.search(question)]
        if len(said) == 1:
            found.append((said[0], tuple(word for word in row if word is not said[0])))
    return tuple(found)
