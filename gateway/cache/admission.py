"""May this answer be kept, how long, and may another wording find it? Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.chat import Answer, CacheWishes, ChatRequest, Evidence

NOW_TTL_S = 60.0  # an answer about "now" is worth little more than the flight that made it
PARTIAL_TTL_S = 300.0  # a document source was late: right as far as it goes, better soon

# Korean has no word boundary before particles (오늘은, 지금의): match the stem. English: whole words.
# "다음 달", "next month" and longer are left out: what is carried over to them is in the rules, whatever the day.
NOW = re.compile(
    r"오늘|지금|현재|방금|실시간|금주|금일|내일|어제|그저께|엊그제|모레|글피|최근|요즘|최신"
    r"|몇\s?시(?:야|예요|인가요|입니까)"
    r"|(?:이번|지난|저번)\s?(?:달|분기|학기)|이번\s?해(?![가-힣]{2})"
    r"|(?:이번|지난|저번|다음|다다음|돌아오는)\s?(?:주(?![문기소제차])|[월화수목금토일]요일)"
    r"|까지\s?(?:며칠|몇\s?[가-힣]{1,3}|얼마나?)\s?(?:이|가|나|정도)?\s?남"
    r"|\b(?:today|tonight|tomorrow|yesterday|now|currently|latest|recent(?:ly)?|this morning"
    r"|right now|at the moment|real[- ]?time)\b"
    r"|(?<!\bthe )\b(?:(?:this|last|coming) (?:month|quarter)"
    r"|(?:this|last|next|coming) (?:week(?:end)?|(?:mon|tues|wednes|thurs|fri|satur|sun)day))\b(?! of\b)"
    r"|\b(?:days|weeks|hours)(?: are)? (?:left|remaining|to go) (?:until|till|before|to)\b"
    r"|\bhow many (?:days|weeks|hours)(?: are)?(?: left| until (?!(?:an?|the|my|i) )\w+)\s*\?",
    re.IGNORECASE,
)
PERSONAL = re.compile(  # asks for a fact about one person ("how do I change my address" does not), or names one
    r"(?:^|[^가-힣])(?:내|나의|제|저의|본인의)\s?(?:[가-힣]+\s)?[가-힣]+\s?(?:이|가|은|는|을|를)?\s?"
    r"(?:얼마|몇|며칠|언제|남았|남은|어디까지|보여|조회해|확인해)"
    r"|\b(?:what(?:'s| is| are| was)|show(?: me)?|check|tell me|when(?:'s| is)|where(?:'s| is)|how (?:much|many))\b"
    r"[^?.]{0,24}\b(?:my|mine|do i have)\b"
    r"|\b\d{6}-[1-4]\d{6}\b"  # Korean resident number
    r"|\b01[016789]-?\d{3,4}-?\d{4}\b"  # mobile number
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.]+",
    re.IGNORECASE,
)
NOT_FOUND = re.compile(
    r"찾을 수 없|찾지 못|확인할 수 없|확인되지 않|알 수 없|모르겠|나와 ?있지 않|포함되어 ?있지 않|정보가 없"
    r"|어렵습니다|죄송"
    r"|\b(?:i (?:do not|don't|could not|couldn't|cannot|can't)|not (?:found|mentioned|available|specified)"
    r"|no information|unable to|sorry|as an ai)\b",
    re.IGNORECASE,
)
NOT_FOUND_REASON = "not found"
LOOK_AT = 400  # characters of the answer searched for "not found": it stands at the beginning


@dataclass(frozen=True, slots=True)
class Limits:
    """What the model's configuration says about keeping its answers."""

    ttl_s: float = 86_400.0
    max_temperature: float = 1.0
    personal_ok: bool = False  # the cache is the caller's own (share: key)


@dataclass(frozen=True, slots=True)
class Verdict:
    keep: bool
    ttl_s: float
    semantic: bool  # may be found by another wording
    reason: str = ""  # why not kept, or not found by meaning; "" where all is well


def admissible(
    request: ChatRequest,
    answer: Answer,
    evidence: Evidence,
    wishes: CacheWishes,
    limits: Limits = Limits(),
) -> Verdict:
    """The rules in order of weight; the first that speaks gives the reason."""
    if refused := _why_not_kept(request, answer, wishes, limits):
        return Verdict(False, 0.0, False, refused)
    ttl_s = limits.ttl_s if wishes.ttl_s is None else min(wishes.ttl_s, limits.ttl_s)
    if ttl_s <= 0:
        return Verdict(False, 0.0, False, "ttl")
    if NOW.search(request.question):
        return Verdict(True, min(ttl_s, NOW_TTL_S), False, "about now")
    if PERSONAL.search(request.question) and not limits.personal_ok:
        return Verdict(True, ttl_s, False, "personal")
    if evidence.partial:  # that nothing was found may be due to what was late
        keep = why_only_exact(answer) != NOT_FOUND_REASON
        return Verdict(keep, min(ttl_s, PARTIAL_TTL_S), False, "partial evidence")
    if reason := why_only_exact(answer):
        return Verdict(True, ttl_s, False, reason)
    return Verdict(True, ttl_s, True)


def _why_not_kept(request: ChatRequest, answer: Answer, wishes: CacheWishes, limits: Limits) -> str:
    if not wishes.write:
        return "not wished"
    if not answer.choices:
        return "no choices"
    reasons = {choice.get("finish_reason") for choice in answer.choices}
    if not reasons <= {"stop", "tool_calls", "function_call"}:
        return "finish_reason"
    if any(not _says_something(choice.get("message") or {}) for choice in answer.choices):
        return "empty answer"
    temperature = request.body.get("temperature")
    if isinstance(temperature, int | float) and temperature > limits.max_temperature:
        return "temperature"
    return ""


def _says_something(message: object) -> bool:
    return isinstance(message, dict) and any(
        message.get(name) for name in ("content", "tool_calls", "function_call", "refusal", "audio")
    )


def why_only_exact(answer: Answer) -> str:
    """Why no other wording may get this answer; "" where it may."""
    message = answer.choices[0].get("message") or {}
    if message.get("tool_calls") or message.get("function_call"):
        return "tool call"
    if message.get("refusal"):
        return "refusal"
    if NOT_FOUND.search(answer.text[:LOOK_AT]):
        return NOT_FOUND_REASON
    return ""
