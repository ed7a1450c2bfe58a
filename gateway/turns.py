"""Does a question stand by itself, or does it lean on what was said before? Pure; Korean and English.

In doubt it leans: a follow-up that passes for a question of its own gets the answer to somebody else's conversation.
"""

from __future__ import annotations

import re
import unicodedata

_POINTS_BACK = re.compile(
    # Korean: demonstratives, connectives, "the rest", "the first one", "also"
    r"(?:^|\s)(?:그럼|그러면|그렇|그런|그래|그리고|그거|그건|그것|그게|그걸|그때|그곳|그분|그\s|이거|이건|이것|이게|이걸|이때|이런|이\s"
    r"|저거|저건|저것|저\s|거기|여기|저기|위에|위의|위\s|앞에|앞의|아까|방금|해당|동일|같은|다른|나머지|마찬가지|반대|대신|둘|모두|전부"
    r"|첫\s?번?째|두\s?번째|세\s?번째|마지막|다음|이전|직전|이어서|계속|다시|더|또|또는|아니면|혹은|근데|그런데|하지만|만약|만일|따로|역시)"
    r"|[가-힣](?:도요|은요|는요|이요|요는|이라면|라면요?|일\s?때는|의\s?경우)\s*[?？]?$"
    r"|^[가-힣A-Za-z0-9]+도\s"  # "interns too, …"
    # English
    r"|\b(?:it|its|that|this|those|these|they|them|their|there|then|he|she|him|his|her|one|ones|same|above|below|instead"
    r"|another|others?|else|also|too|still|again|both|either|neither|first|second|third|last|next|previous|former"
    r"|latter|rest|remaining|such|so|ok|okay|yes|no|yeah|right|fine|thanks|please do|go ahead)\b"
    r"|^(?:and|but|or|what about|how about|what if|if so|why not|because)\b",
    re.IGNORECASE,
)
_PERSONAL = re.compile(
    r"(?:^|\s)(?:나|난|내|나는|나도|저|전|제|저는|제가|내가|저희|우리|우리는|본인)(?:\s|$)"
    r"|\b(?:i'm|i've|i'd|i'll|my|mine|me|our|ours|us|we|we're|you|your|yours)\b",
    re.IGNORECASE,
)
_ASKS_KO = re.compile(
    r"며칠|얼마|언제|어디|누가|누구|누굴|어떻게|어떡|어떤|어느|무엇|무슨|뭐|뭔|뭘|왜|몇\s?[가-힣]|방법|절차|기준|알려|궁금"
)
_ASKS_EN = re.compile(
    r"^(?:what|what's|when|where|which|who|why|how|is|are|do|does|can|may|must|should)\b", re.IGNORECASE
)
# Nouns that say which side of a thing is meant, not which thing: a question of these alone borrows its subject.
_RELATIONAL_KO = re.compile(
    r"^(?:그럼|그러면|그리고|그런데|근데|그건|그거|그것|아까|방금|기간|기한|금액|비용|가격|요금|수수료|한도|방법|절차|대상|자격|조건|서류|양식|담당|담당자|부서|이유|사유|위치|장소|주소|번호|시간|시점|횟수|종류"
    r"|금리|이자|이율|혜택|예외|기준|규정|차이|처리|결과|현황|내용|연락처|전화|메일|링크|신청|신청서|신청자|가입|해지|취소|변경|등록|예약|접수|제출"
    r"|승인|결재|발급|반납|반환|환불|연장|갱신|조회|확인|문의|이용|사용|지급|지원|청구|정산|마감|시작|종료|최대|최소|하루|한\s?달|매월|매년|주말"
    r"|정규직|계약직|인턴|임원|신입|직원|사원|며칠|얼마|언제|어디|누가|누구|어떻게|무엇|무슨|뭐|왜|몇|어떤|어느|알려|알고|궁금|되|하|있|없|가능|필요"
    r"|받|쓰|쓸|내|낼|가|갈|오|올|보|볼|해|해야|설명|부탁|혹시|좀|얼마나|정도|때|것|수|일|개|명|번|회|시|분|월|년|원)$"
)
_WORD_KO = re.compile(r"[가-힣]+|[A-Za-z][A-Za-z0-9-]+")
_PARTICLES = re.compile(
    r"(?:은요|는요|이요|도요|에서는|에서|에게|으로는|으로|로는|까지|부터|이나|하고|처럼|에는|에도|은|는|이|가|을|를|의|에|와|과|로|만"
    r"|인가요|입니까|이에요|예요|인지|되나요|하나요|나요|까요|주세요|습니까|해야|하려면|려면|해|할|한|하는|된|되는|될)$"
)
_SIDE_KO = re.compile(r"^[가-힣]{2}[일률율액처]$")  # 지급일, 적립률, 제출처: of what?
_VERB_KO = re.compile(
    r"(?:나요|까요|가요|니까|세요|어요|아요|해요|돼요|되요|예요|이에요|줘|면|려고|려면|는지|은지|은데|는데|하고|되고|고|해서|어서|아서"
    r"|하는|되는|있는|없는|했|된|한|할|될|났|싶어)$"
)
_SMALL_EN = frozenset(
    """a an the is are was were be been do does did can could may might must should shall will would have has had what
    what's when where which who whom whose why how much many long often soon far old of in on at to for from by with
    about as and or not any some per get gets got go take takes need needs there there's i day days time
    times""".split()  # noqa: SIM905
)
_WORD_EN = re.compile(r"[A-Za-z][A-Za-z0-9'-]*")
_NAME_EN = re.compile(r"(?<=[a-z,;] )(?!I\b)[A-Z][A-Za-z0-9-]+|\b[A-Z][A-Za-z]*[A-Z0-9][A-Za-z0-9-]*\b")
_HANGUL = re.compile(r"[가-힣]")
OWN_WORDS_EN = 3  # content words from which an English question without a name can be one of its own


