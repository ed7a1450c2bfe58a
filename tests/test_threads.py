"""Products of numpy stay on the thread that asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRODUCT = """
import os
import gateway
import numpy as np
np.ones((4_000, 384), np.float32) @ np.ones(384, np.float32)
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_product_starts_no_thread() -> None:
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    told = subprocess.run([sys.executable, "-c", PRODUCT], check=True, capture_output=True, text=True, env=env).stdout
    assert told.strip() == "1"
