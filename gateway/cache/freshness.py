"""Is a kept answer still what the documents say? Pure but for one cheap look at the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.chat import UNRECORDED, CacheEntry, CacheWishes, Evidence
from gateway.ports import DocumentRecord

MIN_OVERLAP = 0.5  # Jaccard of passages, kept against found now


def too_old(entry: CacheEntry, wishes: CacheWishes, now: float) -> bool:
    age_s = entry.age_s(now)
    return age_s >= entry.ttl_s or (wishes.max_age_s is not None and age_s > wishes.max_age_s)


def documents_unchanged(entry: CacheEntry, record: DocumentRecord | None) -> bool:
    """Every recorded document that the answer saw still has the version it saw. Of others only evidence can tell."""
    return not changed_documents(entry, record)


def changed_documents(entry: CacheEntry, record: DocumentRecord | None) -> tuple[str, ...]:
    """Recorded documents that are gone or no longer what the answer saw. With any, it is void: kept, but not served."""
    recorded = {d: version for d, version in entry.dependencies.items() if not version.startswith(UNRECORDED)}
    if not recorded:
        return ()
    current = record.versions(tuple(recorded)) if record is not None else {}
    return tuple(document for document, version in recorded.items() if current.get(document) != version)


def nothing_new(entry: CacheEntry, record: DocumentRecord | None, collections: Sequence[str]) -> bool:
    """Nothing at all has happened to the collections since the answer's evidence was frozen.

    Never so where one of them is kept elsewhere: nobody would have told.
    """
    if not collections:
        return True
    epoch = record.epoch(collections) if record is not None else UNRECORDED
    return not epoch.startswith(UNRECORDED) and epoch == entry.epoch


def same_evidence(entry: CacheEntry, fresh: Evidence) -> bool:
    """The very passages that the answer rests on, in the versions it saw."""
    return not fresh.partial and fresh.ids == entry.evidence and fresh.dependencies == entry.dependencies


def still_so(own: CacheEntry, fresh: Evidence) -> bool:
    """Nothing was ingested since, or nothing that this wording finds."""
    if fresh.partial:
        return False
    if not own.evidence and not fresh.ids:
        return True
    recorded = bool(own.epoch) and not own.epoch.startswith(UNRECORDED)
    return (recorded and own.epoch == fresh.epoch) or same_evidence(own, fresh)


def why_evidence_disagrees(entry: CacheEntry, fresh: Evidence) -> str:
    """Whether retrieval for the new wording supports the kept answer; "" where it does.

    This is what catches a *new* document: versions of the old ones do not change when it arrives.
    """
    if fresh.partial:
        return "evidence partial"
    kept, found = set(entry.evidence), set(fresh.ids)
    if not kept and not found:
        return ""
    if not kept or not found:
        return "evidence differs"
    current = fresh.dependencies
    if any(current.get(document, version) != version for document, version in entry.dependencies.items()):
        return "document changed"
    if fresh.epoch != entry.epoch and not current.keys() <= entry.dependencies.keys():
        return "new document"  # something was ingested since, and this question finds a document the answer never saw
    if _unrecorded(current) != _unrecorded(entry.dependencies):
        return "evidence differs"
    best = max(fresh.passages, key=lambda passage: passage.score)
    if best.id not in kept or len(kept & found) < MIN_OVERLAP * len(kept | found):
        return "evidence differs"
    return ""


def why_documents_disagree(entry: CacheEntry, fresh: Evidence, *, apart: bool = False) -> str:
    """As ``why_evidence_disagrees`` where somebody has judged that the questions are one: other passages of the same
    documents are no difference then, as long as the two have some in common, or need not (``apart``).
    """
    if fresh.partial:
        return "evidence partial"
    kept, found, current = set(entry.evidence), set(fresh.ids), fresh.dependencies
    if not kept and not found:
        return ""
    if not kept or not found or not (apart or kept & found):
        return "evidence differs"
    if any(current.get(document, version) != version for document, version in entry.dependencies.items()):
        return "document changed"
    if fresh.epoch != entry.epoch and not current.keys() <= entry.dependencies.keys():
        return "new document"
    return "evidence differs" if _unrecorded(current) != _unrecorded(entry.dependencies) else ""


def _unrecorded(dependencies: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in dependencies.items() if version.startswith(UNRECORDED)}
