"""The indexes of the owners in use: built from the database, kept in step with it, dropped where they are too many.

Knows which records are recalled, what an index takes in and how much all may hold together. Knows nothing about how an
index finds candidates, or how they are ranked.

An owner's index is built from the stored vectors when it is first needed. Before each use the owner's version in the
database tells whether this or another process has written since; then only what changed is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, bindparam, select, update
from sqlalchemy import Row as SqlRow

from jc1.database.connection import reading, write_in_batches
from jc1.database.tables import owners, records
from jc1.memory.base import Record
from jc1.memory.passages import embedding_texts, passages
from jc1.memory.rows import HIDDEN, SHOWN
from jc1.memory.stored_vectors import EMBEDDED_AT_ONCE, decode, encode, size_of

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder, Vectors
    from jc1.memory.index.index import OwnerIndex
    from jc1.memory.index.vectors import VectorStore

INDEXED_RECORDS = 100_000
"""How many records, a long one counted by its passages, the indexes of all owners may hold together, at about 4 KB each
with MiniLM's 384 dimensions."""
EMPTY_INDEX = 30
"""How many records an index itself takes the memory of: owners who have none must not fill it either."""

_RECALLED = ~HIDDEN & ~records.c.excluded & ~records.c.outdated & records.c.superseded_by.is_(None)
_INDEXED = select(
    *SHOWN, records.c.seq, _RECALLED.label("recalled"), records.c.changed, records.c.vector, records.c.embedder
)


@dataclass(slots=True)
class _CachedIndex:
    """An owner's index, the version it is in step with, and who may touch it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    index: OwnerIndex | None = None
    version: int = 0


class Indexes:
    """An index for each owner who is in use, lent to one thread at a time.

    All together hold at most `capacity` records, or one owner's alone. `close` closes `vectors` too.
    """

    def __init__(self, database: Engine, embedder: Embedder, vectors: VectorStore, capacity: int) -> None:
        self._database = database
        self._embedder = embedder
        self._vectors = vectors
        self._capacity = capacity
        self._indexes: OrderedDict[str, _CachedIndex] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, owner: str) -> Iterator[OwnerIndex]:
        """Lend the owner's index, in step with the database, to the body; then drop others where they are too many."""
        cached = self._cached(owner)
        with cached.lock:
            yield self._refreshed(owner, cached)
        self._evict()

    def holds(self, owner: str) -> bool:
        """Return whether the owner's index is built, so that `of` need not build it."""
        with self._lock:
            cached = self._indexes.get(owner)
        return cached is not None and cached.index is not None

    def drop(self, owner: str) -> None:
        """Give the owner's index back."""
        _drop(self._cached(owner))

    def close(self) -> None:
        """Give all indexes back."""
        with self._lock:
            indexes = [*self._indexes.values()]
            self._indexes.clear()
        for cached in indexes:
            _drop(cached)
        self._vectors.close()

    def _cached(self, owner: str) -> _CachedIndex:
        with self._lock:
            cached = self._indexes.setdefault(owner, _CachedIndex())
            self._indexes.move_to_end(owner)
            return cached

    def _evict(self) -> None:
        """Drop the indexes that were not used for longest while all together hold more than the capacity; not the last
        one used, nor one that is in use."""
        with self._lock:
            sizes = {
                owner: EMPTY_INDEX + (cached.index.size if cached.index else 0)
                for owner, cached in self._indexes.items()
            }
            for owner in [*self._indexes][:-1]:
                if sum(sizes.values()) <= self._capacity:
                    return
                cached = self._indexes[owner]
                if cached.lock.acquire(blocking=False):
                    _discard_index(cached)
                    cached.lock.release()
                    del sizes[owner], self._indexes[owner]

    def _refreshed(self, owner: str, cached: _CachedIndex) -> OwnerIndex:
        """Return the owner's index, in step with the database. The index's lock is held."""
        from jc1.memory.index.index import OwnerIndex, Row

        if cached.index is not None and cached.index.needs_rebuild:
            _discard_index(cached)
        theirs = records.c.owner == owner
        with reading(self._database) as connection:
            columns = select(owners.c.version, owners.c.deleted)
            state = connection.execute(columns.where(owners.c.owner == owner)).first()
            version, deleted = state or (0, 0)
            if cached.index is not None and version == cached.version:
                return cached.index
            if cached.index is None:
                rows, removed = connection.execute(_INDEXED.where(theirs, _RECALLED)).all(), set[int]()
            else:
                rows = connection.execute(_INDEXED.where(theirs, records.c.changed > cached.version)).all()
                removed = {row.seq for row in rows if not row.recalled}
                if deleted > cached.version:
                    removed |= cached.index.records.keys() - _seqs_of(connection, theirs)
        fresh = [row for row in rows if row.recalled]
        vectors, counts = self._read_vectors(fresh)
        try:
            if cached.index is None:
                cached.index = OwnerIndex(self._vectors.of(owner, version))
            cached.index.remove(removed)
            # The row begins with the record's fields.
            added = [Row(row.seq, Record(*row[: len(SHOWN)]), f"{row.id}.{row.changed}") for row in fresh]
            cached.index.put(added, vectors, counts)
        except BaseException:
            _discard_index(cached)  # it may hold a part of the change only
            raise
        cached.version = version
        return cached.index

    def _read_vectors(self, rows: Sequence[SqlRow[*tuple[Any, ...]]]) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the rows' stored vectors, one after the other, and how many each row has.

        Those that another embedder made, or of a long text that was not embedded to its end, are made and stored anew.
        """
        size = size_of(self._embedder.dimension)
        stale = [
            row
            for row in rows
            if row.embedder != self._embedder.fingerprint or len(row.vector) != size * len(passages(row.text))
        ]
        blobs = {row.seq: row.vector for row in rows}
        for start in range(0, len(stale), EMBEDDED_AT_ONCE):
            some = stale[start : start + EMBEDDED_AT_ONCE]
            encoded = encode(self._embedder, [embedding_texts(row.speaker, row.text) for row in some])
            fresh = [
                {"row": row.seq, "seen": row.changed, "blob": blob} for row, blob in zip(some, encoded, strict=True)
            ]
            blobs.update((vector["row"], vector["blob"]) for vector in fresh)
            write_in_batches(self._database, "embedding memories anew", fresh, self._store_vectors)
        vectors = decode(blobs.values(), self._embedder.dimension)
        return vectors, np.array([len(blob) // size for blob in blobs.values()], np.int64)

    def _store_vectors(self, connection: Connection, vectors: Sequence[Mapping[str, Any]]) -> None:
        connection.execute(
            update(records)
            # Unless it was edited meanwhile.
            .where(records.c.seq == bindparam("row"), records.c.changed == bindparam("seen"))
            .values(vector=bindparam("blob"), embedder=self._embedder.fingerprint),
            vectors,
        )


def _seqs_of(connection: Connection, theirs: ColumnElement[bool]) -> set[int]:
    return set(connection.execute(select(records.c.seq).where(theirs)).scalars())


def _drop(cached: _CachedIndex) -> None:
    with cached.lock:
        _discard_index(cached)


def _discard_index(cached: _CachedIndex) -> None:
    """Give up an owner's index. Its lock is held."""
    if cached.index is not None:
        cached.index.close()
        cached.index = None
