"""The vectors of one partition of an owner's index: those nearest to a query, and any of them by its number.

Knows FAISS. Knows nothing about records, words or ranking. `VectorIndex` is what every holder of vectors honours;
jc1/memory/index/chroma.py is another one.

Up to 50,000 vectors are compared one by one, which is exact; more are found through an HNSW graph over the same
vectors (Malkov and Yashunin, 2016, https://arxiv.org/abs/1603.09320). Where faiss-gpu and a GPU are there, every size
is compared one by one on the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jc1.embedding.base import Vectors

FLAT = 50_000
"""Most vectors that are compared one by one on a CPU (4 ms for a query)."""
LINKS = 16
"""Links of a vector in the graph."""
BUILD_EFFORT, EFFORT = 64, 200
"""How many vectors are kept in view while the graph is built, and at least while it is searched. 60,000 random vectors
of 384 dimensions, which are harder than any text's, take 11 s on two cores to build."""
DEAD = 0.2
"""The part of the graph's vectors that may be removed ones before it is built anew: a graph forgets nothing."""

GATHERED = 8
"""The share of a graph's vectors, one in so many, up to which they are copied together to be compared: of more it is
quicker to compare all."""

Rows = NDArray[np.int64]


class VectorIndex(Protocol):
    """Vectors of length one under numbers that the caller gives. Not safe for several threads."""

    def __len__(self) -> int:
        """How many vectors there are."""

    def put(self, rows: Rows, vectors: Vectors, keys: Sequence[str]) -> None:
        """Add vectors, shape (rows, dimension), under numbers that were never used before. A key tells a vector from
        every other of this owner's, today's and earlier ones, for a holder that outlives this process. The first call
        is of all that there are, which may be none."""

    def remove(self, rows: Rows) -> None:
        """Take out vectors that are there."""

    def nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        """At most `depth` rows and their cosines to `query`, shape (dimension,), highest first."""

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        """The cosines of rows that are there to `query`, in their order."""

    def close(self) -> None:
        """Give the memory back."""


VectorIndexes = Callable[[str], VectorIndex]
"""Makes the vector index of a partition of one owner's, which is named `statements` or `others`."""


class VectorStore(Protocol):
    """Where the vectors of all owners are. May be used from several threads."""

    def of(self, owner: str, version: int) -> VectorIndexes:
        """The makers of an owner's vector indexes, for the owner's records as they are at a version."""

    def close(self) -> None:
        """Give back connections."""


class FaissStore:
    """A `VectorStore` in this process: vectors of so many dimensions, built from the database each time."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def of(self, owner: str, version: int) -> VectorIndexes:
        return lambda partition: FaissVectors(self._dimension)

    def close(self) -> None:
        """There is nothing to give back."""


class FaissVectors:
    """A `VectorIndex` in this process."""

    def __init__(self, dimension: int, *, flat: int = FLAT) -> None:
        import faiss

        self._faiss: Any = faiss
        self._most_flat = flat
        self._flat = faiss.IndexFlatIP(dimension)
        self._graph: Any = None
        self._gpu: Any = None
        self._count = 0
        self._asked: tuple[bytes, Vectors] | None = None
        """The last query, and the cosines of all places to it."""
        self._rows: Rows = np.empty(0, np.int64)
        """The row at each place of the index, -1 where it was removed from the graph."""
        self._places: Rows = np.empty(0, np.int64)
        """The place of each row."""

    def __len__(self) -> int:
        return self._count

    def put(self, rows: Rows, vectors: Vectors, keys: Sequence[str]) -> None:
        if not len(rows):
            return
        self._number(np.concatenate([self._rows, rows]))
        self._gpu = self._asked = None
        if self._graph is not None:
            self._one_thread()
            self._graph.add(vectors)
            return
        self._flat.add(vectors)
        if len(self) > self._most_flat and not self._faiss.get_num_gpus():
            self._build(self._flat.reconstruct_n(0, len(self._rows)))

    def remove(self, rows: Rows) -> None:
        places = self._places[rows]
        self._gpu = self._asked = None
        if self._graph is not None:
            self._rows[places] = -1
            self._count -= len(rows)
            if len(self) < (1 - DEAD) * len(self._rows):
                kept = np.flatnonzero(self._rows >= 0)
                vectors = self._flat.reconstruct_batch(kept)
                self._number(self._rows[kept])
                self._build(vectors)
            return
        self._flat.remove_ids(self._faiss.IDSelectorBatch(places))
        self._number(np.delete(self._rows, places))

    def nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        wanted = min(2 * depth, len(self._rows)) if self._graph is not None else min(depth, len(self._rows))
        self._one_thread()
        if self._graph is not None:
            effort = self._faiss.SearchParametersHNSW(efSearch=max(EFFORT, wanted))
            cosines, places = self._graph.search(query[np.newaxis], wanted, params=effort)
        elif self._faiss.get_num_gpus():
            cosines, places = self._on_gpus().search(query[np.newaxis], wanted)
        else:
            every = self._every(query)
            best = np.argpartition(-every, wanted - 1)[:wanted]
            best = best[np.argsort(-every[best], kind="stable")]
            return self._rows[best], every[best]
        found = self._rows[places[0][places[0] >= 0]]
        kept = found >= 0
        return found[kept][:depth], cosines[0][: len(found)][kept][:depth]

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        places = self._places[rows]
        if self._graph is not None and len(rows) < self._flat.ntotal / GATHERED:
            vectors = self._flat.reconstruct_batch(places)
            return self._products(query, self._faiss.swig_ptr(vectors), len(rows))
        return self._every(query)[places]

    def close(self) -> None:
        self._graph = self._gpu = None
        self._flat.reset()
        self._number(np.empty(0, np.int64))

    def _on_gpus(self) -> Any:
        """The flat index on the GPUs, copied there after each change."""
        if self._gpu is None:
            self._gpu = self._faiss.index_cpu_to_all_gpus(self._flat)
        return self._gpu

    def _every(self, query: Vectors) -> Vectors:
        """The cosines of all places to the query, which is asked for its nearest and for its cosines in a row."""
        asked = query.tobytes()
        if self._asked is None or self._asked[0] != asked:
            self._asked = asked, self._products(query, self._flat.get_xb(), self._flat.ntotal)
        return self._asked[1]

    def _build(self, vectors: Vectors) -> None:
        """The graph over these vectors, at their places. It keeps them in the flat index."""
        self._graph = None
        self._flat.reset()
        self._graph = self._faiss.IndexHNSW(self._flat, LINKS)
        self._graph.hnsw.efConstruction = BUILD_EFFORT
        self._faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
        self._graph.add(vectors)

    def _products(self, query: Vectors, vectors: Any, count: int) -> Vectors:
        """The inner products of `query` with so many vectors, which stand one after another. On one thread: NumPy's
        product takes several, and ten times as long while other requests have them."""
        pointer, products = self._faiss.swig_ptr, np.empty(count, np.float32)
        query = np.ascontiguousarray(query, np.float32)
        self._faiss.fvec_inner_products_ny(pointer(products), pointer(query), vectors, self._flat.d, count)
        return products

    def _number(self, rows: Rows) -> None:
        """Say which row is at each place; -1 for none."""
        there = np.flatnonzero(rows >= 0)
        self._rows, self._count = rows, len(there)
        self._places = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
        self._places[rows[there]] = there

    def _one_thread(self) -> None:
        # A setting of the calling thread, and two threads make one query 25 times slower.
        self._faiss.omp_set_num_threads(1)
