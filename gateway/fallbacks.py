"""What is given by a promised time where neither draft nor big model can be: labelled, in the language of the question.

Each tells a whole answer and returns True, or sends nothing and returns False. ``nothing`` is no fallback: it is the
answer where the documents hold none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from gateway.asked import Asked, keeping, opened_by
from gateway.chat import CacheOutcome, Evidence, Send, ServedBy
from gateway.clock import WallClock
from gateway.retrieval.quote import quote
from gateway.routing.doubting import PROVISIONAL_TTL_S
from gateway.routing.draft import Drafted
from gateway.routing.plain import is_plain
from gateway.routing.told import tell

Tell = Callable[[Drafted | None, Send], Awaitable[bool]]


def fallbacks(asked: Asked, wall_clock: WallClock) -> dict[str, Tell]:
    """By the names that ``deadline.on_expiry`` has for them."""
    return {"draft": partial(quick, asked), "stale": partial(stale, wall_clock, asked), "quote": partial(quoted, asked)}


async def quick(asked: Asked, drafted: Drafted | None, send: Send) -> bool:
    """A draft that did not pass, but is more likely right than wrong. Not kept."""
    if drafted is None:
        return False
    label = (
        "빠른 답변입니다. 아직 충분히 확인되지 않았으니 출처를 함께 보시기 바랍니다.\n\n"
        if asked.korean
        else "This is a quick answer that has not been fully checked; please look at its source.\n\n"
    )
    opened = replace(opened_by(asked, ServedBy.DRAFT, drafted), labelled=True)
    tell(label + drafted.answer.text, opened, drafted.answer.usage, send)
    return True


def nothing(asked: Asked, send: Send) -> None:
    """That the documents do not say it. Kept for a while, so that who asks again at once is told the same."""
    text = not_there(asked.korean, asked.evidence)
    opened = replace(asked.opened, served_by=ServedBy.NOTICE, stages=dict(asked.ctx.timings.stages))
    tell(text, opened, None, keeping(asked, PROVISIONAL_TTL_S, send))


def not_there(korean: bool, evidence: Evidence) -> str:
    """``nothing``, in words."""
    nearest = max(evidence.passages, key=lambda passage: passage.score)
    where = f"{nearest.title or nearest.document} [doc{evidence.passages.index(nearest) + 1}]"
    return (
        f"문서에서 이 질문에 대한 답을 찾을 수 없습니다. 가장 가까운 문서: {where}"
        if korean
        else f"The documents do not contain an answer to this question. The closest one: {where}"
    )


async def stale(wall_clock: WallClock, asked: Asked, drafted: Drafted | None, send: Send) -> bool:
    """What was answered before the documents changed."""
    entry = await asked.stale()
    if entry is None:
        return False
    age_s = entry.age_s(wall_clock())
    minutes = max(1, round(age_s / 60))
    label = (
        f"{_age_ko(minutes)} 전의 답변입니다. 그 뒤에 문서가 바뀌어 지금은 다를 수 있습니다.\n\n"
        if asked.korean
        else f"This answer is {_age_en(minutes)} old; its documents have changed since and it may differ now.\n\n"
    )
    opened = replace(
        asked.opened,
        served_by=ServedBy.STALE, cache=CacheOutcome.STALE, model=entry.answer.model, citations=entry.citations,
        age_s=age_s, labelled=True, stages=dict(asked.ctx.timings.stages),
    )  # fmt: skip
    tell(label + entry.answer.text, opened, None, send)
    return True


async def quoted(asked: Asked, drafted: Drafted | None, send: Send) -> bool:
    """The best passage itself."""
    found = quote(asked.request.question, asked.evidence)
    if found is None or not is_plain(asked.request):
        return False
    lines = "\n".join(f"> {line}" for line in found.text.splitlines())
    text = (
        f"지금은 답을 완성하지 못하여, 질문과 가장 가까운 문서의 내용을 그대로 보여 드립니다.\n\n{lines}\n\n"
        f"출처: {found.source} [doc{found.number}]"
        if asked.korean
        else "No answer could be completed just now; this is the passage closest to your question.\n\n"
        f"{lines}\n\nSource: {found.source} [doc{found.number}]"
    )
    opened = replace(
        asked.opened, served_by=ServedBy.QUOTE, labelled=True, stages=dict(asked.ctx.timings.stages)
    )  # fmt: skip
    tell(text, opened, None, send)
    return True


def _age_ko(minutes: int) -> str:
    return f"{minutes}분" if minutes < 60 else f"{minutes // 60}시간" if minutes < 2880 else f"{minutes // 1440}일"


def _age_en(minutes: int) -> str:
    count, unit = (
        (minutes, "minute") if minutes < 60 else (minutes // 60, "hour") if minutes < 2880 else (minutes // 1440, "day")
    )
    return f"{count} {unit}{'s' if count > 1 else ''}"
