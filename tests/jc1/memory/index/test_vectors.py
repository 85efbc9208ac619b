"""What every holder of an owner's vectors must do: FAISS; Chroma, embedded and as a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jc1.embedding.base import Vectors
from jc1.memory.index.chroma import ChromaStore
from jc1.memory.index.vectors import FaissVectors, VectorIndex
from tests.jc1.memory.chroma_server import ChromaServer


def unit(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = unit(600)
QUERY = unit(1, seed=1)[0]


@pytest.fixture(params=["faiss", "chroma", "chroma server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorIndex]:
    if request.param == "faiss":
        yield FaissVectors(32)
        return
    if request.param == "chroma":
        store = ChromaStore(fingerprint="random/1", path=tmp_path)
    else:
        server: ChromaServer = request.getfixturevalue("chroma_server")
        store = ChromaStore(fingerprint=str(tmp_path), url=server.url)
    yield store.of("ann", 1)("statements")
    store.close()


def fill(index: VectorIndex) -> None:
    for start in range(0, len(VECTORS), 100):
        rows = np.arange(start, min(start + 100, len(VECTORS)))
        index.put(rows, VECTORS[rows], [f"{row}.1" for row in rows])


def test_the_nearest_come_first_with_their_cosines(index: VectorIndex) -> None:
    fill(index)
    rows, cosines = index.nearest(QUERY, 20)
    wanted = np.argsort(-(VECTORS @ QUERY))[:20]
    assert len(set(rows.tolist()) & set(wanted.tolist())) >= 19
    assert cosines.tolist() == pytest.approx((VECTORS[rows] @ QUERY).tolist(), abs=1e-5)
    assert sorted(cosines.tolist(), reverse=True) == cosines.tolist()


def test_removed_rows_are_found_no_more_and_the_others_keep_their_vectors(index: VectorIndex) -> None:
    fill(index)
    for gone in (np.arange(0, 60), np.arange(100, 300), np.array([599])):
        index.remove(gone)
    left = np.array([row for row in range(600) if not (row < 60 or 100 <= row < 300 or row == 599)])
    assert len(index) == len(left)
    found, _ = index.nearest(VECTORS[200], 600)
    assert set(found.tolist()) <= set(left.tolist())
    assert len(found) > 0.9 * len(left)
    for some in (left, left[::40]):
        assert index.cosines(VECTORS[5], some).tolist() == pytest.approx((VECTORS[some] @ VECTORS[5]).tolist(), abs=0.1)
    index.put(np.array([700]), VECTORS[200:201], ["700.2"])
    assert index.nearest(VECTORS[200], 1)[0].tolist() == [700]
    assert index.cosines(VECTORS[200], np.array([700])).tolist() == pytest.approx([1.0], abs=1e-5)


def test_an_empty_index_finds_nothing(index: VectorIndex) -> None:
    assert [part.tolist() for part in index.nearest(QUERY, 5)] == [[], []]
    index.put(np.array([4]), VECTORS[:1], ["4.1"])
    index.remove(np.array([4]))
    assert [part.tolist() for part in index.nearest(QUERY, 5)] == [[], []]


def test_cosines_in_faiss_are_exact() -> None:
    index = FaissVectors(32)
    fill(index)
    for some in (np.arange(600), np.array([3, 599, 0])):
        assert index.cosines(QUERY, some).tolist() == pytest.approx((VECTORS[some] @ QUERY).tolist(), abs=1e-5)
    index.close()
