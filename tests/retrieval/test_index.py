from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.retrieval.coarse import WORTHWHILE
from gateway.retrieval.documents import Changes, IndexRow
from gateway.retrieval.index import Hit, Index
from gateway.retrieval.tokens import terms

WORDS = ["연차휴가", "인턴", "출장비", "vpn", "16일", "승인", "정산", "보안", "요금제", "leave"]
EVERYONE = {"[]": True, '["hr"]': True}


def row(id: int, text: str, document: int | None = None, groups: str = "[]", vector: bytes | None = None) -> IndexRow:
    return IndexRow(id, id if document is None else document, groups, terms(text), vector)


def built(rows: list[IndexRow]) -> Index:
    return Index().apply(Changes(1, tuple({r.document_id for r in rows}), rows))


def ids(hits: list[Hit]) -> list[int]:
    return [hit.id for hit in hits]


def test_rare_words_weigh_more_than_common_ones() -> None:
    index = built([row(1, "승인 승인 출장비"), row(2, "승인 보안"), row(3, "승인 요금제")])
    assert ids(index.lexical(terms("승인 보안"), 5, EVERYONE).hits)[0] == 2


def test_a_short_passage_beats_a_long_one_with_the_same_words() -> None:
    index = built([row(1, "보안 " + "요금제 정산 " * 40), row(2, "보안 요금제")])
    assert ids(index.lexical(terms("보안"), 5, EVERYONE).hits) == [2, 1]


def test_nothing_in_common_finds_nothing() -> None:
    assert built([row(1, "보안")]).lexical(terms("leave"), 5, EVERYONE).hits == []
    assert Index().lexical(terms("leave"), 5, EVERYONE).hits == []
    assert built([row(1, "보안")]).lexical(terms(""), 5, EVERYONE).hits == []


def test_equal_scores_come_by_passage_id() -> None:
    index = built([row(n, "보안") for n in (5, 3, 9, 1)])
    assert ids(index.lexical(terms("보안"), 3, EVERYONE).hits) == [1, 3, 5]


def test_passages_of_other_groups_are_left_out() -> None:
    index = built([row(1, "보안", groups='["hr"]'), row(2, "보안")])
    assert ids(index.lexical(terms("보안"), 5, {"[]": True, '["hr"]': False}).hits) == [2]
    assert ids(index.lexical(terms("보안"), 5, EVERYONE).hits) == [1, 2]


def test_dense_finds_the_nearest_and_skips_passages_without_vector() -> None:
    def blob(*values: float) -> bytes:
        return np.array(values, "<f4").tobytes()

    index = built([row(1, "a", vector=blob(1, 0)), row(2, "b", vector=blob(0.6, 0.8)), row(3, "c")])
    hits = index.dense(np.array([0, 1], np.float32), 5, EVERYONE)
    assert ids(hits) == [2]
    assert abs(hits[0].score - 0.8) < 1e-6
    assert index.dense(np.array([0, 1, 0], np.float32), 5, EVERYONE) == []  # another model's length


def test_many_vectors_are_searched_as_exactly_as_few() -> None:
    chance = np.random.default_rng(7)
    vectors = chance.standard_normal((WORTHWHILE + 500, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    missing, secret, gone = {3, 4}, set(range(0, 1000, 7)), set(range(0, 1000, 11))
    rows = [
        row(n, "a", groups='["hr"]' if n in secret else "[]", vector=None if n in missing else vector.tobytes())
        for n, vector in enumerate(vectors)
    ]
    index = built(rows).apply(Changes(2, tuple(gone), []))
    assert index.segments[0].coarse is not None
    for asked in vectors[:1000:97]:
        for allowed in (EVERYONE, {"[]": True, '["hr"]': False}):
            seen = [
                n
                for n in range(len(vectors))
                if n not in missing | gone and (allowed['["hr"]'] or n not in secret) and vectors[n] @ asked > 0
            ]
            exact = sorted(seen, key=lambda n: (-float(vectors[n] @ asked), n))[:20]
            assert ids(index.dense(asked, 20, allowed)) == exact


def test_where_most_are_hidden_the_first_look_still_finds_the_rest() -> None:
    vectors = np.eye(8, dtype=np.float32)[np.arange(WORTHWHILE) % 8]
    rows = [row(n, "a", groups="[]" if n == 5 else '["hr"]', vector=v.tobytes()) for n, v in enumerate(vectors)]
    assert ids(built(rows).dense(vectors[5], 20, {"[]": True, '["hr"]': False})) == [5]


texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=25)


@settings(max_examples=60)
@given(texts, st.integers(0, 1 << 30))
def test_a_ranking_does_not_depend_on_history(wanted: list[str], seed: int) -> None:
    """Documents that came, changed and went in any order rank as if they had been there from the start."""
    chance = random.Random(seed)
    fresh = built([row(1000 + n, text, document=n) for n, text in enumerate(wanted)])
    index, touched = Index(), 0
    for n in range(len(wanted)):  # an old version of some, and documents that will be deleted
        touched += 1
        if chance.random() < 0.5:
            index = index.apply(Changes(touched, (n,), [row(n + 1, chance.choice(wanted), document=n)]))
        if chance.random() < 0.3:
            index = index.apply(Changes(touched, (500 + n,), [row(500 + n, chance.choice(wanted))]))
        if chance.random() < 0.3:
            index = index.compacted()
    for n in chance.sample(range(len(wanted)), len(wanted)):
        index = index.apply(Changes(touched, (n, 500 + n), [row(1000 + n, wanted[n], document=n)]))
        if chance.random() < 0.3:
            index = index.compacted()
    index = index.apply(Changes(touched, tuple(range(500, 500 + len(wanted))), []))
    for word in WORDS:
        assert index.lexical(terms(word), 10, EVERYONE) == fresh.lexical(terms(word), 10, EVERYONE)
    assert index.compacted().lexical(terms("연차휴가 인턴"), 10, EVERYONE) == fresh.lexical(
        terms("연차휴가 인턴"), 10, EVERYONE
    )


def test_many_small_changes_leave_few_segments() -> None:
    index = Index()
    for n in range(1, 200):
        index = index.apply(Changes(n, (n,), [row(n, "보안 승인")])).compacted()
    assert index.live == 199
    assert len(index.segments) <= 8
