from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from gateway.chat import Evidence, Passage
from gateway.clock import Deadline
from gateway.retrieval.breaker import FAILURES
from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.gather import Gatherer, estimate_tokens
from gateway.retrieval.record import Record
from tests.retrieval.fakes import ScriptedSource, no_vector, passage

TOPICS = ["연차 신청", "출장 정산", "보안 점검", "요금 환불", "주차 등록", "교육 지원", "회의실 예약", "재택 근무"]


def some(collection: str, n: int = 8) -> list[Passage]:
    return [passage(f"{i}.md", 0, f"{collection} {topic} 규정", collection) for i, topic in enumerate(TOPICS[:n])]


async def gather(gatherer: Gatherer, *collections: str, text: str = "연차 신청") -> Evidence:
    return await gatherer.gather(text, frozenset(), collections, no_vector, Deadline.after(5))


async def test_evidence_is_in_canonical_order_with_the_epoch_of_before(record: Record) -> None:
    record.put("hr", Document("1.md", "t", "h", [Piece("", "x")]))
    found = [passage("b.md", 1), passage("b.md", 0, "다른 글"), passage("a.md", 4, "셋째 글")]
    evidence = await gather(Gatherer({"hr": ScriptedSource("hr", found)}, record), "hr")
    assert evidence.ids == ("hr/a.md#4", "hr/b.md#0", "hr/b.md#1")
    assert evidence.epoch == record.epoch(["hr"])
    assert not evidence.partial


async def test_a_hung_source_costs_the_hard_limit_at_most_then_nothing(record: Record) -> None:
    hung = ScriptedSource("it", [], delay_s=None)
    told: list[tuple[str, str]] = []
    gatherer = Gatherer(
        {"hr": ScriptedSource("hr", some("hr", 2)), "it": hung},
        record,
        soft_s=0.02,
        hard_s=0.05,
        on_source=lambda source, outcome, seconds: told.append((source, outcome)),
    )
    times = []
    for _ in range(FAILURES + 2):
        began = time.monotonic()
        evidence = await gather(gatherer, "hr", "it")
        times.append(time.monotonic() - began)
        assert evidence.partial
        assert len(evidence.passages) == 2
        await asyncio.sleep(0.005)
    assert hung.asked == hung.cancelled == FAILURES
    assert all(seconds < 0.2 for seconds in times)
    assert max(times[FAILURES:]) < min(times[:FAILURES])
    assert told.count(("it", "late")) == FAILURES
    assert told[-1] == ("hr", "ok")
    assert ("it", "skipped") in told
    await gatherer.close()


async def test_enough_passages_end_the_wait_at_the_soft_limit(record: Record) -> None:
    slow = ScriptedSource("it", some("it"), delay_s=2.0)
    gatherer = Gatherer({"hr": ScriptedSource("hr", some("hr")), "it": slow}, record, soft_s=0.03, hard_s=1.5)
    began = time.monotonic()
    evidence = await gather(gatherer, "hr", "it")
    assert 0.02 < time.monotonic() - began < 1.0
    assert evidence.partial
    assert {p.collection for p in evidence.passages} == {"hr"}
    await gatherer.close()
    assert slow.cancelled == 1


async def test_too_few_passages_wait_beyond_the_soft_limit(record: Record) -> None:
    slow = ScriptedSource("it", some("it"), delay_s=0.1)
    gatherer = Gatherer({"hr": ScriptedSource("hr", some("hr", 2)), "it": slow}, record, soft_s=0.01, hard_s=2.0)
    evidence = await gather(gatherer, "hr", "it")
    assert not evidence.partial
    assert {p.collection for p in evidence.passages} == {"hr", "it"}


