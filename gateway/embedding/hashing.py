"""Vectors from hashed character n-grams: no model, same on every machine. For tests and as a second view."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from gateway.ports import Vectors


class HashingEmbedder:
    """Embedder on the character 2- and 3-grams of the text."""

    def __init__(self, dimensions: int = 256) -> None:
        self.model = f"hashing-{dimensions}"
        self.dimensions = dimensions

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        rows = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            folded = f" {' '.join(unicodedata.normalize('NFC', text).casefold().split())} "
            for size in (2, 3):
                for start in range(len(folded) - size + 1):
                    hashed = crc32(folded[start : start + size].encode("utf-8", "surrogatepass"))
                    row[hashed % self.dimensions] += 1.0 if hashed & 0x80000000 else -1.0
            row /= np.linalg.norm(row) or 1.0
        return rows
