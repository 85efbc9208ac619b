"""A partition of an owner's index: rows that are ranked among themselves, each with a vector or several.

Knows which vectors are a row's. Knows nothing about texts, nor about how vectors are searched.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jc1.embedding.base import Vectors
from jc1.memory.index.vectors import Rows, VectorIndex

SAMPLE = 512
"""Rows of a partition from which mean and standard deviation of its cosines are estimated."""

Mask = NDArray[np.bool_]


class Partition:
    """Rows that are ranked among themselves. A row has one vector or, where its text is long, one for each passage."""

    def __init__(self, vectors: VectorIndex) -> None:
        self.vectors = vectors
        self._members = np.zeros(64, np.bool_)
        self._first = np.zeros(64, np.int64)
        """By row: the number of its first vector; the others follow."""
        self._counts = np.zeros(64, np.int64)
        self._rows: Rows = np.empty(0, np.int64)
        """By vector: its row."""

    def add(self, rows: Rows, vectors: Vectors, counts: NDArray[np.int64], keys: Sequence[str]) -> None:
        """Add rows that are not there yet, with so many vectors each, which stand one after the other."""
        if (last := int(rows.max(initial=-1))) >= len(self._members):
            self._members = np.concatenate([self._members, np.zeros(last + 1, np.bool_)])
            self._first, self._counts = (
                np.concatenate([array, np.zeros(last + 1, np.int64)]) for array in (self._first, self._counts)
            )
        first = len(self._rows)
        self._members[rows], self._counts[rows] = True, counts
        self._first[rows] = first + np.cumsum(counts) - counts
        self._rows = np.concatenate([self._rows, np.repeat(rows, counts)])
        each = [_passage_key(key, n) for key, count in zip(keys, counts.tolist(), strict=True) for n in range(count)]
        self.vectors.put(np.arange(first, len(self._rows)), vectors, each)

    def remove(self, rows: Sequence[int]) -> None:
        """Remove rows that are there."""
        if rows:
            numbers = np.array(rows, np.int64)
            self._members[numbers] = False
            self.vectors.remove(self._vectors_of(numbers))

    def nearest(self, query: Vectors, depth: int) -> Rows:
        """Return the rows of the `depth` vectors that are nearest to a query's."""
        return np.unique(self._rows[self.vectors.nearest(query, depth)[0]])

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        """Return the cosines of rows that are there to a query: of each its vectors' highest."""
        cosines = self.vectors.cosines(query, self._vectors_of(rows))
        counts = self._counts[rows]
        highest: Vectors = np.maximum.reduceat(cosines, np.cumsum(counts) - counts)
        return highest

    def cosines_of_passages(self, query: Vectors, row: int) -> Vectors:
        """Return the cosines of all vectors of a row."""
        return self.vectors.cosines(query, self._vectors_of(np.array([row])))

    def _vectors_of(self, rows: Rows) -> Rows:
        """Return the numbers of the rows' vectors, row after row."""
        counts = self._counts[rows]
        ends = np.cumsum(counts)
        return np.arange(counts.sum()) + np.repeat(self._first[rows] - ends + counts, counts)

    def has(self, row: int) -> bool:
        """Return whether the row stands on this partition."""
        return row < len(self._members) and bool(self._members[row])

    def holds(self, rows: Rows) -> Mask:
        """Return a mask of those rows that stand on this partition."""
        members: Mask = self._members[np.minimum(rows, len(self._members) - 1)] & (rows < len(self._members))
        return members

    def all(self) -> Rows:
        """Return the rows of the partition, ascending."""
        return np.flatnonzero(self._members)

    def sample(self) -> Rows:
        """Return at most `SAMPLE` of the partition's rows, evenly spread."""
        rows = self.all()
        if len(rows) <= SAMPLE:
            return rows
        return rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]


def _passage_key(key: str, number: int) -> str:
    """Return the key of a row's vector: a key ends in a version, after a dot."""
    name, _, version = key.rpartition(".")
    return key if number == 0 else f"{name}/{number}.{version}"
