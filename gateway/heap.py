"""What the process does with memory that it has given up. For glibc; elsewhere the system's own ways apply."""

from __future__ import annotations

import ctypes
import gc
import sys

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # mallopt(3)


def keep_large_apart() -> None:
    """Let blocks from ``LARGE_BYTES`` on come straight from the system and go straight back.

    By itself glibc raises that bound to the size of each such block that is freed, up to 32 MB. Then what models borrow
    while they are loaded is cut from the heap, and leaves holes there that are never given back: 75 of 370 MB of a
    gateway with the local embedder.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def tidy_after_start() -> None:
    """What start-up made stays, so the garbage collector need not look at it again. It looks seldom, as plain requests
    leave no cycles behind, but those that race and are cut short do. What start-up only borrowed goes back to the
    system."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    give_back()


def give_back() -> None:
    """Return to the system what lies unused between the blocks in use, as after loading a model. Takes milliseconds."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
