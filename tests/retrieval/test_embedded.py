from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.documents import Document, Piece
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from tests.retrieval.fakes import HashingEmbedder, no_vector

EMBEDDER = HashingEmbedder()


async def put(record: Record, name: str, *texts: str, groups: tuple[str, ...] = (), embed: bool = True) -> None:
    vectors = list(await EMBEDDER.embed(texts, query=False)) if embed else None
    record.put(
        "hr",
        Document(name, name, f"{texts}", [Piece("", text) for text in texts], vectors, groups),
        model=EMBEDDER.model,
    )


def ask(text: str, k: int = 5, groups: frozenset[str] = frozenset(), vector: Vector | None = None) -> Search:
    async def later() -> Vector | None:
        return vector if vector is not None else await EMBEDDER.one(text)

    return Search(text, k, groups, later)


def soon() -> Deadline:
    return Deadline.after(5.0)


@pytest.fixture
async def source(record: Record) -> AsyncIterator[EmbeddedSource]:
    source = EmbeddedSource("hr", record, model=EMBEDDER.model)
    yield source
    await source.close()


async def test_it_finds_the_passage_with_the_words(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.", "이월은 6일까지 된다.")
    await put(record, "vpn.md", "VPN 접속은 사번으로 한다.")
    found = await source.search(ask("연차휴가 며칠"), soon())
    assert found[0].id == "hr/leave.md#0"
    assert found[0].version == record.versions(["hr/leave.md"])["hr/leave.md"]
    assert found == sorted(found, key=lambda p: -p.score)


async def test_an_empty_collection_has_nothing(source: EmbeddedSource) -> None:
    assert await source.search(ask("연차"), soon()) == []


async def test_changes_show_in_the_very_next_search(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")
    assert [p.text for p in await source.search(ask("연차휴가"), soon())] == ["연차휴가는 16일이다."]
    await put(record, "leave.md", "연차휴가는 17일이다.")
    assert [p.text for p in await source.search(ask("연차휴가"), soon())] == ["연차휴가는 17일이다."]
    await put(record, "sick.md", "병가휴가는 10일이다.")
    assert len(await source.search(ask("휴가는"), soon())) == 2
    record.delete("hr", ["leave.md"])
    assert [p.document for p in await source.search(ask("휴가는"), soon())] == ["sick.md"]


async def test_a_change_in_the_middle_of_a_search_never_lets_the_old_text_out(
    record: Record, source: EmbeddedSource
) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")
    await source.warm()

    async def changes_it_meanwhile() -> Vector | None:
        await put(record, "leave.md", "연차휴가는 17일이다.")
        return None

    found = await source.search(Search("연차휴가", 5, frozenset(), changes_it_meanwhile), soon())
    assert [p.text for p in found] in ([], ["연차휴가는 17일이다."])


async def test_a_dropped_collection_is_empty(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")
    assert await source.search(ask("연차휴가"), soon())
    record.drop("hr")
    assert await source.search(ask("연차휴가"), soon()) == []
    await put(record, "leave.md", "연차휴가는 20일이다.")
    assert [p.text for p in await source.search(ask("연차휴가"), soon())] == ["연차휴가는 20일이다."]


async def test_rights_taken_away_count_at_once(record: Record, source: EmbeddedSource) -> None:
    await put(record, "pay.md", "연봉 인상률은 5%다.", groups=("managers",))
    managers = frozenset({"managers"})
    assert await source.search(ask("연봉 인상률"), soon()) == []
    assert await source.search(ask("연봉 인상률", groups=managers), soon())
    record.set_groups("hr", ["board"], "pay.md")
    assert await source.search(ask("연봉 인상률", groups=managers), soon()) == []


async def test_words_go_on_alone_when_the_vector_is_late_or_fails(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")

    async def never() -> Vector | None:
        await asyncio.Event().wait()
        return None

    async def broken() -> Vector | None:
        raise ConnectionError

    deadline = Deadline.after(1.5)
    assert len(await source.search(Search("연차휴가", 5, frozenset(), never), deadline)) == 1
    assert deadline.remaining_s() > 0  # before whoever asks has given up
    assert len(await source.search(Search("연차휴가", 5, frozenset(), broken), soon())) == 1


async def test_meaning_finds_what_words_do_not(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")
    await put(record, "vpn.md", "VPN 접속은 사번으로 한다.")
    vector = await EMBEDDER.one("연차휴가는 16일이다.")
    found = await source.search(ask("annual holidays", vector=vector), soon())
    assert found[0].document == "leave.md"


async def test_vectors_that_come_later_are_used(record: Record, source: EmbeddedSource) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.", embed=False)
    vector = await EMBEDDER.one("연차휴가는 16일이다.")
    assert await source.search(ask("holidays", vector=vector), soon()) == []
    ((id, _, _),) = record.without_vectors("hr", EMBEDDER.model, 5)
    record.add_vectors("hr", EMBEDDER.model, {id: vector})
    assert len(await source.search(ask("holidays", vector=vector), soon())) == 1


async def test_without_a_model_no_vector_is_asked_for(record: Record) -> None:
    await put(record, "leave.md", "연차휴가는 16일이다.")
    source = EmbeddedSource("hr", record)

    async def must_not() -> Vector | None:
        raise AssertionError

    assert len(await source.search(Search("연차휴가", 5, frozenset(), must_not), soon())) == 1
    await source.close()


async def test_many_searches_beside_many_changes_see_only_current_text(record: Record, source: EmbeddedSource) -> None:
    async def writer() -> None:
        for n in range(40):
            await asyncio.to_thread(
                record.put, "hr", Document(f"{n % 7}.md", "t", str(n), [Piece("", f"연차휴가 번호 {n}")])
            )

    async def reader() -> None:
        for _ in range(40):
            for found in await source.search(Search("연차휴가", 10, frozenset(), no_vector), soon()):
                n = int(found.text.split()[-1])
                assert n % 7 == int(found.document[0])

    await asyncio.gather(writer(), reader(), reader())
    found = await source.search(Search("연차휴가", 10, frozenset(), no_vector), soon())
    assert sorted(int(p.text.split()[-1]) for p in found) == list(range(33, 40))
