"""What every book of reviewed answers promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.answers.book import Book, Conflict
from gateway.answers.redis_book import BOOK, CHANGES, RedisBook
from gateway.answers.reviewed import Change, Rejected, Reviewed, Status, change_of, id_of
from gateway.answers.sqlite_book import SqliteBook
from gateway.cache.redis_link import RedisLink, redis_client
from gateway.errors import StoreUnavailable
from tests.cache.makers import SECRET, passage
from tests.redis_server import free_port


@pytest.fixture(params=["sqlite", "redis"])
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Book, Book]]:
    """The same book, opened by two gateways."""
    if request.param == "sqlite":
        books = [SqliteBook(tmp_path / "answers.db") for _ in range(2)]
        yield books[0], books[1]
        for book in books:
            book.close()
        return
    links = [RedisLink(redis_client(request.getfixturevalue("redis_url"), timeout_s=1), timeout_s=1) for _ in range(2)]
    yield RedisBook(links[0], SECRET), RedisBook(links[1], SECRET)
    for link in links:
        await link.close()


def answer(question: str = "연차는 며칠인가요?", text: str = "15일입니다.", tenant: str = "acme") -> Reviewed:
    return Reviewed(
        id=id_of(tenant, "handbook", "", "", question), tenant=tenant, model="handbook", question=question,
        status=Status.PINNED, texts={"ko": text, "en": "15 days."}, wordings=("How many days of leave?",),
        documents={"hr/leave.md": "3-abc"}, citations=(passage(),), collections=("hr",),
        rejected=(Rejected("20일입니다.", {"hr/leave.md": "2-abc"}, 5.0),), note="물어봄", author="김", updated_at=7.5,
    )  # fmt: skip


def created(of: Reviewed) -> Change:
    return change_of(None, of, "pin")


async def test_what_one_gateway_keeps_the_other_reads_whole(two: tuple[Book, Book]) -> None:
    book, other = two
    head = await other.head()
    kept = await book.save(answer(), created(answer()))
    assert kept == replace(answer(), revision=1)
    assert await other.get("acme", kept.id) == kept
    assert await other.all() == [kept]
    assert await other.head() not in (head, 0)


async def test_a_tenant_does_not_reach_the_record_of_another(two: tuple[Book, Book]) -> None:
    book, _ = two
    kept = await book.save(answer(), created(answer()))
    assert await book.get("globex", kept.id) is None
    assert await book.history(10, tenant="globex") == []
    assert id_of("globex", "handbook", "", "", kept.question) != kept.id


async def test_a_change_of_what_was_changed_meanwhile_is_refused_and_leaves_no_trace(two: tuple[Book, Book]) -> None:
    book, other = two
    first = await book.save(answer(), created(answer()))
    second = await other.save(replace(first, note="둘"), change_of(first, replace(first, note="둘"), "edit"))
    head = await book.head()
    for stale in (first, answer()):
        with pytest.raises(Conflict):
            await book.save(stale, created(stale))
        with pytest.raises(Conflict):
            await book.delete(stale, created(stale))
    assert await book.get("acme", first.id) == second
    assert len(await book.history(10)) == 2
    assert await book.head() == head


async def test_the_history_outlives_the_record_and_says_what_changed(two: tuple[Book, Book]) -> None:
    book, other = two
    first = await book.save(answer(), created(answer()))
    edited = replace(first, texts={"ko": "16일입니다."}, author="박", updated_at=8.0)
    second = await other.save(edited, change_of(first, edited, "edit"))
    await book.delete(second, Change(second.id, "acme", 9.0, "최", "delete"))
    assert await other.all() == []
    assert await other.get("acme", first.id) is None
    lines = await other.history(10, id=first.id)
    assert [(line.action, line.who) for line in lines] == [("delete", "최"), ("edit", "박"), ("pin", "김")]
    assert lines[1].changed == {"texts": [dict(first.texts), {"ko": "16일입니다."}]}
    assert await other.history(1) == lines[:1]


async def test_a_planted_or_moved_value_in_redis_is_nobodys_answer(redis_url: str) -> None:
    link = RedisLink(redis_client(redis_url, timeout_s=1), timeout_s=1)
    book = RedisBook(link, SECRET)
    kept = await book.save(answer(), created(answer()))
    sealed = await link.client.hget(BOOK, kept.id)
    await link.client.hset(BOOK, "ans_moved", sealed)
    await link.client.hset(BOOK, "ans_odd", b"1:nonsense")
    await link.client.hset(BOOK, kept.id, sealed.replace("15일".encode(), "99일".encode()))
    await link.client.lpush(CHANGES, b"0123456789abcdef" + b"{}")
    assert await book.all() == []
    assert len(await book.history(10)) == 1
    assert await RedisBook(link, b"another secret").history(10) == []
    await link.close()


async def test_a_dead_redis_and_a_closed_file_are_stores_that_are_unavailable(tmp_path: Path) -> None:
    link = RedisLink(redis_client(f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(StoreUnavailable):
        await RedisBook(link, SECRET).all()
    await link.close()
    book = SqliteBook(tmp_path / "answers.db")
    book.close()
    with pytest.raises(StoreUnavailable):
        await book.head()


async def test_a_book_survives_its_gateway(tmp_path: Path) -> None:
    book = SqliteBook(tmp_path / "answers.db")
    kept = await book.save(answer(), created(answer()))
    book.close()
    again = SqliteBook(tmp_path / "answers.db")
    assert await again.all() == [kept]
    again.close()
