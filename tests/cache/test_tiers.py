"""Exact and semantic lookups, the writer behind them, and the documents they must agree with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.cache.admission import NOW_TTL_S, admissible
from gateway.cache.decision import StrictRule
from gateway.cache.exact import ExactCache
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.chat import Answer, CacheOutcome, CacheWishes, ChatRequest, Evidence
from gateway.embedding.hashing import HashingEmbedder
from gateway.errors import StoreUnavailable
from gateway.ports import Vector
from tests.cache.makers import Record, Wall, answer, ask, entry, evidence, key, keys_of, passage

WISHES = CacheWishes()
COLLECTIONS = ("hr",)
FOUND = evidence(passage())


class House:
    """A cache with everything in memory."""

    def __init__(self, record: Record | None = None) -> None:
        self.wall = Wall()
        self.record = record
        self.embedder = HashingEmbedder()
        self.store = MemoryStore(wall_clock=self.wall)
        self.index = MemoryIndex(wall_clock=self.wall)
        self.told: list[str] = []
        self.exact = ExactCache(self.store, wall_clock=self.wall)
        self.semantic = SemanticCache(
            self.store,
            self.index,
            rule=StrictRule(0.6),
            record=record,
            on_reject=self.told.append,
            wall_clock=self.wall,
        )
        self.writer = CacheWriter(
            self.store, self.index, record=record, on_outcome=self.told.append, wall_clock=self.wall
        )

    async def vector(self, text: str) -> Vector:
        rows = await self.embedder.embed([text], query=True)
        return np.asarray(rows[0])

    async def keep(self, request: ChatRequest, kept: Answer | None = None, found: Evidence | None = None) -> None:
        vector = await self.vector(request.question)
        self.writer.offer(keys_of(request), request, kept or answer(), found or evidence(epoch=""), vector, WISHES)
        await self.writer.drain()

    async def by_meaning(
        self, request: ChatRequest, found: Evidence | None = None, wishes: CacheWishes = WISHES
    ) -> Any:
        fresh: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        fresh.set_result(found or Evidence())
        return await self.semantic.lookup(
            keys_of(request),
            request.question,
            self.vector(request.question),
            fresh if found is not None else None,
            wishes,
        )


async def test_the_same_question_is_answered_from_the_cache() -> None:
    house = House()
    await house.keep(ask())
    hit = await house.exact.lookup(keys_of(ask()), WISHES)
    assert hit is not None
    assert (hit.outcome, hit.entry.answer) == (CacheOutcome.EXACT, answer())


@pytest.mark.parametrize("wishes", [CacheWishes(read=False), CacheWishes(max_age_s=5)])
async def test_the_caller_may_refuse_a_kept_or_an_old_answer(wishes: CacheWishes) -> None:
    house = House()
    await house.keep(ask())
    house.wall.now += 6
    assert await house.exact.lookup(keys_of(ask()), wishes) is None
    assert await house.by_meaning(ask("연차는 며칠인가요??"), wishes=wishes) is None


async def test_another_wording_finds_the_answer() -> None:
    house = House()
    await house.keep(ask("연차는 며칠인가요?"))
    hit = await house.by_meaning(ask("연차는 며칠 인가요"))
    assert hit is not None
    assert hit.outcome is CacheOutcome.SEMANTIC


@pytest.mark.parametrize(
    ("kept", "asked", "reason"),
    [
        ("연차는 15일인가요?", "연차는 20일인가요?", "numbers"),
        ("출장비 3만원 넘으면요?", "출장비 5만원 넘으면요?", "numbers"),
        ("정규직 연차는 며칠인가요?", "계약직 연차는 며칠인가요?", "audience, time or measure"),
        ("연차는 며칠인가요?", "인턴 연차는 며칠인가요?", "audience, time or measure"),
        ("연차를 쓸 수 있나요?", "연차를 쓸 수 없나요?", "negation"),
        ("VPN 접속 방법 알려줘", "VDI 접속 방법 알려줘", "codes"),
        ("구독 신청은 어떻게 하나요?", "구독 해지는 어떻게 하나요?", "polarity"),
        ("10만원 이상 결재는?", "10만원 이하 결재는?", "audience, time or measure"),
        ("회의실 예약은 언제 하나요?", "회의실 예약은 어디서 하나요?", "polarity"),
        ("How do I enable two-factor login?", "How do I disable two-factor login?", "polarity"),
        ("Can I carry over 5 days?", "Can I carry over 10 days?", "numbers"),
        ("Which plans include SSO?", "Which plans do not include SSO?", "negation"),
        ("Is travel on Monday paid?", "Is travel on Friday paid?", "audience, time or measure"),
    ],
)
async def test_a_question_that_turns_on_something_else_is_a_miss(kept: str, asked: str, reason: str) -> None:
    house = House()
    house.semantic = SemanticCache(
        house.store, house.index, rule=StrictRule(0.0), on_reject=house.told.append, wall_clock=house.wall
    )
    await house.keep(ask(kept))
    assert await house.by_meaning(ask(asked)) is None
    assert house.told == ["kept", reason]


async def test_an_answer_that_was_put_right_to_nothing_found_is_told_to_nobody_who_asks_otherwise() -> None:
    house = House()
    await house.keep(ask("정규직 연차는 며칠인가요"), answer("15일입니다."))
    assert await house.by_meaning(ask("정규직 연차는 며칠인가요?")) is not None
    await house.keep(ask("정규직 연차는 며칠인가요"), answer("문서에서 찾을 수 없습니다."))
    assert await house.by_meaning(ask("정규직 연차는 며칠인가요?")) is None
    assert (await house.exact.lookup(keys_of(ask("정규직 연차는 며칠인가요")), WISHES)) is not None


async def test_a_document_answer_is_kept_with_what_it_saw_and_found_again() -> None:
    house = House(Record({"hr/leave.md": "v1"}))
    await house.keep(ask(), found=FOUND)
    hit = await house.exact.lookup(keys_of(ask()), WISHES, house.record, COLLECTIONS)
    assert hit is not None
    assert hit.entry.dependencies == {"hr/leave.md": "v1"}
    assert await house.by_meaning(ask("연차는 며칠 인가요"), FOUND) is not None


@pytest.mark.parametrize("versions", [{"hr/leave.md": "v2"}, {}])
async def test_a_changed_or_deleted_document_voids_its_answers_in_both_tiers(versions: dict[str, str]) -> None:
    record = Record({"hr/leave.md": "v1"})
    house = House(record)
    await house.keep(ask(), found=FOUND)
    record.current = versions
    assert await house.exact.lookup(keys_of(ask()), WISHES, record, COLLECTIONS) is None
    assert await house.exact.confirm(keys_of(ask()), WISHES, record, FOUND) is None
    assert await house.by_meaning(ask("연차는 며칠 인가요"), FOUND) is None


async def test_a_new_document_is_a_miss_unless_this_question_does_not_find_it() -> None:
    record = Record({"hr/leave.md": "v1"})
    house = House(record)
    await house.keep(ask(), found=FOUND)
    record.now = "e2"
    assert await house.exact.lookup(keys_of(ask()), WISHES, record, COLLECTIONS) is None
    with_new = evidence(passage(), passage("new.md", score=2.0), epoch="e2")
    assert await house.exact.confirm(keys_of(ask()), WISHES, record, with_new) is None
    assert await house.by_meaning(ask("연차는 며칠 인가요"), with_new) is None
    assert await house.exact.confirm(keys_of(ask()), WISHES, record, replace(FOUND, epoch="e2")) is not None
    assert await house.exact.lookup(keys_of(ask()), WISHES, record, COLLECTIONS) is not None


async def test_partial_evidence_proves_nothing() -> None:
    house = House(Record({"hr/leave.md": "v1"}))
    await house.keep(ask(), found=FOUND)
    assert await house.by_meaning(ask("연차는 며칠 인가요"), replace(FOUND, partial=True)) is None


async def test_an_answer_whose_document_changed_meanwhile_is_not_kept() -> None:
    house = House(Record({"hr/leave.md": "v2"}))
    await house.keep(ask(), found=FOUND)
    assert house.told == ["document changed"]
    assert await house.store.get(keys_of(ask()).exact) is None


@pytest.mark.parametrize(
    ("request_", "kept", "wishes", "keep", "semantic", "reason"),
    [
        (ask(), answer(), WISHES, True, True, ""),
        (ask(), answer(finish_reason="length"), WISHES, False, False, "finish_reason"),
        (ask(), answer(finish_reason="content_filter"), WISHES, False, False, "finish_reason"),
        (ask(), Answer((), "m"), WISHES, False, False, "no choices"),
        (ask(), answer(""), WISHES, False, False, "empty answer"),
        (ask(), answer("", "tool_calls", tool_calls=[{"id": "c"}]), WISHES, True, False, "tool call"),
        (ask(), answer("", refusal="안 됩니다"), WISHES, True, False, "refusal"),
        (ask(), answer("문서에서 찾을 수 없습니다."), WISHES, True, False, "not found"),
        (ask(temperature=1.2), answer(), WISHES, False, False, "temperature"),
        (ask("오늘 점심 메뉴는?"), answer(), WISHES, True, False, "about now"),
        (ask("내 연차가 며칠 남았어?"), answer(), WISHES, True, False, "personal"),
        (ask("How do I change my address?"), answer(), WISHES, True, True, ""),
        (ask("What is my balance?"), answer(), WISHES, True, False, "personal"),
        (ask(), answer(), CacheWishes(write=False), False, False, "not wished"),
        (ask(), answer(), CacheWishes(ttl_s=0), False, False, "ttl"),
    ],
)
def test_admission(
    request_: ChatRequest, kept: Answer, wishes: CacheWishes, keep: bool, semantic: bool, reason: str
) -> None:
    verdict = admissible(request_, kept, Evidence(), wishes)
    assert (verdict.keep, verdict.semantic, verdict.reason) == (keep, semantic, reason)


RELATIVE = (
    "다음 주 식단은?", "다음주 월요일은 쉬나요?", "지난주 공지가 뭐였죠?", "급여일까지 며칠 남았나요?",
    "이번 분기 목표는?",
    "이번 달 행사는?", "이번 주 당직은 누구?", "이번 토요일에 출근하나요?", "그저께 회의록은?", "모레 휴무인가요?",
    "어제 올라온 공지는?", "마감까지 얼마나 남았어요?", "Is the office open next Monday?", "What was served last week?",
    "Any events this weekend?", "How many days until payday?", "How many days are left until the deadline?",
    "How many days left?", "Who is on duty this week?", "What are the goals this quarter?",
)  # fmt: skip
LASTING = (
    "휴가는 며칠 전까지 신청하나요?", "남은 연차는 다음 달로 이월되나요?", "급여는 다음 달 며칠에 지급되나요?",
    "다음 주문부터 할인되나요?", "이번 주소로 바꾸려면?", "다음 해로 넘어가는 연차는?",
    "유효 기간이 남은 쿠폰은 환불되나요?",
    "신청은 며칠까지 가능한가요?", "월요일에도 접수하나요?", "Must I report it within 3 days?",
    "Who is my next of kin?",
    "What happens on the last day of employment?", "Does leave carry over to next year?",
    "Are points paid in the last week of the month?", "Can I move it to the next month?",
    "How many days until the refund arrives?", "What happens to days left at the end of the year?",
    "How many days before a trip do I book?", "What is the next step?",
)  # fmt: skip


@pytest.mark.parametrize("question", RELATIVE)
def test_a_question_about_a_date_seen_from_today_is_kept_for_a_minute(question: str) -> None:
    verdict = admissible(ask(question), answer(), Evidence(), WISHES)
    assert (verdict.ttl_s, verdict.semantic, verdict.reason) == (NOW_TTL_S, False, "about now")


@pytest.mark.parametrize("question", LASTING)
def test_a_question_about_a_rule_is_not_about_now(question: str) -> None:
    assert admissible(ask(question), answer(), Evidence(), WISHES).reason != "about now"


@pytest.mark.parametrize(
    ("text", "keep"), [("연차휴가는 1년에 16일입니다.", True), ("문서에서 찾을 수 없습니다.", False)]
)
def test_where_a_source_was_late_a_refusal_is_not_kept(text: str, keep: bool) -> None:
    verdict = admissible(ask(), answer(text), replace(FOUND, partial=True), WISHES)
    assert (verdict.keep, verdict.semantic, verdict.reason) == (keep, False, "partial evidence")


class Away:
    async def get(self, key: object) -> None:
        raise StoreUnavailable("away")

    put = delete = get


async def test_a_store_in_trouble_is_a_miss_and_never_an_error() -> None:
    house = House()
    away: Any = Away()
    writer = CacheWriter(away, on_outcome=house.told.append)
    writer.offer(keys_of(ask()), ask(), answer(), Evidence(), None, WISHES)
    await writer.close()
    assert house.told == ["store away"]
    assert await ExactCache(away).lookup(keys_of(ask()), WISHES) is None


async def test_a_full_queue_drops_and_says_so() -> None:
    house = House()
    writer = CacheWriter(house.store, on_outcome=house.told.append, max_waiting=1)
    for _ in range(3):
        writer.offer(keys_of(ask()), ask(), answer(), Evidence(), None, WISHES)
    await writer.close()
    assert sorted(house.told) == ["dropped", "dropped", "kept"]


async def test_the_least_used_answer_makes_room() -> None:
    store = MemoryStore(max_bytes=20_000, wall_clock=Wall())
    for number in range(100):
        await store.put(entry(key(str(number))))
        await store.get(key("0"))
    stats = await store.stats()
    assert stats["bytes"] <= 20_000
    assert await store.get(key("0")) is not None
    assert await store.get(key("1")) is None
    await store.put(entry(key("big"), "가" * 20_000))
    assert await store.get(key("big")) is None