async def test_a_source_known_to_be_slow_is_not_waited_for_once_there_is_enough(record: Record) -> None:
    slow = ScriptedSource("it", some("it"), delay_s=0.15)
    gatherer = Gatherer({"hr": ScriptedSource("hr", some("hr")), "it": slow}, record, soft_s=0.1, hard_s=1.0)
    began = time.monotonic()
    await gather(gatherer, "hr", "it")
    assert time.monotonic() - began >= 0.1
    await asyncio.sleep(0.1)  # it ends unread and its time is learnt
    began = time.monotonic()
    await gather(gatherer, "hr", "it")
    assert time.monotonic() - began < 0.08
    assert slow.cancelled == 0
    await gatherer.close()


async def test_a_failing_source_is_left_out(record: Record) -> None:
    sources = {"hr": ScriptedSource("hr", some("hr", 1)), "it": ScriptedSource("it", OSError("down"))}
    evidence = await gather(Gatherer(sources, record), "hr", "it")
    assert evidence.partial
    assert len(evidence.passages) == 1


async def test_a_cancelled_request_leaves_nothing_running(record: Record) -> None:
    hung = ScriptedSource("it", [], delay_s=None)
    gatherer = Gatherer({"it": hung}, record, hard_s=0.05)
    task = asyncio.create_task(gather(gatherer, "it"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gatherer.close()
    assert hung.cancelled == 1


async def test_only_the_named_collections_are_asked(record: Record) -> None:
    sources = {name: ScriptedSource(name, some(name)) for name in ("hr", "it")}
    await gather(Gatherer(sources, record), "hr", "unknown")
    assert (sources["hr"].asked, sources["it"].asked) == (1, 0)


async def test_near_duplicates_are_said_once_but_other_numbers_are_other_facts(record: Record) -> None:
    found = [
        passage("a.md", 0, "정규직 직원의 연차휴가는 16일이며 온피플에서 신청한다"),
        passage("copy.md", 0, "정규직 직원의 연차휴가는 16일이며, 온피플에서 신청한다."),
        passage("c.md", 0, "정규직 직원의 연차휴가는 13일이며 온피플에서 신청한다"),
    ]
    evidence = await gather(Gatherer({"hr": ScriptedSource("hr", found)}, record), "hr")
    assert [p.document for p in evidence.passages] == ["a.md", "c.md"]


async def test_the_token_budget_holds_and_the_best_passage_always_fits(record: Record) -> None:
    found = [passage(f"{i}.md", 0, f"{topic} " * 40) for i, topic in enumerate(TOPICS)]
    cost = estimate_tokens(found[0].text)
    gatherer = Gatherer({"hr": ScriptedSource("hr", found)}, record, token_budget=cost * 3)
    assert 1 < len((await gather(gatherer, "hr")).passages) < 4
    tiny = Gatherer({"hr": ScriptedSource("hr", found)}, record, token_budget=1)
    assert [p.document for p in (await gather(tiny, "hr")).passages] == ["0.md"]


async def test_passages_that_cover_the_question_lead_across_collections(record: Record) -> None:
    hr = [passage("x.md", 0, "무관한 글"), passage("y.md", 0, "연차 신청은 온피플에서")]
    it = [passage("v.md", 0, "VPN 접속 안내", "it"), passage("w.md", 0, "비밀번호 정책", "it")]
    gatherer = Gatherer({"hr": ScriptedSource("hr", hr), "it": ScriptedSource("it", it)}, record, top_k=1)
    assert (await gather(gatherer, "hr", "it", text="연차 신청은 어디서")).ids == ("hr/y.md#0",)


async def test_a_reranker_orders_and_a_late_one_is_ignored(record: Record) -> None:
    async def reverse(text: str, passages: Sequence[Passage], deadline: Deadline) -> Sequence[Passage]:
        return passages[::-1]

    async def hang(text: str, passages: Sequence[Passage], deadline: Deadline) -> Sequence[Passage]:
        await asyncio.Event().wait()
        return passages

    source = {"hr": ScriptedSource("hr", some("hr", 4))}
    assert (await gather(Gatherer(source, record, top_k=1, rerank=reverse), "hr")).ids == ("hr/3.md#0",)
    assert (await gather(Gatherer(source, record, top_k=1, hard_s=0.05, rerank=hang), "hr")).ids == ("hr/0.md#0",)
