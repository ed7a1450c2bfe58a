"""Ten thousand lookups that must not be answered from somebody else's, another question's or an old answer."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gateway.cache.calibrated import AdaptiveRule, Calibration
from gateway.cache.decision import Rule, StrictRule
from gateway.cache.features import NAMES
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.semantic import SemanticCache
from gateway.cache.writer import CacheWriter
from gateway.chat import CachedQuestion, CacheWishes, ChatRequest, Evidence, Neighbor
from gateway.embedding.hashing import HashingEmbedder
from gateway.ports import Vector
from tests.cache.makers import Record, answer, ask, evidence, key, keys_of, message, passage

WISHES = CacheWishes()
ANYTHING = Calibration("e", np.eye(1, len(NAMES))[0] * 99, np.zeros((len(NAMES), len(NAMES))))
# Rules with their similarity bar taken away: the vetoes stand alone.
RULES: dict[str, Callable[[], Rule]] = {
    "strict": lambda: StrictRule(min_similarity=-1.0),
    "calibrated": lambda: AdaptiveRule(ANYTHING, audited=0.0),
}
KO = {
    "number": ("{}일 넘게 쓰면 어떻게 되나요?", [str(n) for n in range(1, 60)]),
    "money": ("{}원 이상 결재는 누가 하나요?", [f"{n}만" for n in range(1, 60)]),
    "native number": (
        "{} 명이 회의실을 쓸 수 있나요?",
        ["한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열"],
    ),
    "audience": ("{} 연차는 며칠인가요?", ["정규직", "계약직", "인턴", "수습", "아르바이트", "임원", "외국인", "파견"]),
    "weekday": ("{} 셔틀은 몇 시에 있나요?", [f"{day}요일" for day in "월화수목금토일"]),
    "code": ("{} 접속은 어떻게 하나요?", ["VPN", "VDI", "SSO", "OTP", "ERP", "CRM", "HRIS", "NAS", "Git", "Jira"]),
    "polarity": ("구독 {} 방법 알려주세요", ["신청", "해지", "연장", "변경", "조회"]),
    "negation": ("이 카드로 결제할 수 {}", ["있나요?", "없나요?"]),
    "bound": ("10만원 {}이면 영수증이 필요한가요?", ["이상", "이하", "초과", "미만"]),
    "place": ("{} 출장 숙박비는 얼마인가요?", ["국내", "해외"]),
}
EN = {
    "number": ("Can I carry over {} days of leave?", [str(n) for n in range(2, 60)]),
    "money": ("Who approves ${},000 of travel?", [str(n) for n in range(1, 60)]),
    "audience": ("How much leave does a {} get?", ["contractor", "manager", "student", "intern", "parent", "tenant"]),
    "weekday": ("Is the office open on {}?", ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]),
    "code": ("How do I log in to {}?", ["VPN", "SAP", "SSO", "OTP", "ERP", "CRM", "HRIS", "GitHub", "JIRA2", "AWS"]),
    "polarity": ("How do I {} two-factor login?", ["enable", "disable"]),
    "negation": ("Which plans {} SSO?", ["include", "do not include"]),
    "time": ("Can I take {} off?", ["this week", "next week", "last week"]),
}


class House:
    def __init__(self, rule: Rule, record: Record | None = None) -> None:
        store, index = MemoryStore(), MemoryIndex(max_scopes=100_000)
        self.embedder = HashingEmbedder(64)
        self.cache = SemanticCache(store, index, rule=rule, record=record)
        self.writer = CacheWriter(store, index, record=record, max_waiting=100_000)

    async def vector(self, request: ChatRequest) -> Vector:
        rows = await self.embedder.embed([request.question], query=True)
        vector: Vector = rows[0]
        return vector

    async def keep(self, request: ChatRequest, tenant: str, text: str, found: Evidence | None = None) -> None:
        self.writer.offer(
            keys_of(request, tenant), request, answer(text), found or Evidence(), await self.vector(request), WISHES
        )
        await self.writer.drain()

    async def served(self, request: ChatRequest, tenant: str, found: Evidence | None = None) -> str | None:
        fresh: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        fresh.set_result(found or Evidence())
        hit = await self.cache.lookup(
            keys_of(request, tenant),
            request.question,
            self.vector(request),
            fresh if found is not None else None,
            WISHES,
        )
        return hit.entry.answer.text if hit is not None else None


def near_misses() -> Iterator[tuple[str, str]]:
    """(kept, asked): one value of a template against every other."""
    for template, values in (*KO.values(), *EN.values()):
        for one, other in itertools.permutations(values, 2):
            yield template.format(one), template.format(other)


@pytest.mark.parametrize("rule", RULES)
async def test_a_near_miss_is_never_served(rule: str) -> None:
    """About 14,000 pairs per rule; each question is asked of a cache that holds the one next to it."""
    wrong, lookups = [], 0
    chooser = RULES[rule]()
    for kept, asked in near_misses():
        lookups += 1
        found = chooser.decide(asked, [Neighbor(CachedQuestion(kept, key()), 0.999)])
        if found.neighbor is not None:
            wrong.append((kept, asked))
    assert wrong == []
    assert lookups >= 10_000


async def test_nothing_crosses_a_tenant_a_scope_or_a_conversation() -> None:
    house, chance = House(StrictRule(-1.0)), random.Random(11)
    systems = [message("system", text) for text in ("너는 인사팀이다.", "너는 법무팀이다.", "You are HR.")]
    turns: list[tuple[str, str]] = [("인턴입니다", "네"), ("계약직입니다", "네"), ("I work in Leeds", "ok")]
    lookups = 0
    for number in range(3_000):
        system = chance.choice(systems)
        said = chance.choice(turns)
        tenant = f"t{chance.randrange(20)}"
        fields: dict[str, Any] = {"temperature": chance.choice([0.0, 0.5]), "max_tokens": chance.choice([100, 200])}
        request = ask(
            chance.choice(["연차는 며칠인가요?", "연차가 며칠이에요?", "How many days of leave?"]),
            system,
            message("user", said[0]),
            message("assistant", said[1]),
            **fields,
        )
        truth = keys_of(request, tenant).scope.digest
        lookups += 1
        found = await house.served(request, tenant)
        assert found in (None, truth), number
        if found is None:
            await house.keep(request, tenant, truth)
    assert lookups == 3_000


async def test_no_answer_outlives_its_documents() -> None:
    chance = random.Random(5)
    record = Record({f"hr/{n}.md": "v0" for n in range(30)})
    house = House(StrictRule(-1.0), record)
    served = 0
    for number in range(3_000):
        topic = chance.randrange(30)
        name = f"hr/{topic}.md"
        happens = chance.random()
        if happens < 0.05:
            record.current[name] = f"v{number}"
        elif happens < 0.07:
            record.current.pop(name, None)
        version = record.current.setdefault(name, f"v{number}")
        new = number > 2_500  # a document that every question finds, though never first
        found = evidence(
            passage(f"{topic}.md", version), *([passage("new.md", "n", score=0.5)] if new else []), epoch=f"e{new}"
        )
        record.current["hr/new.md"] = "n"
        truth = "/".join(f"{p.document}:{p.version}" for p in found.passages)
        # one topic per scope: only the documents tell a right answer from an old one
        request = ask(chance.choice(["연차는 며칠인가요?", "연차가 며칠이에요?"]), message("system", str(topic)))
        text = await house.served(request, "acme", found)
        assert text in (None, truth)
        served += text is not None
        if text is None:
            await house.keep(request, "acme", truth, found)
    assert served > 500  # it is a cache after all


async def test_no_suffix_makes_one_question_another() -> None:
    """A caller appends text to come near a question that was not asked (key collision)."""
    chance = random.Random(2)
    kept = ["연차는 며칠인가요?", "How do I disable two-factor login?", "계약직 연차는 며칠인가요?"]
    asked = ["급여일은 언제인가요?", "How do I enable two-factor login?", "정규직 연차는 며칠인가요?"]
    rule = StrictRule(0.9)
    house = House(rule)
    for text in kept:
        await house.keep(ask(text), "acme", text)
    grams = [text[i : i + 3] for text in kept for i in range(len(text) - 2)]
    for _ in range(2_000):
        suffix = "".join(chance.choices(grams, k=chance.randrange(1, 12)))
        assert await house.served(ask(f"{chance.choice(asked)} {suffix}"), "acme") is None
