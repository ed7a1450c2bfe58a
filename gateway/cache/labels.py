"""What the answers of one scope said: labels, each with what was looked at. Bounded, mergeable, as bytes. No I/O.

A set that only grows until it is cut to the newest: replicas that saw different misses put theirs together in any
order and come to the same. About 40 bytes a label.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.cache.features import NAMES, Row

KEPT = 800  # labels; half as many learn nearly as well, twice as many no better
LABEL = np.dtype(
    [
        ("at", "<f8"),  # wall seconds; also what tells two labels apart
        ("row", "<f2", (len(NAMES),)),
        ("score", "<f4"),  # what the belief of that moment thought of it
        ("right", "?"),
        ("hit", "?"),  # it would have been served, or was and was audited
    ]
)
_LAYOUT = b"labels 1 %08x " % zlib.crc32(" ".join(NAMES).encode())


class Labels:
    """The newest labels, oldest first."""

    def __init__(self) -> None:
        self._kept: NDArray[Any] = np.zeros(16, LABEL)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def all(self) -> NDArray[Any]:
        """(n,) of ``LABEL``."""
        return self._kept[: self._count]

    def add(self, at: float, row: Row, score: float, right: bool, hit: bool) -> None:
        if self._count == 2 * KEPT:
            self._kept[:KEPT] = self._kept[KEPT:]
            self._count = KEPT
        elif self._count == len(self._kept):
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])[: 2 * KEPT]
        if self._count:
            at = max(at, float(self._kept["at"][self._count - 1]) + 1e-6)  # the clock is coarse, or was set back
        self._kept[self._count] = (at, row, score, right, hit)
        self._count += 1

    @property
    def recent(self) -> NDArray[Any]:
        """The last ``KEPT`` of them."""
        return self.all[-KEPT:]

    def merge(self, others: NDArray[Any]) -> bool:
        """Take in what another replica saw; False where nothing of it was new."""
        both = np.concatenate([self.recent, others])
        _, first = np.unique(both["at"], return_index=True)  # in order of time
        merged = both[first][-KEPT:]
        if len(merged) == len(self.recent) and bool((merged["at"] == self.recent["at"]).all()):
            return False
        self._kept, self._count = merged, len(merged)
        return True

    def dump(self) -> bytes:
        return _LAYOUT + self.recent.tobytes()

    @staticmethod
    def load(data: bytes) -> NDArray[Any]:
        """The labels in ``data``; none where it is damaged, of another layout or holds what cannot be."""
        body = data[len(_LAYOUT) :]
        if not data.startswith(_LAYOUT) or len(body) % LABEL.itemsize or len(body) > KEPT * LABEL.itemsize:
            return np.zeros(0, LABEL)
        labels = np.frombuffer(body, LABEL).copy()
        sane = np.isfinite(labels["at"]) & np.isfinite(labels["row"]).all(axis=1) & np.isfinite(labels["score"])
        return np.asarray(labels[sane])