def self_contained(question: str) -> bool:
    """True where the question names its own subject and asks about it, and nothing in it points elsewhere."""
    text = " ".join(unicodedata.normalize("NFC", question).split())
    if "\n" in question.strip() or _POINTS_BACK.search(text):
        return False
    if _HANGUL.search(text):
        return bool(_ASKS_KO.search(text)) and not _PERSONAL.search(text) and bool(subjects(text))
    if not _ASKS_EN.search(text):
        return False
    if _NAME_EN.search(text):
        return True
    return not _PERSONAL.search(text) and " the " not in f" {text.lower()}" and len(subjects(text)) >= OWN_WORDS_EN


def subjects(text: str) -> frozenset[str]:
    """Words that name things, without particles, question words and nouns that only name a side of a thing."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    if not _HANGUL.search(text):
        words = {word.lower().removesuffix("'s") for word in _WORD_EN.findall(text)}
        return frozenset(word for word in words if word not in _SMALL_EN and len(word) > 1)
    found = set()
    for word in _WORD_KO.findall(text):
        if not _HANGUL.match(word):
            found.add(word.lower())
        elif not any(rule.search(word) for rule in (_VERB_KO, _RELATIONAL_KO)):
            stem = _stem(word)
            if len(stem) > 1 and not _RELATIONAL_KO.match(stem) and not _SIDE_KO.match(stem):
                found.add(stem)
    return frozenset(found)


def _stem(word: str) -> str:
    stem = _PARTICLES.sub("", word)
    return stem if len(stem) > 1 else word  # 휴가 ends in 가, and is not 휴


def names(text: str) -> frozenset[str]:
    """Latin words that are written as names: capitals inside a sentence, or digits and capitals in a word."""
    return frozenset(word.lower() for word in _NAME_EN.findall(" ".join(text.split())))


def personal(text: str) -> bool:
    """The speaker talks about himself, or to somebody: what follows may be meant for his case."""
    return bool(_PERSONAL.search(text)) or bool(re.search(r"\bi\b(?! (?:do|can|get|need|have)\b)", text, re.IGNORECASE))
