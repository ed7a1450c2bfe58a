"""Nearest rows among many, looking at few: rows lie in cells, and a cell that is full is cut in two.

An inverted file (IVF) that needs no training: it starts with one cell; a cut is two rounds of 2-means on its rows.
Memory is what a search waits for, so among many rows short sketches are compared first, which a cell keeps side by
side, and whole vectors of the best alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.ports import Vector, Vectors

FULL = 512  # rows of a cell before it is cut
LOOKED_AT = 16  # cells per search: up to some 5,000 rows all of them
SMALLEST = 16  # rows: most scopes are small
ROUNDS = 2
SKETCHED = 256  # numbers of a vector from which on it has a sketch: a bit for each, whether it is above the middle
ALL_COMPARED = 1_500  # rows up to which whole vectors are compared at once
# Rows nearest by sketch whose vectors are compared. Of 26,358 real questions, Korean and English, the nearest above 0.9
# is found in 99.1 % of the searches, and 98.6 % of the eight nearest above 0.93; in one language 99.2 and 99.1 %.
REFINED = 96

Bits = NDArray[np.uint64]


class _Cell:
    """Row numbers and their sketches; of the arrays the first ``count`` are in use."""

    def __init__(self, rows: NDArray[np.int64], sketches: Bits) -> None:
        """``sketches``: (words, rows), as they are counted word by word."""
        self.count = len(rows)
        room = max(SMALLEST, self.count + 1)
        self.rows = np.zeros(room, np.int64)
        self.sketches: Bits = np.zeros((len(sketches), room), np.uint64)
        self.rows[: self.count], self.sketches[:, : self.count] = rows, sketches

    def append(self, row: int, sketch: Bits) -> None:
        if self.count == len(self.rows):
            self.sketches = np.pad(self.sketches, ((0, 0), (0, self.count)))
            self.rows = _doubled(self.rows)
        self.rows[self.count], self.sketches[:, self.count] = row, sketch
        self.count += 1

    def take_out(self, position: int) -> int:
        """Fill the gap with the last row, whose number is returned."""
        self.count -= 1
        self.rows[position], self.sketches[:, position] = self.rows[self.count], self.sketches[:, self.count]
        return int(self.rows[position])


class Cells:
    """Vectors by row number. A row that is added again is replaced."""

    def __init__(self, dimensions: int) -> None:
        self._vectors: Vectors = np.zeros((SMALLEST, dimensions), np.float32)  # by row number
        self._centres: Vectors = np.zeros((16, dimensions), np.float32)
        self._cells = [_Cell(np.zeros(0, np.int64), np.zeros((0, 0), np.uint64))]
        self._place: dict[int, tuple[int, int]] = {}  # row → cell, position
        self._middle: Vector | None = None  # of the first rows, once they are many

    def __len__(self) -> int:
        return len(self._cells)

    def add(self, row: int, vector: Vector) -> None:
        self.remove(row)
        while row >= len(self._vectors):
            self._vectors = _doubled(self._vectors)
        self._vectors[row] = vector
        number = int(np.argmax(self._centres[: len(self._cells)] @ vector)) if len(self._cells) > 1 else 0
        cell = self._cells[number]
        self._place[row] = (number, cell.count)
        cell.append(row, self._sketches(vector[None])[:, 0])
        if cell.count > FULL and cell.count % FULL == 1:
            self._cut(number)

    def remove(self, row: int) -> None:
        place = self._place.pop(row, None)
        if place is None:
            return
        number, position = place
        self._vectors[row] = 0.0
        moved = self._cells[number].take_out(position)
        if moved != row:
            self._place[moved] = place

    def near(self, vector: Vector) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row numbers around ``vector``, in no order, and their similarities."""
        chosen = self._cells
        if len(chosen) > LOOKED_AT:
            similarity = self._centres[: len(chosen)] @ vector
            chosen = [chosen[number] for number in np.argpartition(-similarity, LOOKED_AT)[:LOOKED_AT]]
        rows = np.concatenate([cell.rows[: cell.count] for cell in chosen])
        if len(rows) > ALL_COMPARED and self._middle is not None:
            differing = np.concatenate([cell.sketches[:, : cell.count] for cell in chosen], axis=1)
            differing ^= self._sketches(vector[None])
            apart = np.bitwise_count(differing).sum(axis=0, dtype=np.int32)  # of 32 bits: what numpy parts fast
            rows = rows[np.argpartition(apart, REFINED)[:REFINED]]
        elif chosen is self._cells:
            return rows, (self._vectors[: rows.max(initial=-1) + 1] @ vector)[rows]
        return rows, self._vectors[rows] @ vector

    def _sketches(self, vectors: Vectors) -> Bits:
        """(words, rows)"""
        if self._middle is None:
            return np.zeros((0, len(vectors)), np.uint64)
        bits = np.packbits(vectors > self._middle, axis=1)
        words = np.zeros((len(bits), -(-bits.shape[1] // 8) * 8), np.uint8)
        words[:, : bits.shape[1]] = bits
        return words.view(np.uint64).T

    def _cut(self, number: int) -> None:
        cell = self._cells[number]
        rows = cell.rows[: cell.count]
        own = self._vectors[rows]
        one = own[int(np.argmin(own @ own.mean(axis=0)))]
        other = own[int(np.argmin(own @ one))]
        for _ in range(ROUNDS):
            ours = own @ one >= own @ other
            if ours.all() or not ours.any():
                return
            one, other = _unit(own[ours].mean(axis=0)), _unit(own[~ours].mean(axis=0))
        if self._middle is None and own.shape[1] >= SKETCHED:
            self._middle = own.mean(axis=0)
        new = len(self._cells)
        if new == len(self._centres):
            self._centres = _doubled(self._centres)
        self._centres[number], self._centres[new] = one, other
        self._cells[number] = _Cell(rows[ours], self._sketches(own[ours]))
        self._cells.append(_Cell(rows[~ours], self._sketches(own[~ours])))
        for index in (number, new):
            cell = self._cells[index]
            self._place.update((row, (index, at)) for at, row in enumerate(cell.rows[: cell.count].tolist()))


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    """With as many zeros behind it."""
    grown = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)  # memory is taken when it is written to
    grown[: len(array)] = array
    return grown


def _unit(vector: Vector) -> Vector:
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0), np.float32)
