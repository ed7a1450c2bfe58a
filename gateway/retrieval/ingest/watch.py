"""Keeps a collection up to date with a folder for as long as it runs.

Looks at names, sizes and times instead of asking the kernel: that works on network drives and in containers too, and
ten thousand files take a few tens of milliseconds. A file is read once it has looked the same twice, so that one still
being copied is not read in half.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.errors import GatewayError
from gateway.ports import Embedder
from gateway.retrieval.ingest.ingest import IngestReport, OnProgress, found_files, ingest
from gateway.retrieval.record import Record

LOOK_EVERY_S = 1.0

Looks = dict[str, tuple[int, int, int]]  # document: time, size and number of its file


async def watch(
    record: Record,
    collection: str,
    folder: Path,
    stop: asyncio.Event,
    *,
    embedder: Embedder | None = None,
    groups: Sequence[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_progress: OnProgress = lambda progress: None,
    on_report: Callable[[IngestReport], None] = lambda report: None,
    prune: bool = False,
    every_s: float = LOOK_EVERY_S,
) -> None:
    """Ingest ``folder`` and follow every change below it until ``stop``; a file that goes takes its document with it.

    A folder that is gone as a whole (a drive that was unplugged) deletes nothing.
    """
    loaded = seen = await asyncio.to_thread(_look, folder, include, exclude) or {}  # before: no change is missed
    first = await ingest(
        record, collection, [folder], embedder=embedder, groups=groups, include=include, exclude=exclude,
        on_progress=on_progress, prune=prune,
    )  # fmt: skip
    on_report(first)
    while not await _told(stop, every_s):
        now = await asyncio.to_thread(_look, folder, include, exclude)
        if now is None:
            continue
        ready = {name for name, look in now.items() if seen.get(name) == look and loaded.get(name) != look}
        gone = loaded.keys() - now.keys() - seen.keys()  # missing twice: some programs save by delete and rename
        seen = now
        if not ready and not gone:
            continue
        report = IngestReport()
        if ready:
            try:
                report = await ingest(
                    record, collection, [folder], embedder=embedder, groups=groups, include=include, exclude=exclude,
                    on_progress=on_progress, only=ready,
                )  # fmt: skip
            except (ValueError, GatewayError) as error:  # the folder went away, or the embedder did not answer
                report.failed.append((folder.name, str(error)))
        report.deleted = await asyncio.to_thread(record.delete, collection, sorted(gone))
        loaded = {name: look for name, look in loaded.items() if name not in gone} | {n: now[n] for n in ready}
        on_report(report)


async def _told(stop: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()


def _look(folder: Path, include: Sequence[str], exclude: Sequence[str]) -> Looks | None:
    """How every file looks now; None where the folder cannot be read."""
    looks: Looks = {}
    try:
        if not folder.is_dir():
            return None
        for document, path in found_files(folder, include, exclude):
            with suppress(FileNotFoundError):  # gone while we looked
                state = path.stat()
                looks[document] = (state.st_mtime_ns, state.st_size, state.st_ino)
    except OSError:
        return None
    return looks
