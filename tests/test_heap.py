"""Large blocks of memory go back to the system, whatever was freed before. In a process of its own: it is for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKS = """
import ctypes

class Info(ctypes.Structure):  # mallinfo2(3)
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(16 << 20))
before = libc.mallinfo2().hblks
libc.malloc(4 << 20)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own ways")
@pytest.mark.parametrize(("before", "mapped"), [("", "0"), ("from gateway.heap import *; keep_large_apart()", "1")])
def test_a_large_block_is_mapped_by_itself_after_a_larger_one_was_freed(before: str, mapped: str) -> None:
    told = subprocess.run([sys.executable, "-c", before + BLOCKS], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == mapped
