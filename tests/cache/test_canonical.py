"""One answer per intent: aliases, what they point to, and what is left when that is gone."""

from __future__ import annotations

from dataclasses import replace

from gateway.cache import canonical
from gateway.cache.canonical import Epochs
from gateway.cache.memory import MemoryIndex, MemoryStore
from gateway.cache.purging import Selection
from gateway.cache.writer import CacheWriter
from gateway.chat import CacheWishes, ChatRequest
from gateway.ports import Vector
from tests.cache.makers import Wall, answer, ask, entry, evidence, key, keys_of, passage, unit

MINE, THEIRS = key("a1"), key("b2")


async def test_an_alias_gets_what_the_canonical_entry_says_now() -> None:
    wall = Wall()
    store = MemoryStore(wall_clock=wall)
    main = entry(MINE, "16일입니다.")
    await store.put(main)
    other = canonical.alias(THEIRS, "연차 며칠?", main, evidence(passage()), wall.now)
    await store.put(other)
    assert await canonical.followed(store, other) == main
    edited = replace(main, answer=answer("17일입니다."))
    await store.put(edited)
    assert (await canonical.followed(store, other)).answer.text == "17일입니다."


async def test_an_alias_brings_an_evicted_canonical_entry_back() -> None:
    wall = Wall()
    store = MemoryStore(wall_clock=wall)
    main = entry(MINE, "16일입니다.")
    other = canonical.alias(THEIRS, "연차 며칠?", main, evidence(passage()), wall.now)
    await store.put(other)
    found = await canonical.followed(store, other)
    assert (found.key, found.answer, found.alias_of) == (MINE, main.answer, "")


async def test_an_alias_lives_no_longer_than_what_it_leads_to() -> None:
    main = entry(MINE, ttl_s=100.0)
    other = canonical.alias(THEIRS, "연차 며칠?", main, evidence(), main.created_at + 60)
    assert (other.ttl_s, other.created_at) == (40.0, main.created_at + 60)


async def test_purging_the_answer_takes_its_aliases_with_it() -> None:
    wall = Wall()
    store = MemoryStore(wall_clock=wall)
    main = entry(MINE)
    other = canonical.alias(THEIRS, "연차 며칠?", main, evidence(), wall.now)
    for one in (main, other):
        await store.put(one)
    async for _ in store.purge(Selection(entry=MINE.handle)):
        pass
    assert await store.get(THEIRS) is None
    assert await store.earlier(THEIRS) is None


def test_another_model_or_fingerprint_begins_an_epoch() -> None:
    changed: list[str] = []
    epochs = Epochs(changed.append)
    one = answer()
    for seen in (one, one, replace(one, extras={"system_fingerprint": "fp_1"}), replace(one, model="gpt-5")):
        epochs.saw("handbook", seen)
    assert changed == ["handbook", "handbook"]
    epochs.saw("other", one)
    assert len(changed) == 2


async def test_a_refusal_is_nobody_elses_answer() -> None:
    wall, told = Wall(), list[str]()
    store = MemoryStore(wall_clock=wall)
    writer = CacheWriter(store, on_outcome=told.append, wall_clock=wall)
    one, other = ask("연차는 며칠인가요?"), ask("연차 며칠?")
    for text, outcome in (("문서에서 찾을 수 없습니다.", "not found"), ("16일입니다.", "alias")):
        await store.put(entry(keys_of(one).exact, text, created_at=wall.now))
        writer.alias(keys_of(other), other, keys_of(one).exact, evidence(), None)
        await writer.drain()
        assert told.pop() == outcome
    await writer.close()


async def test_a_question_that_nothing_was_found_for_is_looked_at_again_when_a_near_one_is_answered() -> None:
    wall = Wall()
    store, index = MemoryStore(wall_clock=wall), MemoryIndex(wall_clock=wall)
    writer = CacheWriter(store, index, wall_clock=wall)
    refused, near, far = ask("연차는 며칠인가요?"), ask("연차 며칠?"), ask("주차장은 어디인가요?")

    async def kept(request: ChatRequest, text: str, vector: Vector, reopens: bool = True) -> None:
        writer.offer(keys_of(request), request, answer(text), evidence(), vector, CacheWishes(), reopens=reopens)
        await writer.drain()

    await kept(refused, "문서에서 찾을 수 없습니다.", unit(1, 0.1))
    own = keys_of(refused).exact
    assert await index.search(own.scope, unit(1, 0), 8) == []  # no other wording's answer
    await kept(far, "지하 1층입니다.", unit(0, 1))
    await kept(near, "16일입니다.", unit(1, 0), reopens=False)  # a judge will look at what was answered
    assert await store.get(own) is not None
    await kept(near, "16일입니다.", unit(1, 0))
    assert await store.get(own) is None
    before = await store.earlier(own)
    assert before is not None
    assert before.answer.text == "문서에서 찾을 수 없습니다."
    await writer.close()
