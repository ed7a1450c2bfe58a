"""Vectors from any OpenAI-compatible ``/embeddings`` endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gateway.errors import UpstreamBroken
from gateway.ports import Vectors

Post = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]  # request body -> response body; UpstreamError


class UpstreamEmbedder:
    """Embedder that asks ``post``. ``dimensions`` must be what the model returns: another size is an error."""

    def __init__(self, post: Post, model: str, dimensions: int, *, send_dimensions: bool = False) -> None:
        self.model = model
        self.dimensions = dimensions
        self._post = post
        self._extra = {"dimensions": dimensions} if send_dimensions else {}

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        body = {"model": self.model, "input": list(texts), "encoding_format": "float", **self._extra}
        reply = await self._post(body)
        try:
            items = sorted(reply["data"], key=lambda item: int(item["index"]))
            rows = np.asarray([item["embedding"] for item in items], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise UpstreamBroken("the embeddings endpoint answered in a shape we do not know") from error
        if rows.shape != (len(texts), self.dimensions) or not np.isfinite(rows).all():
            raise UpstreamBroken(f"the embeddings endpoint gave {rows.shape}, not {(len(texts), self.dimensions)}")
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths == 0, 1.0, lengths), np.float32)
