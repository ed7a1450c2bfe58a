"""Reads one file in a process of its own, for gateways that serve meanwhile.

Readers of office files are pure Python: beside one in a thread, every step of every request waits for the interpreter
(a hit took twenty times as long while a PDF with tables was read). A file that crashes its reader, or fills the memory,
takes only that process with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import redirect_stdout, suppress
from pathlib import PurePosixPath

import orjson
import structlog

from gateway.retrieval.documents import Piece
from gateway.retrieval.ingest.cut import Cut, cut
from gateway.retrieval.ingest.unreadable import UnreadableFile

log = structlog.get_logger()

READ_S = 600.0
NICE = 10  # requests go first
PLAIN = {".md", ".markdown", ".txt", ".csv"}
SMALL = 100_000  # bytes of plain text that are read in a few milliseconds, where a process takes half a second to start


async def cut_apart(name: str, data: bytes, title: str) -> Cut:
    """As ``cut``. Raises UnreadableFile, also for a file that takes too long."""
    if len(data) <= SMALL and PurePosixPath(name).suffix.lower() in PLAIN:
        return await asyncio.to_thread(cut, name, data, title)
    starting = asyncio.create_task(_started(name, title))
    try:
        async with asyncio.timeout(READ_S):
            process = await asyncio.shield(starting)
            told, errors = await process.communicate(data)
    except TimeoutError:
        raise UnreadableFile(f"reading it took longer than {READ_S:.0f} s: split it") from None
    finally:
        process = await starting  # a start that is cancelled half-way never ends
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        log.warning("a file ended its reader", code=process.returncode, error=errors[-500:].decode(errors="replace"))
        raise UnreadableFile("cannot be read: damaged, or more than fits into memory")
    found = orjson.loads(told)
    if "unreadable" in found:
        raise UnreadableFile(found["unreadable"])
    return Cut(found["title"], [Piece(section, text) for section, text in found["pieces"]])


async def _started(name: str, title: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, name, title,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def _main(name: str, title: str) -> None:
    if hasattr(os, "nice"):
        os.nice(NICE)
    with redirect_stdout(sys.stderr):  # whatever a reader has to say
        try:
            done = cut(name, sys.stdin.buffer.read(), title)
            told = {"title": done.title, "pieces": [(piece.section, piece.text) for piece in done.pieces]}
        except UnreadableFile as error:
            told = {"unreadable": str(error)}
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    _main(*sys.argv[1:])
