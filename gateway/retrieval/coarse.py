"""Nearest vectors among many: a first look in 8-bit integers, then the exact cosines of those that may be best.

100,000 vectors of 384 numbers are 154 MB as floats and take 12 ms to read; as bytes 2 ms (one thread, numkong).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.ports import Vector, Vectors

try:
    import numkong
except ImportError:  # the exact look alone: same answers, slower from 10,000 passages on
    INSTALLED = False
else:
    INSTALLED = True

WORTHWHILE = 4_096  # vectors from which the first look pays
SPARE = 4  # times as many looked at exactly as are asked for; keeps all of the exact 50 nearest of 100,000 (measured)


class Coarse:
    """8-bit copies of ``vectors``, (n, dimensions) float32."""

    def __init__(self, vectors: Vectors) -> None:
        self._packed: Any = numkong.dots_pack(_bytes(vectors))

    @staticmethod
    def of(vectors: Vectors | None) -> Coarse | None:
        """None where looking exactly at once is as good."""
        return Coarse(vectors) if INSTALLED and vectors is not None and len(vectors) >= WORTHWHILE else None

    def near(self, vector: Vector, k: int, visible: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """Rows that may be among the ``k`` nearest visible ones, ascending."""
        products = np.asarray(numkong.dots_packed(_bytes(vector[None]), self._packed))[0]
        rows = np.flatnonzero(visible) if visible is not None else None
        if rows is not None:
            products = products[rows]
        wanted = min(SPARE * k, len(products))
        best = np.argpartition(products, len(products) - wanted)[len(products) - wanted :]
        return np.sort(best if rows is None else rows[best])


def _bytes(vectors: Vectors) -> NDArray[np.int8]:
    largest = float(np.abs(vectors).max(initial=0.0)) or 1.0
    whole: NDArray[np.int8] = np.rint(vectors * np.float32(127 / largest)).astype(np.int8)
    return whole
