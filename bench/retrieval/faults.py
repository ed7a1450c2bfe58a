"""What slow and hung sources cost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.retrieval.asking import given
from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search
from gateway.retrieval.gather import Gatherer
from gateway.retrieval.record import Record


class _Timed:
    """A source that answers after a while, or never."""

    def __init__(self, name: str, delay_s: float | None) -> None:
        self.name = name
        self._delay_s = delay_s

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        await (asyncio.sleep(self._delay_s) if self._delay_s is not None else asyncio.Event().wait())
        return [Passage(self.name, f"{n}.md", "1", 0, "", "", f"{self.name} {n}") for n in range(search.k)]


async def faults(folder: Path) -> dict[str, Any]:
    """Five sources of 5, 20, 80, 300 ms and hung; the fast ones alone are the measure."""
    record = Record.open(folder / "faults.db")
    delays = {"5ms": 0.005, "20ms": 0.02, "80ms": 0.08, "300ms": 0.3, "hung": None}
    result: dict[str, Any] = {}
    for name, asked in {"fast three": list(delays)[:3], "all five": list(delays)}.items():
        gatherer = Gatherer({source: _Timed(source, delays[source]) for source in asked}, record)
        times = []
        for _ in range(60):
            began = time.perf_counter()
            await gatherer.gather("질문", frozenset(), asked, given(None), Deadline.after(5))
            times.append((time.perf_counter() - began) * 1000)
        await gatherer.close()
        result[name] = {
            "first_ms": round(times[0], 1),
            "max_ms": round(max(times), 1),
            **{f"p{p}_ms": round(float(np.percentile(times, p)), 1) for p in (50, 99)},
        }
    record.close()
    result["added_p50_ms"] = round(result["all five"]["p50_ms"] - result["fast three"]["p50_ms"], 1)
    return result
