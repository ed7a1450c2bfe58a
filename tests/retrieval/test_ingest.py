from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.ingest import Progress, UnreadableFile, ingest, put_bytes
from gateway.retrieval.ingest.apart import cut_apart
from gateway.retrieval.ingest.cut import Cut, cut
from gateway.retrieval.record import Record
from gateway.retrieval.sources.embedded import EmbeddedSource
from tests.retrieval.fakes import HashingEmbedder, no_vector
from tests.retrieval.files import docx_file, pdf_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "hr").mkdir(parents=True)
    (folder / "hr" / "연차.md").write_text("# 연차휴가\n\n정규직은 16일이다.", encoding="utf-8")
    (folder / "vpn.txt").write_text("VPN 안내\n\n사번으로 접속한다.", encoding="utf-8")
    (folder / "trip.docx").write_bytes(docx_file())
    (folder / "logo.png").write_bytes(b"\x89PNG")
    (folder / ".git").mkdir()
    (folder / ".git" / "notes.md").write_text("hidden", encoding="utf-8")
    return folder


def names(record: Record) -> list[str]:
    return [info.document for info in record.documents("hb")]


async def test_a_folder_becomes_documents_named_by_their_path(record: Record, folder: Path) -> None:
    report = await ingest(record, "hb", [folder])
    assert (report.added, report.failed) == (3, [])
    assert names(record) == ["hr/연차.md", "trip.docx", "vpn.txt"]
    assert [info.title for info in record.documents("hb")] == ["연차휴가", "출장비 규정", "VPN 안내"]
    assert report.passages == sum(info.passages for info in record.documents("hb"))


