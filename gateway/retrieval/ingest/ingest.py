"""Files → documents → record. Only what changed is read; every document is stored whole in its own transaction.

Documents are stored before they are embedded, so words find them at once; vectors follow in batches (a small model on
a CPU takes a good part of a second for a passage), and a passage whose text did not change keeps its vector.

Interrupted at any moment it can simply be run again: what was stored is recognised by its hash and skipped.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from gateway.ports import Embedder
from gateway.retrieval.documents import Document, Piece, content_hash
from gateway.retrieval.ingest import parse
from gateway.retrieval.ingest.cut import RECIPE, Cut, cut
from gateway.retrieval.ingest.unreadable import MAX_BYTES, UnreadableFile, too_large
from gateway.retrieval.record import Record
from gateway.retrieval.uploads.holdings import UPLOADED

EMBED_BATCH = 16  # passages a call: what an interrupted run may lose


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is, told after every file."""

    done: int
    total: int
    document: str
    outcome: str  # added, changed, unchanged, deleted, failed, embedded
    passages: int  # stored so far


@dataclass(slots=True)
class IngestReport:
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # (path, reason): these kept their old version, if any
    passages: int = 0  # stored by this run
    embedded: int = 0  # of passages that had no vector yet
    left_out: Counter[str] = field(default_factory=Counter)  # files of folders that no reader knows, by their ending


OnProgress = Callable[[Progress], None]
Reader = Callable[[str, bytes, str], Awaitable[Cut]]  # name, bytes, title; raises UnreadableFile


async def read_here(name: str, data: bytes, title: str) -> Cut:
    """On a thread: good enough where nobody is served meanwhile."""
    return await asyncio.to_thread(cut, name, data, title)


async def ingest(
    record: Record,
    collection: str,
    paths: Sequence[Path | str],
    *,
    embedder: Embedder | None = None,
    groups: Sequence[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    on_progress: OnProgress = lambda progress: None,
    prune: bool = False,
    only: Collection[str] | None = None,
) -> IngestReport:
    """Bring the collection up to date with files and folders.

    A document's id is its path below the given folder (the file's name for a single file). ``groups`` None leaves
    rights as they are (new documents: everyone), else sets them on every document named. ``prune`` deletes documents
    whose file is gone; it needs folders. ``include`` and ``exclude`` are shell patterns on ids; hidden files are left
    out. ``only`` leaves all other documents alone. Raises ValueError on paths that do not exist; a file that cannot be
    read lands in ``failed`` and the rest goes on.
    """
    report = IngestReport()
    files = await asyncio.to_thread(_find, paths, include, exclude, report, folders_only=prune)
    if only is not None:
        files = {document: path for document, path in files.items() if document in only}
        report.left_out.clear()
    await asyncio.to_thread(record.create, collection)
    known = {info.document: info for info in await asyncio.to_thread(record.documents, collection)}
    gone = sorted(name for name in set(known) - set(files) if not UPLOADED.match(name)) if prune else []
    total = len(files) + len(gone) + len(report.failed)
    done = 0

    def tell(document: str, outcome: str) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, total, document, outcome, report.passages))

    for document, _ in report.failed:
        tell(document, "failed")
    for document, path in files.items():
        before = known.get(document)
        try:
            data = await asyncio.to_thread(_read, path)
            digest = content_hash(data, RECIPE)
            if before is not None and before.content_hash == digest:
                if groups is not None and tuple(sorted(set(groups))) != before.groups:
                    await asyncio.to_thread(record.set_groups, collection, groups, document)
                    report.changed += 1
                    tell(document, "changed")
                else:
                    report.unchanged += 1
                    tell(document, "unchanged")
                continue
            rights = groups if groups is not None else (before.groups if before is not None else ())
            report.passages += await _store(record, collection, document, data, embedder, rights)
        except (UnreadableFile, OSError) as error:
            report.failed.append((document, str(error)))
            tell(document, "failed")
            continue
        if before is None:
            report.added += 1
        else:
            report.changed += 1
        tell(document, "added" if before is None else "changed")
    for document in gone:
        report.deleted += await asyncio.to_thread(record.delete, collection, [document])
        tell(document, "deleted")
    if embedder is not None:
        report.embedded = await embed_missing(record, collection, embedder, on_progress)
    return report


