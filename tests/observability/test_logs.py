"""The log as others read it: a process of its own, its output taken line by line."""

from __future__ import annotations

import json
import subprocess
import sys

LINES = 5_000
BOTH_WRITE = f"""
import sys, threading
import structlog
from gateway.logs import configure_logs

configure_logs()
log = structlog.get_logger()

def others():  # as the thread of the access log does
    for number in range({LINES}):
        sys.stdout.write('{{"event":"request"}}\\n')
        sys.stdout.flush()

sys.setswitchinterval(1e-6)
thread = threading.Thread(target=others)
thread.start()
for number in range({LINES}):
    log.info("told", number=number)
thread.join()
"""


def test_lines_of_two_threads_do_not_run_into_each_other() -> None:
    told = subprocess.run([sys.executable, "-c", BOTH_WRITE], capture_output=True, text=True, check=True).stdout
    events = [json.loads(line)["event"] for line in told.splitlines()]
    assert sorted(events) == ["request"] * LINES + ["told"] * LINES