async def test_a_file_whose_name_is_no_text_is_told_and_the_rest_goes_on(record: Record, folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.md")).write_text("# x", encoding="utf-8")
    report = await ingest(record, "hb", [folder])
    assert (report.added, report.failed) == (3, [("?.md", "its name is not UTF-8: rename it")])


async def test_only_what_changed_is_done_again(record: Record, folder: Path) -> None:
    await ingest(record, "hb", [folder])
    versions, epoch = record.versions(["hb/hr/연차.md", "hb/vpn.txt"]), record.epoch(["hb"])
    again = await ingest(record, "hb", [folder])
    assert (again.added, again.changed, again.unchanged, again.passages) == (0, 0, 3, 0)
    assert record.epoch(["hb"]) == epoch
    (folder / "vpn.txt").write_text("VPN 안내\n\n지문으로 접속한다.", encoding="utf-8")
    third = await ingest(record, "hb", [folder])
    assert (third.changed, third.unchanged) == (1, 2)
    now = record.versions(["hb/hr/연차.md", "hb/vpn.txt"])
    assert now["hb/hr/연차.md"] == versions["hb/hr/연차.md"]
    assert now["hb/vpn.txt"] != versions["hb/vpn.txt"]


async def test_prune_deletes_what_is_gone_and_nothing_that_failed(record: Record, folder: Path) -> None:
    await ingest(record, "hb", [folder])
    (folder / "vpn.txt").unlink()
    (folder / "trip.docx").write_bytes(b"PK broken")
    kept = await ingest(record, "hb", [folder])
    assert (kept.deleted, [path for path, _ in kept.failed]) == (0, ["trip.docx"])
    pruned = await ingest(record, "hb", [folder], prune=True)
    assert pruned.deleted == 1
    assert names(record) == ["hr/연차.md", "trip.docx"]  # the broken file's last good version stays
    with pytest.raises(ValueError, match="prune"):
        await ingest(record, "hb", [folder / "hr" / "연차.md"], prune=True)


async def test_files_that_cannot_be_read_are_told_and_the_rest_goes_on(record: Record, folder: Path) -> None:
    (folder / "a-empty.md").write_bytes(b"")
    (folder / "b-secret.pdf").write_bytes(pdf_file([["x"]], password="1"))
    (folder / "c-broken.docx").write_bytes(b"PK\x03\x04")
    told: list[Progress] = []
    report = await ingest(record, "hb", [folder], on_progress=told.append)
    assert [path for path, _ in report.failed] == ["a-empty.md", "b-secret.pdf", "c-broken.docx"]
    assert report.added == 3
    assert [p.done for p in told] == list(range(1, 7))
    assert {p.total for p in told} == {6}
    assert [p.outcome for p in told].count("failed") == 3


async def test_a_named_file_nobody_can_read_is_told(record: Record, folder: Path) -> None:
    report = await ingest(record, "hb", [folder / "logo.png"])
    assert report.failed[0][0] == "logo.png"
    with pytest.raises(ValueError, match="no such file"):
        await ingest(record, "hb", [folder / "absent"])


async def test_patterns_choose_files(record: Record, folder: Path) -> None:
    await ingest(record, "hb", [folder], include=["*.md", "*.txt"], exclude=["hr/*"])
    assert names(record) == ["vpn.txt"]


async def test_names_are_composed_whatever_the_file_system_says(record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "nfd"
    folder.mkdir()
    (folder / unicodedata.normalize("NFD", "휴가.md")).write_text(
        unicodedata.normalize("NFD", "연차 16일"), encoding="utf-8"
    )
    await ingest(record, "hb", [folder])
    assert names(record) == ["휴가.md"]
    assert record.text("hb", "휴가.md")[0].text == "연차 16일"


async def test_rights_are_set_kept_and_changed(record: Record, folder: Path) -> None:
    await ingest(record, "hb", [folder], groups=["staff"])
    (folder / "vpn.txt").write_text("VPN 안내\n\n바뀌었다.", encoding="utf-8")
    await ingest(record, "hb", [folder])  # says nothing about rights
    assert {info.groups for info in record.documents("hb")} == {("staff",)}
    epoch = record.epoch(["hb"])
    report = await ingest(record, "hb", [folder], groups=[])
    assert report.changed == 3
    assert {info.groups for info in record.documents("hb")} == {()}
    assert record.epoch(["hb"]) != epoch


async def test_only_new_passages_are_embedded(record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    long = "연차휴가는 온피플에서 신청한다. " * 10
    (folder / "a.md").write_text(f"# 규정\n\n## 하나\n\n{long}\n\n## 둘\n\n{long} 둘째다.", encoding="utf-8")
    embedder = HashingEmbedder()
    await ingest(record, "hb", [folder], embedder=embedder)
    assert len(embedder.texts) == 2
    assert embedder.texts[0].startswith("규정 > 하나\n")
    (folder / "a.md").write_text(f"# 규정\n\n## 하나\n\n{long}\n\n## 둘\n\n{long} 바뀐 둘째다.", encoding="utf-8")
    await ingest(record, "hb", [folder], embedder=embedder)
    assert len(embedder.texts) == 3


async def test_documents_stored_without_vectors_get_them_later(record: Record, folder: Path) -> None:
    await ingest(record, "hb", [folder])
    embedder = HashingEmbedder()
    report = await ingest(record, "hb", [folder], embedder=embedder)
    assert report.unchanged == 3
    assert report.embedded == len(embedder.texts) > 0
    assert record.without_vectors("hb", embedder.model, 5) == []


async def test_an_upload_is_a_document(record: Record) -> None:
    assert await put_bytes(record, "hb", "안내.md", "# 안내\n\n내용".encode(), groups=["staff"]) == 1
    assert record.documents("hb")[0].groups == ("staff",)
    with pytest.raises(UnreadableFile):
        await put_bytes(record, "hb", "x.pdf", b"%PDF")


INGEST = """
import asyncio, sys
from gateway.retrieval.ingest import ingest
from gateway.retrieval.record import Record
record = Record.open(sys.argv[1])
asyncio.run(ingest(record, "hb", [sys.argv[2]], on_progress=lambda p: print(p.document, flush=True)))
record.close()
"""


async def test_an_ingest_by_another_process_shows_in_the_next_search(record: Record, folder: Path) -> None:
    source = EmbeddedSource("hb", record)
    assert await source.search(Search("연차휴가", 3, frozenset(), no_vector), Deadline.after(5)) == []
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", INGEST, record.path, folder, stdout=subprocess.DEVNULL
    )
    assert await other.wait() == 0
    found = await source.search(Search("연차휴가", 3, frozenset(), no_vector), Deadline.after(5))
    assert found[0].document == "hr/연차.md"
    await source.close()


async def test_documents_are_stored_even_when_the_embedder_is_down(record: Record, folder: Path) -> None:
    embedder = HashingEmbedder()
    embedder.error = ConnectionError("down")
    with pytest.raises(ConnectionError):
        await ingest(record, "hb", [folder], embedder=embedder)
    assert len(names(record)) == 3
    embedder.error = None
    assert (await ingest(record, "hb", [folder], embedder=embedder)).embedded > 0


async def test_a_file_is_read_alike_in_a_process_of_its_own(folder: Path) -> None:
    data = (folder / "trip.docx").read_bytes()
    assert await cut_apart("-trip.docx", data, "") == cut("-trip.docx", data, "")
    assert (await cut_apart("hr/연차.md", "내용".encode(), "제목")).title == "제목"
    with pytest.raises(UnreadableFile, match="password"):
        await cut_apart("b.pdf", pdf_file([["x"]], password="1"), "")


def readers() -> list[int]:
    """Processes that this one has started and that still run."""
    told = subprocess.run(["ps", "-o", "pid=,stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(line.split()[0]) for line in told.stdout.splitlines() if "ingest.apart" in line and " Z" not in line]


async def started_reader() -> tuple[asyncio.Task[Cut], int]:
    reading = asyncio.create_task(cut_apart("a.md", "# 절\n\n문장이다. ".encode() * 2_000_000, ""))
    async with asyncio.timeout(60):
        while not (found := await asyncio.to_thread(readers)):  # noqa: ASYNC110 - nobody tells of another process
            await asyncio.sleep(0.02)
    return reading, found[0]


async def test_a_reader_that_dies_takes_only_its_file_with_it() -> None:
    reading, pid = await started_reader()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(UnreadableFile, match="memory"):
        await reading


async def test_a_reader_that_is_no_longer_wanted_ends() -> None:
    reading, _ = await started_reader()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert readers() == []
