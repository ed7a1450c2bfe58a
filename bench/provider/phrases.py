"""How answers are worded, in Korean and English (data).

``{fact}`` is a statement with its citation and without a full stop; ``{topic}`` is the key words of the question.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    direct: tuple[str, ...]  # one sentence each, so that "at most one sentence" can be kept
    general: tuple[str, ...]  # no passages: one sentence each
    not_found: str
    more: tuple[str, ...]  # openings of an elaborating statement; "" = none
    stock: tuple[str, ...]  # says nothing, at length, like its model
    again: str  # repeats the fact when all else is said
    claims: tuple[str, ...]  # made-up: unsupported by any passage; no closing full stop


KOREAN = Wording(
    direct=(
        "{fact}.",
        "문서에 따르면 {fact}.",
        "규정을 확인해 보니 {fact}.",
        "관련 규정을 보면 {fact}.",
        "문의하신 내용은 이렇습니다: {fact}.",
        "결론부터 말씀드리면 {fact}.",
        "제공된 자료 기준으로 {fact}.",
    ),
    general=(
        "{topic}에 대해 문의하셨군요, 아래와 같이 정리해 드리겠습니다.",
        "{topic}에 관해서는 먼저 목적과 현재 상황을 확인하시는 것이 좋습니다.",
        "{topic}에 대한 질문이시네요, 핵심부터 말씀드리겠습니다.",
        "{topic}은(는) 상황에 따라 달라질 수 있으므로 기본 원칙부터 설명드리겠습니다.",
    ),
    not_found="문서에서 해당 내용을 찾을 수 없습니다.",
    more=("", "", "", "또한 ", "아울러 ", "참고로 ", "같은 문서에서는 "),
    stock=(
        "이 기준은 일반적인 경우를 설명한 것이며, 개별 상황에 따라 적용이 달라질 수 있습니다.",
        "구체적인 적용 여부가 궁금하시면 담당 부서에 한 번 더 확인하시는 것을 권해 드립니다.",
        "신청이나 처리 과정에서 필요한 서류가 있다면 미리 준비해 두시는 편이 좋습니다.",
        "관련 규정은 개정될 수 있으므로 최신 문서를 함께 살펴보시기 바랍니다.",
        "예외가 인정되는 경우도 있으니 본인의 조건이 어디에 해당하는지 먼저 살펴보시면 도움이 됩니다.",
        "위 내용을 바탕으로 일정과 절차를 계획하시면 불필요한 지연을 줄일 수 있습니다.",
        "비슷한 이름의 제도와 혼동하기 쉬우니 적용 대상과 조건을 구분해서 보시기 바랍니다.",
        "추가로 궁금한 점이 있으시면 조건을 조금 더 구체적으로 알려 주세요.",
        "정리하자면 {topic}에 관한 핵심은 위에서 말씀드린 내용과 같습니다.",
        "실무에서는 담당자와 미리 상의하고 진행하는 것이 가장 확실합니다.",
    ),
    again="다시 한번 정리하면 {fact}.",
    claims=(
        "이 경우 인사팀장의 서면 동의가 추가로 필요합니다",
        "다만 신청 수수료 2만 원이 별도로 부과됩니다",
        "이 혜택은 입사 후 9개월이 지나야 적용됩니다",
        "매년 11월에는 이 규정이 적용되지 않습니다",
        "주말에는 두 배로 계산됩니다",
    ),
)

ENGLISH = Wording(
    direct=(
        "{fact}.",
        "According to the documents, {fact}.",
        "I checked, and {fact}.",
        "In short, {fact}.",
        "The documents put it this way: {fact}.",
        "Based on the material provided, {fact}.",
        "Here is what applies: {fact}.",
    ),
    general=(
        "You are asking about {topic}, so let me start with the essentials.",
        "When it comes to {topic}, it helps to be clear about the goal first.",
        "Good question about {topic}, and here is a short overview.",
        "The answer on {topic} depends on the situation, so let me explain the basics.",
    ),
    not_found="The documents do not contain this.",
    more=("", "", "", "In addition, ", "Also note: ", "For reference, ", "The same document says: "),
    stock=(
        "This describes the general case, and individual situations may be treated differently.",
        "If you are unsure whether it applies to you, please check with the team in charge.",
        "It is a good idea to prepare any required paperwork ahead of time.",
        "Policies are revised from time to time, so please look at the latest version as well.",
        "There may be exceptions, so it helps to see first which conditions apply to you.",
        "Planning your schedule and the steps around this will save you avoidable delays.",
        "It is easily confused with similarly named rules, so mind whom and what it covers.",
        "If anything is still open, tell me a little more about your situation.",
        "To sum up, the essential point about {topic} is the one given above.",
        "In practice, talking to the person in charge beforehand is the safest way.",
    ),
    again="To repeat the main point, {fact}.",
    claims=(
        "written consent of the head of HR is required as well",
        "a handling fee of 20 USD is charged in addition",
        "this only applies nine months after joining",
        "the rule is suspended every November",
        "the amount is doubled on weekends",
    ),
)


def wording(korean: bool) -> Wording:
    return KOREAN if korean else ENGLISH


# Written style → polite speech. Longer endings first.
_POLITE = (
    *(("아니다", "아닙니다"), ("않는다", "않습니다"), ("는다", "습니다"), ("이다", "입니다"), ("한다", "합니다")),
    *(("된다", "됩니다"), ("하다", "합니다"), ("있다", "있습니다"), ("없다", "없습니다"), ("같다", "같습니다")),
    *(("른다", "릅니다"), ("진다", "집니다"), ("난다", "납니다"), ("온다", "옵니다"), ("간다", "갑니다")),
    *(("준다", "줍니다"), ("낸다", "냅니다"), ("린다", "립니다"), ("친다", "칩니다"), ("긴다", "깁니다")),
    *(("킨다", "킵니다"), ("본다", "봅니다"), ("쓴다", "씁니다"), ("았다", "았습니다"), ("었다", "었습니다")),
    *(("했다", "했습니다"), ("됐다", "됐습니다"), ("였다", "였습니다"), ("졌다", "졌습니다"), ("갔다", "갔습니다")),
)


def polite(statement: str) -> str:
    """A Korean statement as an answer says it: written endings made polite, fragments closed with 입니다."""
    for written, spoken in _POLITE:
        if statement.endswith(written):
            return statement[: -len(written)] + spoken
    if statement.endswith(("다", "요", "까", "음", "함", "됨", "!", "?")) or not statement:
        return statement
    last = statement[-1]
    return statement + "입니다" if "가" <= last <= "힣" or last.isdigit() or last in ")%" else statement
