"""Vectors in FAISS, compared one by one or found through a graph."""

from __future__ import annotations

import numpy as np
import pytest

from jc1.embedding.base import Vectors
from jc1.memory.vectors import FaissVectors


def unit(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(count: int, flat: int) -> tuple[FaissVectors, Vectors]:
    index, vectors = FaissVectors(32, flat=flat), unit(count)
    for start in range(0, count, 100):
        rows = np.arange(start, min(start + 100, count))
        index.put(rows, vectors[rows], [str(row) for row in rows])
    return index, vectors


@pytest.mark.parametrize("flat", [1000, 150], ids=["flat", "graph"])
def test_the_nearest_come_first_with_their_cosines(flat: int) -> None:
    index, vectors = filled(600, flat)
    query = unit(1, seed=1)[0]
    rows, cosines = index.nearest(query, 20)
    wanted = np.argsort(-(vectors @ query))[:20]
    assert len(set(rows.tolist()) & set(wanted.tolist())) >= 19
    assert cosines.tolist() == pytest.approx((vectors[rows] @ query).tolist(), abs=1e-5)
    assert sorted(cosines.tolist(), reverse=True) == cosines.tolist()


@pytest.mark.parametrize("flat", [1000, 150], ids=["flat", "graph"])
def test_removed_rows_are_found_no_more_and_the_others_keep_their_vectors(flat: int) -> None:
    index, vectors = filled(600, flat)
    for gone in (np.arange(0, 60), np.arange(100, 300), np.array([599])):  # the graph is built anew on the way
        index.remove(gone)
    left = np.array([row for row in range(600) if not (row < 60 or 100 <= row < 300 or row == 599)])
    assert len(index) == len(left)
    found, _ = index.nearest(vectors[200], 600)
    assert set(found.tolist()) <= set(left.tolist())
    assert len(found) > 0.9 * len(left)
    for some in (left, left[::40]):
        assert index.cosines(vectors[5], some).tolist() == pytest.approx(
            (vectors[some] @ vectors[5]).tolist(), abs=1e-5
        )
    index.put(np.array([700]), vectors[200:201], ["700"])
    assert index.nearest(vectors[200], 1)[0].tolist() == [700]


def test_an_empty_index_finds_nothing() -> None:
    index = FaissVectors(32)
    assert [part.tolist() for part in index.nearest(unit(1)[0], 5)] == [[], []]
    index.put(np.array([4]), unit(1), ["4"])
    index.remove(np.array([4]))
    assert [part.tolist() for part in index.nearest(unit(1)[0], 5)] == [[], []]
