"""Counters, histograms and gauges that cost next to nothing on the hot path."""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter as _Counter
from prometheus_client import Gauge as _Gauge
from prometheus_client import Histogram as _Histogram

SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # several workers, one exposition: see gateway/cli/workers.py
REFRESH_S = 1.0
NOTED_S = 0.25  # what is written down is told that much later; sooner when somebody looks
FEW = 32  # values that are quicker sorted into buckets one by one

Key = TypeVar("Key", bound=tuple[Any, ...])
Floats = NDArray[np.float64]


class Notes(dict[Key, list[float]]):
    """What happens in every request is only written down, ``notes[what describes it].append(seconds)``, and told to the
    series later, many at once: that takes a tenth of a call for each. On the event loop only."""

    def __init__(self, told: Callable[[Key, Floats], None]) -> None:
        super().__init__()
        self._told = told

    def __missing__(self, key: Key) -> list[float]:
        """The first of its kind since they were told."""
        if not self:
            later(self.tell)
        seconds = self[key] = list[float]()
        return seconds

    def tell(self) -> None:
        noted = list(self.items())
        self.clear()
        for key, seconds in noted:
            self._told(key, np.array(seconds))


def later(tell: Callable[[], None]) -> None:
    """When what is written down now is to be told."""
    loop = asyncio.get_running_loop()
    if SHARED:
        loop.call_soon(tell)
    else:
        loop.call_later(NOTED_S, tell)


class _Children:
    """Finds the child of each set of label values by one dictionary lookup; the library's own way takes ten times as
    long. Label values are bounded (see above), so what is remembered is too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[tuple[str, ...], Any] = {}

    def labels(self, *values: str) -> Any:
        child = self._known.get(values)
        if child is None:
            child = self._known[values] = super().labels(*values)  # type: ignore[misc]
        return child


class _Settling(_Children):
    """Adds up in plain numbers. The library's values, each behind a lock, get the sums when somebody looks; with
    several workers each is in a file and gets them once per turn of the event loop. On the loop's thread only."""

    unsettled: ClassVar[list[_Settling]] = []  # with several workers: those that were added to in this turn

    def _metric_init(self) -> None:
        super()._metric_init()  # type: ignore[misc]
        self._waits = not SHARED  # to be settled already, or not before a scrape
        self._begin()

    def _child_samples(self) -> Any:
        self._settle()
        return super()._child_samples()  # type: ignore[misc]

    def _settle_soon(self) -> None:
        self._waits = True
        self.unsettled.append(self)
        if len(self.unsettled) == 1:
            asyncio.get_running_loop().call_soon(settle_all)

    def _begin(self) -> None:
        raise NotImplementedError

    def _settle(self) -> None:
        raise NotImplementedError


def settle_all() -> None:
    for child in _Settling.unsettled:
        child._settle()
        child._waits = False
    _Settling.unsettled.clear()


class Counter(_Settling, _Counter):  # type: ignore[misc]
    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        self._added += amount
        if not self._waits:
            self._settle_soon()

    def _begin(self) -> None:
        self._added = 0.0

    def _settle(self) -> None:
        if self._added:
            self._value.inc(self._added)
            self._added = 0.0


class Histogram(_Settling, _Histogram):  # type: ignore[misc]
    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """The bucket found by bisection. Exemplars are not kept."""
        self._added += amount
        self._counts[bisect_left(self._upper_bounds, amount)] += 1
        if not self._waits:
            self._settle_soon()

    def observe_all(self, amounts: Floats) -> None:
        if len(amounts) < FEW:
            for amount in amounts.tolist():
                self.observe(amount)
            return
        self._added += float(amounts.sum())
        for bucket, count in enumerate(np.bincount(np.searchsorted(self._upper_bounds, amounts)).tolist()):
            self._counts[bucket] += count
        if not self._waits:
            self._settle_soon()

    def _begin(self) -> None:
        self._added = 0.0
        self._counts = [0] * len(self._upper_bounds)

    def _settle(self) -> None:
        for bucket, count in zip(self._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(self._added)
        self._begin()


class Gauge(_Children, _Gauge):  # type: ignore[misc]
    """With several workers a gauge is their sum, unless its ``multiprocess_mode`` says otherwise."""

    functions: ClassVar[list[tuple[_Gauge, Callable[[], float]]]] = []

    def set_function(self, f: Callable[[], float]) -> None:
        """``f`` is asked at every scrape; where another worker may be the one that is scraped, every second."""
        if SHARED:
            self.functions.append((self, f))
        super().set_function(f)
