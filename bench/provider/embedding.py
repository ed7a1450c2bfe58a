"""Deterministic embeddings: hashed character n-grams and words, the same on every machine (pure).

Texts that share words are near, texts in other words are not: a stand-in for the wire, not for meaning.
"""

from __future__ import annotations

import base64
import unicodedata
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

MODELS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
DEFAULT_DIMENSIONS = 1536
_GRAMS = (2, 3)


@lru_cache(maxsize=10_000)
def embed(text: str, dimensions: int) -> NDArray[np.float32]:  # (dimensions,) float32, unit length
    """The vector of ``text``; NFC and NFD of the same text agree, as do letter case and runs of white space."""
    normal = " ".join(unicodedata.normalize("NFC", text).lower().split())
    vector = np.zeros(dimensions, dtype=np.float32)
    padded = f" {normal} "
    grams = [padded[i : i + n] for n in _GRAMS for i in range(len(padded) - n + 1)]
    for gram, share in [*((gram, 1.0) for gram in grams), *((word, 2.0) for word in normal.split())]:
        code = crc32(gram.encode())
        vector[code % dimensions] += share if code & 0x8000_0000 else -share
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        vector[0], length = 1.0, 1.0
    vector /= length
    vector.flags.writeable = False
    return vector


def encoded(vector: NDArray[np.float32], encoding_format: str) -> str | list[float]:
    """As the wire carries it: base64 of little-endian float32 (the openai SDK's default), or a list of numbers."""
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
