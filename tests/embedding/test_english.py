"""The English model beside the multilingual one."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.embedding.english import ByLanguage, EnglishEmbedder, is_english
from gateway.embedding.hashing import HashingEmbedder
from gateway.embedding.minilm.engine import DIMENSIONS, MiniLM
from gateway.embedding.minilm.tokens import WordPieces

CLS, SEP, UNKNOWN = 101, 102, 100


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    return WordPieces()


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM(1)


@pytest.mark.parametrize(
    ("text", "ids"),  # as BERT's own tokenizer has them
    [
        ("Hello, world!", [7592, 1010, 2088, 999]),
        ("embeddings", [7861, 8270, 4667, 2015]),
        ("Café déjà", [7668, 2139, 3900]),
        ("don't", [2123, 1005, 1056]),
        ("a_b", [1037, 1035, 1038]),
        ("", []),
        ("a" * 101, [UNKNOWN]),
        ("a\u200bb \x07", [11113]),
    ],
)  # fmt: skip
def test_pieces_of_words(pieces: WordPieces, text: str, ids: list[int]) -> None:
    assert pieces.ids(text, 256) == [CLS, *ids, SEP]


def test_long_text_is_cut_before_its_end_mark(pieces: WordPieces) -> None:
    found = pieces.ids("word " * 400, 256)
    assert len(found) == 256
    assert found[-1] == SEP


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("How many days of annual leave do I get?", True),
        ("VPN reset", True),
        ("Is the rice pudding des Chefs on the menu today?", True),
        ("연차는 며칠인가요?", False),
        ("VPN 접속이 안 돼요", False),
        ("Wie viele Tage Urlaub habe ich und wann?", False),
        ("¿Cuántos días de vacaciones tengo?", False),
        ("combien de jours est-ce que je peux prendre pour les vacances", False),
        ("6*3", False),
        ("", False),
    ],
)
def test_which_questions_are_english(text: str, english: bool) -> None:
    assert is_english(text) is english


def test_similarity_is_on_the_scale_of_the_multilingual_model(model: MiniLM) -> None:
    asked, same, other = model.encode(
        ["How do I reset my password?", "How can I reset my password?", "When is the canteen open on Fridays?"]
    )
    assert float(asked @ same) > 0.98
    assert 0.75 < float(asked @ other) < 0.87


def test_a_text_has_the_same_vector_whatever_comes_beside_it(model: MiniLM) -> None:
    texts = ["How do I reset my password?", "leave", ""]
    together = model.encode(texts)
    assert together.shape == (3, DIMENSIONS)
    assert all(np.array_equal(model.encode([text])[0], row) for text, row in zip(texts, together, strict=True))


async def test_questions_of_two_languages_are_never_near_each_other() -> None:
    both = ByLanguage(EnglishEmbedder(), HashingEmbedder(384))
    rows = await both.embed(["How many days of leave?", "휴가는 며칠인가요?", "휴가는 며칠인가요"], query=True)
    assert float(rows[0] @ rows[1]) < 0.5
    assert float(rows[1] @ rows[2]) > 0.8