async def put_bytes(
    record: Record,
    collection: str,
    name: str,
    data: bytes,
    *,
    embedder: Embedder | None = None,
    groups: Sequence[str] = (),
    title: str = "",
    url: str = "",
    read: Reader = read_here,
) -> int:
    """Store one document from its bytes (an upload, stdin); returns its number of passages. Raises UnreadableFile.

    ``name`` is the document's id; its ending tells the format.
    """
    count = await _store(record, collection, name, data, embedder, groups, title, url, read)
    if embedder is not None:
        await embed_missing(record, collection, embedder)
    return count


async def _store(
    record: Record,
    collection: str,
    name: str,
    data: bytes,
    embedder: Embedder | None,
    groups: Sequence[str],
    title: str = "",
    url: str = "",
    read: Reader = read_here,
) -> int:
    """Store a document with the vectors that are known already; returns its number of passages."""
    model = embedder.model if embedder is not None else ""
    document = unicodedata.normalize("NFC", name)
    done = await read(document, data, title)

    def store() -> None:
        known = record.known_vectors(collection, document, done.title, model) if model else {}
        vectors = [known.get(piece) for piece in done.pieces]
        digest = content_hash(data, RECIPE)
        whole = Document(document, done.title, digest, done.pieces, vectors, groups, url, len(data))
        record.put(collection, whole, model=model)

    await asyncio.to_thread(store)
    return len(done.pieces)


async def embed_missing(
    record: Record, collection: str, embedder: Embedder, on_progress: OnProgress = lambda progress: None
) -> int:
    """Vectors for passages stored without; returns how many. Progress counts passages here. Raises UpstreamError."""
    count, total = 0, await asyncio.to_thread(record.count_without_vectors, collection, embedder.model)
    while batch := await asyncio.to_thread(record.without_vectors, collection, embedder.model, EMBED_BATCH):
        vectors = await embedder.embed([embedded_text(title, piece) for _, title, piece in batch], query=False)
        found = {id: vector for (id, _, _), vector in zip(batch, vectors, strict=True)}
        await asyncio.to_thread(record.add_vectors, collection, embedder.model, found)
        count += len(batch)
        on_progress(Progress(count, max(count, total), "vectors", "embedded", count))
    return count


def embedded_text(title: str, piece: Piece) -> str:
    """What a passage is embedded as: its headings tell what "it" is in the text."""
    heading = piece.section if piece.section.startswith(title) else " > ".join(filter(None, (title, piece.section)))
    return f"{heading}\n{piece.text}" if heading else piece.text


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise too_large()
    return path.read_bytes()


def _find(
    paths: Sequence[Path | str],
    include: Sequence[str],
    exclude: Sequence[str],
    report: IngestReport,
    *,
    folders_only: bool,
) -> dict[str, Path]:
    """Document ids and their files, sorted by id."""
    found: dict[str, Path] = {}
    for given in map(Path, paths):
        if not given.exists():
            raise ValueError(f"{given}: no such file or folder")
        if folders_only and not given.is_dir():
            raise ValueError(f"{given} is a file: prune deletes documents that the given folders do not have")
        for document, path in found_files(given, include, exclude, report.left_out):
            if (shown := document.encode("utf-8", "replace").decode()) != document:
                report.failed.append((shown, "its name is not UTF-8: rename it"))
                continue
            if document in found and found[document] != path:
                report.failed.append((document, f"{path}: another given folder has a file of this name"))
                continue
            found[document] = path
    return dict(sorted(found.items()))


def found_files(
    given: Path, include: Sequence[str], exclude: Sequence[str], left_out: Counter[str] | None = None
) -> Iterator[tuple[str, Path]]:
    """Document ids and files that are meant by a file or folder. ``left_out`` counts the endings of the rest."""
    for document, path in _files(given):
        if include and not any(fnmatch(document, pattern) for pattern in include):
            continue
        if any(fnmatch(document, pattern) for pattern in exclude):
            continue
        if given.is_dir() and not parse.known(document) and not include:
            if left_out is not None:
                left_out[path.suffix.lower() or "without ending"] += 1
            continue  # a folder holds many things; a file that was named is tried and reported
        yield document, path


def _files(given: Path) -> Iterator[tuple[str, Path]]:
    if given.is_file():
        yield unicodedata.normalize("NFC", given.name), given
        return
    for path in sorted(given.rglob("*")):
        inside = path.relative_to(given)
        if path.is_file() and not any(part.startswith((".", "~$")) for part in inside.parts):
            yield unicodedata.normalize("NFC", inside.as_posix()), path
