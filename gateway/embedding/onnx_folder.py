"""A sentence-embedding model of your own: a folder with model.onnx and tokenizer.json, as exported by Hugging Face."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gateway.ports import Vector, Vectors

Pooling = Literal["auto", "mean", "cls", "last"]

PLACES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
PROBED = 1 << 20  # bytes at the beginning and at the end of a model file that tell it from others
_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last", "pooling_mode_mean_tokens": "mean",
}  # fmt: skip


class BadModel(ValueError):
    """The folder holds no model that can be used here; the text says what is missing."""


class OnnxFolder:
    """Texts one by one: alone a text has the same vector whatever comes beside it. Longer texts are cut."""

    def __init__(
        self,
        folder: Path,
        *,
        threads: int,
        pooling: Pooling = "auto",
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        max_tokens: int = 512,
    ) -> None:
        """What is None or "auto" is read from the files beside the model. Raises BadModel."""
        file = _model_file(folder)
        self._tokenizer = _tokenizer(folder, max_tokens)
        self._session = _session(file, threads)
        self._inputs = [given.name for given in self._session.get_inputs()]
        if unknown := set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}:
            raise BadModel(f"{file} wants {', '.join(sorted(unknown))}: it is no sentence-embedding model")
        self._pooling = _pooling(folder) if pooling == "auto" else pooling
        prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
        self._prefix = {
            True: query_prefix if query_prefix is not None else prompts.get("query", ""),
            False: passage_prefix
            if passage_prefix is not None
            else prompts.get("passage", prompts.get("document", "")),
        }
        try:
            self.dimensions = len(self._one("probe"))
        except Exception as error:  # onnxruntime has many
            raise BadModel(f"{file} cannot be run: {error}") from error
        self.model = f"{folder.resolve().name}-{self._digest(file)}"

    def encode(self, texts: Sequence[str], *, query: bool) -> Vectors:
        return np.stack([self._one(self._prefix[query] + text) for text in texts])

    def _one(self, text: str) -> Vector:
        ids = np.array([self._tokenizer.encode(text).ids or [0]], np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        found = self._session.run(None, {name: fed[name] for name in self._inputs})
        whole = [output for output in found if output.ndim == 2]  # the export has done the pooling
        row = whole[0][0] if whole else self._pooled(found[0][0])
        return np.asarray(row / max(float(np.linalg.norm(row)), 1e-6), np.float32)

    def _pooled(self, rows: NDArray[Any]) -> NDArray[Any]:
        mean: NDArray[Any] = rows.mean(axis=0)
        return rows[0] if self._pooling == "cls" else rows[-1] if self._pooling == "last" else mean

    def _digest(self, file: Path) -> str:
        """Vectors are comparable where it is equal: the model, and how it is used."""
        with file.open("rb") as data:
            beginning = data.read(PROBED)
            data.seek(max(0, file.stat().st_size - PROBED))
            told = f"{file.stat().st_size} {self._pooling} {self._prefix} ".encode()
            return hashlib.sha256(told + beginning + data.read()).hexdigest()[:12]


def _model_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadModel(f"{folder} is no folder")
    found = next((folder / place for place in PLACES if (folder / place).is_file()), None)
    if found is None:
        raise BadModel(f"{folder} has no ONNX model; looked for {', '.join(PLACES)}")
    return found


def _tokenizer(folder: Path, max_tokens: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BadModel("cache.semantic.embedder: onnx needs pip install 'ocho-gateway[onnx-embedder]'") from error
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise BadModel(f"{file} is missing: export the model with its tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise BadModel(f"{file} cannot be read: {error}") from error
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(max_tokens, limit) if isinstance(limit, int) else max_tokens)
    return tokenizer


def _session(file: Path, threads: int) -> Any:
    try:
        from gateway.embedding.onnx_session import opened
    except ImportError as error:
        raise BadModel("cache.semantic.embedder: onnx needs pip install 'ocho-gateway[onnx-embedder]'") from error
    try:
        return opened(str(file), threads)
    except Exception as error:  # onnxruntime has many
        raise BadModel(f"{file} is no model that onnxruntime can run: {error}") from error


def _pooling(folder: Path) -> Pooling:
    told = _json(folder / "1_Pooling" / "config.json")
    return next((way for name, way in _POOLINGS.items() if told.get(name)), "mean")


def _json(file: Path) -> dict[str, Any]:
    """Empty where the file is missing. Raises BadModel."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadModel(f"{file} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}
