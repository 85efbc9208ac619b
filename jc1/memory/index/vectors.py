"""The vectors of one partition of an owner's index: those nearest to a query, and any of them by its number.

Knows FAISS. Knows nothing about records, words or ranking. `VectorIndex` is what every holder of vectors honours;
jc1/memory/index/chroma.py is another one.

All vectors are compared one by one, which is exact: 60,000 of 384 dimensions in 7.5 ms on one core. A graph (HNSW) of
them takes a minute to build on two busy cores, and 22 ms to find the 500 that ranking wants; only among some 200,000
is it as quick. Where faiss-gpu and a GPU are there, the vectors are compared on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jc1.embedding.base import Vectors

Rows = NDArray[np.int64]


class VectorIndex(Protocol):
    """Vectors of length one under numbers that the caller gives. Not safe for several threads."""

    def __len__(self) -> int:
        """Return the number of vectors."""

    def put(self, rows: Rows, vectors: Vectors, keys: Sequence[str]) -> None:
        """Add vectors under numbers that were never used before. The first call is of all that there are, maybe none.

        Args:
            rows: the numbers, shape (rows,).
            vectors: shape (rows, dimension).
            keys: tell each vector from every other of this owner's, now and earlier, for a store that outlives this
                process.
        """

    def remove(self, rows: Rows) -> None:
        """Remove vectors that are there."""

    def nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        """Return at most `depth` rows and their cosines to `query`, shape (dimension,), highest first."""

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        """Return the cosines of rows that are there to `query`, in their order."""

    def close(self) -> None:
        """Free the memory."""


VectorIndexes = Callable[[str], VectorIndex]
"""Factory of one owner's vector indexes, one for each partition by its name: `statements` or `others`."""


class VectorStore(Protocol):
    """The vectors of all owners. May be used from several threads."""

    def of(self, owner: str, version: int) -> VectorIndexes:
        """Return the factory of an owner's vector indexes, for the owner's records as they are at a version."""

    def close(self) -> None:
        """Close connections."""


class FaissStore:
    """A `VectorStore` in this process: vectors of so many dimensions, built from the database each time."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def of(self, owner: str, version: int) -> VectorIndexes:
        return lambda partition: FaissVectors(self._dimension)

    def close(self) -> None:
        """Do nothing: the vectors belong to the indexes."""


class FaissVectors:
    """A `VectorIndex` in this process."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self._faiss: Any = faiss
        self._flat = faiss.IndexFlatIP(dimension)
        self._gpu: Any = None
        self._last: tuple[bytes, Vectors] | None = None
        """The last query, and the cosines of all places to it."""
        self._rows: Rows = np.empty(0, np.int64)
        """The row at each place of the index."""
        self._places: Rows = np.empty(0, np.int64)
        """The place of each row."""

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, rows: Rows, vectors: Vectors, keys: Sequence[str]) -> None:
        if len(rows):
            self._number(np.concatenate([self._rows, rows]))
            self._flat.add(vectors)

    def remove(self, rows: Rows) -> None:
        places = self._places[rows]
        self._flat.remove_ids(self._faiss.IDSelectorBatch(places))
        self._number(np.delete(self._rows, places))

    def nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        depth = min(depth, len(self))
        if not depth:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if self._faiss.get_num_gpus():
            cosines, places = self._on_gpus().search(query[np.newaxis], depth)  # (1, depth) each
            return self._rows[places[0]], cosines[0]
        every = self._every(query)
        best = np.argpartition(-every, depth - 1)[:depth]
        best = best[np.argsort(-every[best], kind="stable")]
        return self._rows[best], every[best]

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        return self._every(query)[self._places[rows]]

    def close(self) -> None:
        self._flat.reset()
        self._number(np.empty(0, np.int64))

    def _on_gpus(self) -> Any:
        """Return the flat index on the GPUs, copied there after each change."""
        if self._gpu is None:
            self._gpu = self._faiss.index_cpu_to_all_gpus(self._flat)
        return self._gpu

    def _every(self, query: Vectors) -> Vectors:
        """Return the cosines of all places to the query, shape (places,), and keep them for the next call.

        A search asks for the nearest and then for cosines, both of the same query. On one thread: NumPy's product
        takes several, and ten times as long while other requests have them.
        """
        query_bytes = query.tobytes()
        if self._last is None or self._last[0] != query_bytes:
            pointer, count = self._faiss.swig_ptr, self._flat.ntotal
            query, products = np.ascontiguousarray(query, np.float32), np.empty(count, np.float32)
            self._faiss.fvec_inner_products_ny(
                pointer(products), pointer(query), self._flat.get_xb(), self._flat.d, count
            )
            self._last = query_bytes, products
        return self._last[1]

    def _number(self, rows: Rows) -> None:
        """Store the row at each place after a change, and the place of each row."""
        self._gpu = self._last = None
        self._rows = rows
        self._places = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
        self._places[rows] = np.arange(len(rows))
