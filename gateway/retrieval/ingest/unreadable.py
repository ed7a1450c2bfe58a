"""Files that give no text. Below every reader, so that each can say so."""

from __future__ import annotations

MAX_BYTES = 200 * 1024 * 1024  # of a file, and of what its text unpacks to


class UnreadableFile(Exception):
    """A file that gives no text; ``str(error)`` tells its owner why and what to do."""


def too_large() -> UnreadableFile:
    return UnreadableFile(f"larger than {MAX_BYTES >> 20} MB: split it")
