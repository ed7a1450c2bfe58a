"""Files and vector stores as the OpenAI SDK uses them, over real sockets."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from bench.provider import Provider
from tests.flows.house import UNSETTLED, House, house, model, says, scripted

LEAVE = "# 휴가 규정\n\n## 연차휴가\n\n정규직의 연차휴가는 1년에 {days}일이다.\n"
TRAVEL = "# Travel\n\nHotels in Seoul are refunded up to 180,000 won a night.\n"
QUESTION = "정규직의 연차휴가는 며칠인가요?"
KEYS = [
    {"key": "key-of-app-1", "tenant": "app1"},
    {"key": "key-of-app-2", "tenant": "app2"},
    {"key": "key-of-hr-of-1", "tenant": "app1", "groups": ["hr"]},
]


@asynccontextmanager
async def keyed(folder: Path, provider: Provider, **more: Any) -> AsyncIterator[House]:
    server = {"host": "127.0.0.1", "port": 0, **more.pop("server", {})}
    sections = {"documents": [{"name": "hr", "uploads": ["app1"]}], "auth": {"keys": KEYS}, "server": server, **more}
    async with house(folder, model("gpt-4", provider.base_url), HANDBOOK, **sections) as running:
        yield running


HANDBOOK = {
    "name": "handbook",
    "answers_with": "gpt-4",
    "documents": {"collections": ["hr"], "hard_s": 5},
    "settle": UNSETTLED,
}


def client(it: House, key: str = "key-of-app-1") -> AsyncOpenAI:
    return it.openai(api_key=key)


async def upload(sdk: AsyncOpenAI, name: str, text: str) -> str:
    file = await sdk.files.create(file=(name, text.encode()), purpose="assistants")
    return file.id


async def loaded(sdk: AsyncOpenAI, store: str, file: str, **more: Any) -> Any:
    """Put a file into a store and wait, as the SDK does, but not for whole seconds."""
    return await sdk.vector_stores.files.create_and_poll(file, vector_store_id=store, poll_interval_ms=20, **more)


async def test_the_sdk_uploads_loads_finds_and_deletes(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        file = await sdk.files.create(file=("휴가.md", LEAVE.format(days=15).encode()), purpose="assistants")
        assert (file.filename, file.purpose, file.status) == ("휴가.md", "assistants", "processed")
        assert (await sdk.files.content(file.id)).content == LEAVE.format(days=15).encode()
        store = await sdk.vector_stores.create(name="rules", metadata={"team": "people"})
        assert store.id.startswith("vs_")
        done = await loaded(sdk, store.id, file.id, attributes={"year": 2026})
        assert (done.status, done.last_error, done.attributes) == ("completed", None, {"year": 2026})
        other = await upload(sdk, "travel.md", TRAVEL)
        await loaded(sdk, store.id, other)
        found = await sdk.vector_stores.search(store.id, query=QUESTION, max_num_results=1)
        for odd in (0, 51):
            with pytest.raises(openai.BadRequestError, match="from 1 to 50"):
                await sdk.vector_stores.search(store.id, query=QUESTION, max_num_results=odd)
        [hit] = found.data
        assert (hit.file_id, hit.filename, hit.attributes) == (file.id, "휴가.md", {"year": 2026})
        assert "15일" in hit.content[0].text
        assert 0 < hit.score <= 1
        counted = await sdk.vector_stores.retrieve(store.id)
        assert (counted.status, counted.file_counts.completed, counted.metadata) == ("completed", 2, {"team": "people"})
        assert [f.id async for f in sdk.vector_stores.files.list(store.id, order="asc", limit=1)] == [file.id, other]
        assert [s.name async for s in sdk.vector_stores.list()] == ["rules", "hr"]
        assert "15일" in str((await sdk.vector_stores.files.content(file.id, vector_store_id=store.id)).data[0].text)

        assert (await sdk.files.delete(file.id)).deleted
        assert [h.file_id for h in (await sdk.vector_stores.search(store.id, query=QUESTION)).data] in ([], [other])
        with pytest.raises(openai.NotFoundError):
            await sdk.files.retrieve(file.id)
        renamed = await sdk.vector_stores.update(store.id, name="more rules")
        assert (renamed.name, renamed.metadata) == ("more rules", {"team": "people"})
        assert (await sdk.vector_stores.delete(store.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await sdk.vector_stores.search(store.id, query=QUESTION)
        assert [f.id async for f in sdk.files.list()] == [other]  # a store goes, its files stay
        assert provider.calls == []  # nothing of it reached the provider


async def test_the_azure_sdk_uses_the_same_pages(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, it.azure(api_key="key-of-app-1") as sdk:
        file = await sdk.files.create(file=("travel.md", TRAVEL.encode()), purpose="assistants")
        store = await sdk.vector_stores.create(name="trips", file_ids=[file.id])
        await sdk.vector_stores.files.poll(file.id, vector_store_id=store.id, poll_interval_ms=20)
        assert (await sdk.vector_stores.retrieve(store.id)).status == "completed"
        found = await sdk.vector_stores.search(store.id, query=["hotel in Seoul", "won a night"])
        assert [hit.file_id for hit in found.data] == [file.id]


async def test_another_tenant_finds_nothing_of_it_anywhere(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as mine, client(it, "key-of-app-2") as theirs:
        file = await upload(mine, "leave.md", LEAVE.format(days=15))
        store = (await mine.vector_stores.create(name="rules")).id
        await loaded(mine, store, file)
        batch = await mine.vector_stores.file_batches.create(store, file_ids=[file])
        assert [s.name async for s in theirs.vector_stores.list()] == ["hr"]
        assert [f async for f in theirs.files.list()] == []
        own = (await theirs.vector_stores.create(name="own")).id
        search = {"type": "file_search", "vector_store_ids": [store]}
        for attempt in (
            theirs.files.retrieve(file),
            theirs.files.content(file),
            theirs.files.delete(file),
            theirs.vector_stores.retrieve(store),
            theirs.vector_stores.update(store, name="x"),
            theirs.vector_stores.delete(store),
            theirs.vector_stores.search(store, query=QUESTION),
            theirs.vector_stores.files.list(store),
            theirs.vector_stores.files.retrieve(file, vector_store_id=store),
            theirs.vector_stores.files.delete(file, vector_store_id=store),
            theirs.vector_stores.files.content(file, vector_store_id=store),
            theirs.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store),
            theirs.vector_stores.files.create(own, file_id=file),
            theirs.chat.completions.create(
                model="gpt-4",
                messages=[{"role": "user", "content": QUESTION}],
                tools=[search],  # type: ignore[list-item]
            ),
        ):
            with pytest.raises(openai.NotFoundError) as refused:
                await attempt
            assert "15일" not in str(refused.value.body)
        assert (await mine.vector_stores.retrieve(store)).file_counts.completed == 1
        assert provider.calls == []


async def test_a_key_with_groups_uploads_for_its_groups_only(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it, "key-of-hr-of-1") as inside, client(it) as outside:
        file = await upload(inside, "pay.md", LEAVE.format(days=15))
        store = (await outside.vector_stores.create(name="rules")).id
        await loaded(outside, store, await upload(outside, "travel.md", TRAVEL))
        await loaded(inside, store, file)
        assert (await inside.vector_stores.search(store, query=QUESTION)).data[0].file_id == file
        for seen in (
            [h.file_id for h in (await outside.vector_stores.search(store, query=QUESTION)).data],
            [f.id async for f in outside.vector_stores.files.list(store)],
        ):
            assert file not in seen
        with pytest.raises(openai.NotFoundError):
            await outside.files.content(file)
        with pytest.raises(openai.PermissionDeniedError):
            await outside.vector_stores.update(store, name="mine")
        with pytest.raises(openai.PermissionDeniedError):
            await outside.vector_stores.delete(store)


async def test_a_store_whose_files_a_key_may_not_see_does_not_exist_for_it(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it, "key-of-hr-of-1") as inside, client(it) as outside:
        store = (await inside.vector_stores.create(name="pay")).id
        assert store in [s.id async for s in outside.vector_stores.list()]  # nothing in it yet
        await loaded(inside, store, await upload(inside, "pay.md", LEAVE.format(days=15)))
        for attempt in (
            outside.vector_stores.retrieve(store),
            outside.vector_stores.update(store, name="mine"),
            outside.vector_stores.search(store, query=QUESTION),
            outside.vector_stores.files.list(store),
            outside.vector_stores.delete(store),
        ):
            with pytest.raises(openai.NotFoundError):
                await attempt
        assert store not in [s.id async for s in outside.vector_stores.list()]
        assert (await inside.vector_stores.retrieve(store)).name == "pay"
        await inside.vector_stores.delete(store)


async def test_a_model_answers_from_what_was_uploaded_to_its_collection(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk, client(it, "key-of-app-2") as reader:
        [hr] = [s.id async for s in sdk.vector_stores.list() if s.name == "hr"]
        await loaded(sdk, hr, await upload(sdk, "leave.md", LEAVE.format(days=15)))
        answer = await reader.chat.completions.create(
            model="handbook", messages=[{"role": "user", "content": QUESTION}]
        )
        assert "15일" in str(answer.choices[0].message.content)
        for attempt in (
            reader.vector_stores.files.create(hr, file_id=await upload(reader, "x.md", TRAVEL)),
            sdk.vector_stores.delete(hr),
            sdk.vector_stores.update(hr, name="mine"),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                await attempt


async def test_a_chat_searches_the_store_it_names(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        store = (await sdk.vector_stores.create(name="rules")).id
        await loaded(sdk, store, await upload(sdk, "leave.md", LEAVE.format(days=15)))
        tools: Any = [{"type": "file_search", "vector_store_ids": [store], "max_num_results": 3}]
        for _ in range(5):  # a machine that stands still finds its passages too late now and then
            answer = await sdk.chat.completions.create(
                model="gpt-4", messages=[{"role": "user", "content": QUESTION}], tools=tools,
                extra_headers={"cache-control": "no-cache"},
            )  # fmt: skip
            if (context := (answer.choices[0].message.model_extra or {}).get("context")) is not None:
                break
        assert context is not None
        assert "15일" in context["citations"][0]["content"]
        assert "15일" in str(answer.choices[0].message.content)
        assert "tools" not in provider.calls[0].body


async def test_an_unreadable_file_fails_alone_and_says_why(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        store = (await sdk.vector_stores.create(name="rules")).id
        good, empty, odd, torn = [
            await upload(sdk, name, text)
            for name, text in (("a.md", TRAVEL), ("b.md", " \n"), ("c.exe", "MZ"), ("d.pdf", "%PDF-1.4 torn"))
        ]
        batch = await sdk.vector_stores.file_batches.create_and_poll(
            store, file_ids=[good, empty, odd, torn], poll_interval_ms=20
        )
        assert (batch.file_counts.completed, batch.file_counts.failed, batch.file_counts.in_progress) == (1, 3, 0)
        errors = {
            f.id: f.last_error async for f in sdk.vector_stores.file_batches.list_files(batch.id, vector_store_id=store)
        }
        assert errors[good] is None
        codes = {id: error.code for id, error in errors.items() if error is not None}
        assert codes == {empty: "invalid_file", odd: "unsupported_file", torn: "invalid_file"}
        assert ".exe" in str(errors[odd])
        assert len([f async for f in sdk.vector_stores.files.list(store, filter="failed")]) == 3


async def test_filters_choose_by_attributes(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        store = (await sdk.vector_stores.create(name="rules")).id
        files = {}
        for year, days in ((2024, 11), (2025, 13), (2026, 15)):
            files[year] = await upload(sdk, f"{year}.md", LEAVE.format(days=days))
            await loaded(sdk, store, files[year], attributes={"year": year, "kind": "leave"})

        async def years(filters: Any) -> set[int]:
            found = await sdk.vector_stores.search(store, query=QUESTION, filters=filters)
            return {year for year, id in files.items() if id in {hit.file_id for hit in found.data}}

        def newer(than: int) -> dict[str, Any]:
            return {"type": "gt", "key": "year", "value": than}

        assert await years({"type": "eq", "key": "year", "value": 2025}) == {2025}
        assert await years({"type": "and", "filters": [newer(2024), {"type": "ne", "key": "year", "value": 2026}]}) == {
            2025
        }
        assert await years({"type": "in", "key": "year", "value": [2024, 2026]}) == {2024, 2026}
        assert await years({"type": "eq", "key": "team", "value": "hr"}) == set()
        with pytest.raises(openai.BadRequestError):
            await years({"type": "like", "key": "year", "value": 2})


async def test_uploads_are_bounded_and_leave_nothing_behind(provider: Provider, tmp_path: Path) -> None:
    files = {"max_file_mb": 1, "max_total_mb": 1.5}
    async with keyed(tmp_path, provider, files=files, server={"max_body_mb": 0.1}) as it, client(it) as sdk:
        kept = await upload(sdk, "a.txt", "a" * 1_000_000)  # more than max_body_mb, which is for questions
        with pytest.raises(openai.APIStatusError) as large:
            await upload(sdk, "b.txt", "b" * 1_100_000)
        assert large.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as much:
            await upload(sdk, "c.txt", "c" * 700_000)
        assert much.value.status_code == 413
        with pytest.raises(openai.BadRequestError) as purpose:
            await sdk.files.create(file=("d.jsonl", b"{}"), purpose="batch")
        assert purpose.value.param == "purpose"
        assert [f.id async for f in sdk.files.list()] == [kept]
        assert [path.name for path in (tmp_path / "data" / "files").iterdir()] == [kept]
        cut = await it.post("/v1/files", b"--x\r\nbroken", content_type="multipart/form-data; boundary=x",
                            api_key="key-of-app-1")  # fmt: skip
        assert cut.status == 400
        assert (await it.post("/v1/files", {"file": "no"}, api_key="key-of-app-1")).error["param"] == "file"
        assert (await it.post("/v1/files", {})).status == 401


async def test_a_name_is_only_a_name(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        file = await sdk.files.create(file=("../../etc/passwd.md", b"# x\n\ny"), purpose="user_data")
        assert file.filename == "passwd.md"
        for path in ("..%2f..%2ffiles.db", "file-%00", "%2e%2e"):
            reply = await it.get(f"/v1/files/{path}/content", api_key="key-of-app-1")
            assert reply.status == 404


async def test_what_a_crash_interrupted_is_loaded_at_the_next_start(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        store = (await sdk.vector_stores.create(name="rules")).id
        file = await upload(sdk, "leave.md", LEAVE.format(days=15))
        gone = await upload(sdk, "travel.md", TRAVEL)
        for id in (file, gone):
            await loaded(sdk, store, id)
    with sqlite3.connect(tmp_path / "data" / "files.db") as db:  # as a killed process leaves it
        db.execute("UPDATE attached SET status = 'in_progress', pid = 999999999, claimed_at = 9e9 WHERE file = ?",
                   (file,))  # fmt: skip
        db.execute("DELETE FROM attached WHERE file = ?", (gone,))  # taken out, but its document was not deleted yet
    db.close()
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        await sdk.vector_stores.files.poll(file, vector_store_id=store, poll_interval_ms=20)
        assert (await sdk.vector_stores.files.retrieve(file, vector_store_id=store)).status == "completed"
        assert [h.file_id for h in (await sdk.vector_stores.search(store, query="Seoul hotels 연차휴가")).data] == [
            file
        ]


async def test_a_data_folder_in_trouble_is_told_as_what_it_is(provider: Provider, tmp_path: Path) -> None:
    async with keyed(tmp_path, provider) as it, client(it) as sdk:
        with sqlite3.connect(tmp_path / "data" / "files.db") as db:
            db.execute("DROP TABLE stores")
        with pytest.raises(openai.InternalServerError) as caught:
            await sdk.vector_stores.create(name="rules")
        assert (caught.value.status_code, caught.value.code) == (503, "storage_unavailable")
        assert (await it.chat("안녕하세요", "gpt-4", authorization="Bearer key-of-app-1")).status == 200


async def test_without_collections_files_are_the_providers(tmp_path: Path) -> None:
    async with scripted(says(200, {"object": "list", "data": []})) as upstream:
        async with house(tmp_path, model("gpt-4", upstream.base_url)) as it:
            assert (await it.get("/v1/files")).json == {"object": "list", "data": []}
        async with house(tmp_path, model("gpt-4", upstream.base_url), files={"api": "ocho"}) as it:
            assert (await it.get("/v1/files")).json["has_more"] is False
        named = [{"name": "hr"}]
        async with house(tmp_path, model("gpt-4", upstream.base_url), documents=named, files={"api": "provider"}) as it:
            await it.get("/v1/vector_stores")
    assert [asked.path for asked in upstream.asked] == ["/v1/files", "/v1/vector_stores"]
