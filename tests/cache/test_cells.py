from __future__ import annotations

import numpy as np
import pytest

from gateway.cache.cells import FULL, LOOKED_AT, Cells
from gateway.ports import Vectors


def topics(count: int, seed: int = 1, groups: int = 200) -> Vectors:
    chance = np.random.default_rng(seed)
    middles = chance.normal(size=(groups, 32))
    rows = middles[chance.integers(groups, size=count)] + chance.normal(scale=0.25, size=(count, 32))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def filled(vectors: Vectors) -> Cells:
    cells = Cells(vectors.shape[1])
    for row, vector in enumerate(vectors):
        cells.add(row, vector)
    return cells


def test_few_rows_are_all_compared() -> None:
    vectors = topics(FULL * LOOKED_AT // 4)
    rows, similarity = filled(vectors).near(vectors[3])
    assert sorted(rows.tolist()) == list(range(len(vectors)))
    assert np.allclose(similarity, vectors[rows] @ vectors[3], atol=1e-6)


def test_among_many_rows_near_ones_are_found_and_most_are_not_looked_at() -> None:
    vectors = topics(20_000)
    cells = filled(vectors)
    wanted = found = looked = 0
    for row in range(0, 20_000, 400):
        similarity = vectors @ vectors[row]
        near = np.flatnonzero(similarity > 0.9)
        rows, _ = cells.near(vectors[row])
        looked += len(rows)
        wanted += len(near)
        found += len(set(near.tolist()) & set(rows.tolist()))
    assert found / wanted > 0.97
    assert looked / 50 < 20_000 * 0.4


@pytest.mark.parametrize("seed", range(5))
def test_after_any_changes_the_cells_hold_what_was_put_last(seed: int) -> None:
    """Against a dictionary: add, replace and remove at random, with cuts in between."""
    chance, vectors = np.random.default_rng(seed), topics(6_000, seed)
    cells, kept = Cells(32), dict[int, int]()
    for step in range(6_000):
        row = int(chance.integers(2_500))
        if chance.random() < 0.3:
            cells.remove(row)
            kept.pop(row, None)
        else:
            cells.add(row, vectors[step])
            kept[row] = step
    rows, similarity = cells.near(vectors[0])
    assert len(cells) > 1
    assert sorted(rows.tolist()) == sorted(kept)
    assert np.allclose(similarity, [vectors[kept[row]] @ vectors[0] for row in rows.tolist()], atol=1e-6)


def test_many_equal_rows_stay_findable() -> None:
    vectors = np.repeat(topics(1), 3 * FULL, axis=0)
    rows, _ = filled(vectors).near(vectors[0])
    assert len(rows) == 3 * FULL


@pytest.mark.parametrize("width", [384, 300])  # whole words of bits, and not
def test_wide_vectors_are_found_by_their_sketches(width: int) -> None:
    """All in a narrow cone, as embedders make them."""
    chance = np.random.default_rng(4)
    middles = chance.normal(size=(300, width)) + 3.0
    rows = middles[chance.integers(300, size=12_000)] + chance.normal(scale=0.4, size=(12_000, width))
    vectors = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    cells = filled(vectors)
    wanted = found = looked = 0
    for row in range(0, 12_000, 200):
        similarity = vectors @ vectors[row]
        near = np.argsort(-similarity)[:8]
        rows_found, similar = cells.near(vectors[row])
        assert np.allclose(similar, similarity[rows_found], atol=1e-5)
        looked += len(rows_found)
        wanted += len(near)
        found += len(set(near.tolist()) & set(rows_found.tolist()))
    assert found / wanted > 0.97
    assert looked / 60 < 300
    cells.remove(0)
    assert 0 not in cells.near(vectors[0])[0]
