"""Response headers that tell how an answer came about (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.chat import CacheOutcome, Opened

STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


def answer_headers(opened: Opened, *, details: bool) -> dict[str, str]:
    """``x-ocho-*`` and ``age``. ``details`` off keeps back what tells one caller about another's questions."""
    headers = {"x-ocho-cache": str(opened.cache), "x-ocho-served-by": str(opened.served_by)}
    if opened.deployment:
        headers["x-ocho-deployment"] = opened.deployment
        headers["x-ocho-attempts"] = str(opened.attempts)
    if opened.labelled:
        headers["x-ocho-labelled"] = "true"
    if opened.partial:
        headers["x-ocho-documents"] = "partial"
    if details and opened.cache in {CacheOutcome.EXACT, CacheOutcome.SEMANTIC}:
        headers["x-ocho-entry"] = opened.entry
        headers["age"] = str(int(opened.age_s or 0))
        if opened.similarity is not None:
            headers["x-ocho-similarity"] = f"{opened.similarity:.4f}"
    return headers


def server_timing(stages: Mapping[str, tuple[float, str]], total_s: float | None = None) -> str:
    """W3C Server-Timing: milliseconds per stage, its outcome as description where it is not plain ok."""
    parts = [
        f"{stage};dur={seconds * 1000:.1f}" + (f';desc="{outcome}"' if outcome != "ok" else "")
        for stage, (seconds, outcome) in stages.items()
    ]
    if total_s is not None:
        parts.append(f"total;dur={total_s * 1000:.1f}")
    return ", ".join(parts)
