"""Words that turn one question into another: the table in ``contrasts.txt``, negations, question words. Data only."""

from __future__ import annotations

from importlib.resources import files


def _rows(section: str) -> tuple[tuple[str, ...], ...]:
    text = (files("gateway.cache") / "contrasts.txt").read_text(encoding="utf-8")
    lines = text.split(f"[{section}]\n", 1)[1].split("\n[", 1)[0].splitlines()
    return tuple(tuple(line.split(" / ")) for line in lines if line and not line.startswith("#"))


AUDIENCE = _rows("audience")
HARD = _rows("hard")
SOFT = _rows("soft")

# None of these negates: 안내, 안개, 집 안에, 오늘까지 마감, 지원금지급, 궁금합니다, 송금하다, 미세먼지 마스크,
# "이거 아니면 저거", "언제인지 말해 줘", "언제인지 아니?", "내용을 아니?", "잊지 말고", "찾아봐 주지 않으시겠습니까?"
_NOT = r"않(?!으시겠|을래|겠(?:습니까|니))"
NEGATIONS_KO = (
    r"(?<![가-힣])안(?!내|개|드로|테나|녕|전|정|경|심|건|과|쪽|방|구|부|착|장|에|으로|의)\s?(?=[가-힣])|(?<![가-힣])못\s?(?=[가-힣])"
    rf"|(?<!까)(?<!잊)(?<!까먹)지\s?(?:{_NOT}|못|마(?!스크)|말(?!해|하|할|씀))|{_NOT}|없|불가|(?<![지을를]\s)아니(?!면)|지\s아니[하한할]"
    r"|(?<=[이가]\s)아니면|아닌|금지(?!급|원|불|출|정|역|점|연|갑)"
    r"|(?<!지)(?<!지\s)말고|제외|빼고|대신|보다는|자제|삼가|(?<![가-힣])금[하합]|지양"
    r"|미(?=납|사용|제출|신청|등록|지급|수령|가입|승인|포함|접종)|비(?=활성|공개|대면|정규)|(?<![가-힣])무(?=급|단|상)|무료"
)
NEGATIONS_EN = (  # "I don't know how to pay" asks how
    r"\b(?:not|no|never|none|without|except|excluding|cannot|cant|dont|doesnt|didnt|wont|isnt|arent|wasnt|werent|havent"
    r"|hasnt|hadnt|couldnt|wouldnt|shouldnt|non|unable|neither|nor|nothing|stop|avoid|unless|fail|fails|failed"
    r"|instead of|rather than|\w+n['’]t)\b(?!\s+(?:know|understand|sure|certain|idea)\b)"
)

QUESTION_WORDS: tuple[tuple[str, str, str], ...] = (  # name, Korean, English
    ("who", r"누가|누구|누굴", r"\bwho(?:m|se)?\b"),
    ("when", r"언제|며칠까지|몇\s?시|몇\s?월|무슨\s?요일", r"\bwhen\b|\bwhat (?:time|date|day)\b"),
    ("where", r"어디|어느\s?(?:곳|장소|지역)", r"\bwhere\b"),
    (
        "how_much",
        r"얼마(?!나\s?(?:걸|오래|자주|동안))|가격|비용|요금|금액",
        r"\bhow much\b|\b(?:cost|price|fee)s?\b",
    ),
    ("how_many", r"몇\s?(?:개|명|번|일|회|장|대|가지|퍼센트|프로|%|살|세)|며칠", r"\bhow many\b"),
    ("how_long", r"얼마나\s?(?:걸|오래)|얼마\s?동안|기간|소요", r"\bhow (?:long|soon|quickly|fast)\b"),
    ("how_often", r"얼마나\s?자주|주기", r"\bhow often\b"),
    ("why", r"왜|이유|원인", r"\bwhy\b|\breason\b"),
    ("which", r"어느|어떤|무슨", r"\bwhich\b"),
    (
        "how",
        r"어떻게|방법|절차|어떡해|하는\s?법",
        r"\bhow (?:do|can|to|should|would|does|did|is|am)\b|\bway to\b|\bsteps?\b",
    ),
    (
        "may",
        r"수\s?있|가능|되나|되는지|돼요\?|될까|해도\s?(?:돼|되|괜찮)",
        r"\b(?:can|may|could|am i allowed|is it (?:possible|ok|okay|allowed))\b",
    ),
)

# What a question wants, beyond the question words: two with the same content words may still want different things.
FRAMES: tuple[tuple[str, str, str], ...] = (
    ("what", r"무엇|뭐|뭘|뭔|무슨", r"\bwhat\b(?! (?:time|date|day|do|steps?|should)\b)"),
    ("how", r"", r"\bwhat (?:do|should|must) i (?:need to )?do\b"),
    (
        "must",
        r"해야|되어야|돼야|필수|의무|필요",
        r"\b(?:must|have to|has to|need to|needs? a|required|mandatory|necessary)\b",
    ),
    ("want", r"싶", r"\b(?:i want|i'd like|i would like|i wish)\b"),
    (
        "whether",
        r"는지|인지|한지",
        r"\b(?:is|are|do|does|did|was|were|will|has|have)\b(?= (?:it|there|the|my|a|an|this|you|i)\b)",
    ),
)
