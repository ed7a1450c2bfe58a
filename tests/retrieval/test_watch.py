from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.retrieval.ingest import IngestReport, ingest
from gateway.retrieval.ingest.watch import watch
from gateway.retrieval.record import Record

LOOK_S = 0.02


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# 연차\n\n15일", encoding="utf-8")
    return folder


@asynccontextmanager
async def watched(record: Record, folder: Path) -> AsyncIterator[asyncio.Queue[IngestReport]]:
    reports: asyncio.Queue[IngestReport] = asyncio.Queue()
    stop = asyncio.Event()
    task = asyncio.create_task(
        watch(record, "hb", folder, stop, on_report=reports.put_nowait, every_s=LOOK_S, exclude=["*.tmp.md"])
    )
    try:
        await asyncio.wait_for(reports.get(), 20)  # of what is there already
        yield reports
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task  # ends by itself, without cancelling


def names(record: Record) -> list[str]:
    return [info.document for info in record.documents("hb")]


async def until(reports: asyncio.Queue[IngestReport], record: Record, wanted: list[str]) -> None:
    async with asyncio.timeout(20):
        while names(record) != wanted:
            await reports.get()


async def test_new_changed_renamed_and_deleted_files_are_followed(record: Record, folder: Path) -> None:
    async with watched(record, folder) as reports:
        (folder / "sub").mkdir()
        (folder / "sub" / "b.md").write_text("# 출장\n\n숙박비", encoding="utf-8")
        (folder / "c.tmp.md").write_text("not meant", encoding="utf-8")
        await until(reports, record, ["a.md", "sub/b.md"])
        (folder / "a.md").write_text("# 연차\n\n열여섯 일", encoding="utf-8")
        async with asyncio.timeout(20):
            while "열여섯" not in record.text("hb", "a.md")[0].text:
                await reports.get()
        os.rename(folder / "sub" / "b.md", folder / "trip.md")
        await until(reports, record, ["a.md", "trip.md"])
        (folder / "trip.md").unlink()
        await until(reports, record, ["a.md"])


async def test_documents_of_other_folders_are_left_alone(record: Record, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# other\n\ntext", encoding="utf-8")
    await ingest(record, "hb", [tmp_path / "other.md"])
    async with watched(record, folder) as reports:
        (folder / "a.md").unlink()
        await until(reports, record, ["other.md"])


async def test_a_folder_that_vanishes_deletes_nothing_and_may_come_back(record: Record, folder: Path) -> None:
    async with watched(record, folder) as reports:
        moved = folder.with_name("away")
        os.rename(folder, moved)
        await asyncio.sleep(5 * LOOK_S)
        assert names(record) == ["a.md"]
        (moved / "b.md").write_text("# new\n\ntext", encoding="utf-8")
        os.rename(moved, folder)
        await until(reports, record, ["a.md", "b.md"])


async def test_a_bad_file_is_told_and_the_watch_goes_on(record: Record, folder: Path) -> None:
    async with watched(record, folder) as reports:
        (folder / "torn.pdf").write_bytes(b"%PDF-1.4 torn")
        async with asyncio.timeout(20):
            while not (report := await reports.get()).failed:
                pass
        assert report.failed[0][0] == "torn.pdf"
        (folder / "b.md").write_text("# new\n\ntext", encoding="utf-8")
        await until(reports, record, ["a.md", "b.md"])


async def test_a_file_saved_by_delete_and_rename_never_disappears(record: Record, folder: Path) -> None:
    """As editors save: the old file goes, the new one comes under its name."""
    async with watched(record, folder) as reports:
        version = record.versions(["hb/a.md"])
        (folder / ".a.md.swp").write_text("# 연차\n\n스무 일", encoding="utf-8")
        os.replace(folder / ".a.md.swp", folder / "a.md")
        report = await asyncio.wait_for(reports.get(), 20)
        assert (report.changed, report.deleted) == (1, 0)
        assert record.versions(["hb/a.md"]) != version
