from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from gateway.cache.decision import Decision
from gateway.cache.learning import same_answer
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.writer import CacheWriter, index_question
from gateway.chat import CacheKey, CacheWishes, Evidence, Neighbor
from tests.cache.makers import Wall, answer, ask, entry, key, keys_of, unit


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("연차는 15일입니다.", "연차는 15일입니다.", True),
        ("연차는 총 15일입니다.", "연차는 15일입니다.", True),
        ("연차는 15일입니다.", "연차는 11일입니다.", False),
        ("재택근무는 가능합니다.", "재택근무는 가능하지 않습니다.", False),
        ("VPN으로 접속하세요.", "VDI로 접속하세요.", False),
        ("Annual leave is 15 days.", "You get 15 days of annual leave.", True),
        ("정규직은 15일입니다.", "계약직은 15일입니다.", False),
        ("총무팀에 문의하세요.", "주차장은 지하에 있습니다.", False),
        ("", "", False),
    ],
)
def test_answers_agree_when_their_facts_do(one: str, other: str, same: bool) -> None:
    assert same_answer(entry(text=one), entry(text=other)) == same


def test_answers_from_other_documents_never_agree() -> None:
    assert not same_answer(entry(dependencies={"hr/a": "v1"}), entry(dependencies={"hr/a": "v2"}))


class Heard:
    """What a rule is told."""

    candidates = 8

    def __init__(self) -> None:
        self.learned: list[dict[str, bool]] = []
        self.repeats: list[bool] = []

    def decide(self, asked: str, neighbors: Sequence[Neighbor]) -> Decision:
        return Decision(None, "only listens")

    def worth_asking(self, asked: str, neighbors: Sequence[Neighbor], keys: Sequence[CacheKey]) -> None:
        """Knows nothing."""

    def learn(self, asked: str, neighbors: Sequence[Neighbor], same: Mapping[CacheKey, bool]) -> None:
        self.learned.append({under.digest: agreed for under, agreed in same.items()})

    def repeated(self, agreed: bool) -> None:
        self.repeats.append(agreed)


async def test_the_rule_hears_which_near_answers_agree_also_from_other_documents() -> None:
    store, index, rule = MemoryStore(wall_clock=Wall()), MemoryIndex(wall_clock=Wall()), Heard()
    told: list[str] = []
    for name, text, document in (("a", "15일입니다.", "x"), ("b", "15일입니다.", "y"), ("c", "11일입니다.", "x")):
        kept = entry(key(name), text, question=f"질문 {name}", dependencies={document: "v1"})
        await store.put(kept)
        told.append(await index_question(store, index, kept, unit(1, len(told) / 20), rule))
    assert told == ["kept", "kept", "kept"]
    assert rule.learned == [{}, {"a": True}, {"b": False, "a": False}]


async def test_the_rule_hears_how_the_same_question_is_answered_again() -> None:
    rule = Heard()
    writer = CacheWriter(MemoryStore(), MemoryIndex(), rule=rule)
    for text in ("15일입니다.", "연차는 15일입니다.", "11일입니다."):
        writer.offer(keys_of(ask()), ask(), answer(text), Evidence(), unit(1, 0), CacheWishes())
    await writer.close()
    assert rule.repeats == [True, False]
    assert rule.learned == [{}]  # asked again, it has nothing to say about other questions


async def test_that_another_model_answers_otherwise_says_nothing_of_how_the_first_would() -> None:
    rule = Heard()
    writer = CacheWriter(MemoryStore(), MemoryIndex(), rule=rule)
    for text, model in (("15일입니다.", "small"), ("11일입니다.", "big")):
        told = replace(answer(text), model=model)
        writer.offer(keys_of(ask()), ask(), told, Evidence(), unit(1, 0), CacheWishes())
    await writer.close()
    assert rule.repeats == []


async def test_an_equal_answer_makes_the_question_an_alias_of_the_first() -> None:
    store, index = MemoryStore(wall_clock=Wall()), MemoryIndex(wall_clock=Wall())
    told = []
    for name, text, vector in (
        ("a", "15일입니다.", unit(1, 0)),
        ("b", "15일입니다.", unit(1, 0.1)),
        ("c", "11일입니다.", unit(1, 0.12)),
        ("d", "15일입니다.", unit(0, 1)),
    ):
        kept = entry(key(name), text, question=f"질문 {name}")
        await store.put(kept)
        told.append(await index_question(store, index, kept, vector))
    assert told == ["kept", "linked", "kept", "kept"]
    found = await index.search(key().scope, unit(1, 0), 4)
    assert [(n.question.text[-1], n.question.key.digest) for n in found][:3] == [("a", "a"), ("b", "a"), ("c", "c")]
