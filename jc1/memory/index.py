"""One owner's index: vectors in FAISS and words in SQLite's FTS5, derived from the database and thrown away at will.

Knows how to find candidates by meaning and by words. Knows nothing about the database, about how the two lists are
fused, or about any other owner: word statistics are this owner's own.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jc1.embedding.base import Vectors
from jc1.memory.base import Kind, Record

MAX_TERMS = 64
"""Most different words of a query that are searched for."""

Hit = tuple[int, float]
"""A row's number and its score; higher is better."""

_SEPARATORS = re.compile(r"[\s\0-/:-@\[-`{-\x7f]+")


@dataclass(frozen=True, slots=True)
class Row:
    """A record as the index takes it in: the database's row number, the record, its vector of shape (dimension,)."""

    seq: int
    record: Record
    vector: Vectors


class OwnerIndex:
    """Records of one owner on two shelves: statements, and what never outranks them. Not safe for several threads."""

    def __init__(self, dimension: int) -> None:
        self.records: dict[int, Record] = {}
        self.statements = Shelf(dimension)
        self.others = Shelf(dimension)
        self._sessions: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def put(self, rows: Sequence[Row]) -> None:
        """Add rows; one that is there already is replaced."""
        self.remove(row.seq for row in rows)
        for statements, shelf in ((True, self.statements), (False, self.others)):
            shelf.add([row for row in rows if is_statement(row.record.kind) == statements])
        for row in rows:
            self.records[row.seq] = row.record
            if row.record.session is not None:
                self._sessions.setdefault(row.record.session, set()).add(row.seq)

    def remove(self, seqs: Iterable[int]) -> None:
        """Take rows out; those that are not there are passed over."""
        gone = [seq for seq in seqs if seq in self.records]
        for statements, shelf in ((True, self.statements), (False, self.others)):
            shelf.remove([seq for seq in gone if is_statement(self.records[seq].kind) == statements])
        for seq in gone:
            record = self.records.pop(seq)
            if record.session is not None:
                rows = self._sessions[record.session]
                rows.discard(seq)
                if not rows:
                    del self._sessions[record.session]

    def in_session(self, session: str, turns: Container[int]) -> list[int]:
        """Rows of a session's `turns`, in order."""
        found = [
            (record.turn, seq)
            for seq in self._sessions.get(session, ())
            if (record := self.records[seq]).turn is not None and record.turn in turns
        ]
        return [seq for _, seq in sorted(found)]

    def close(self) -> None:
        """Give the memory back."""
        self.statements.close()
        self.others.close()
        self.records.clear()


class Shelf:
    """Rows that are ranked among themselves."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self._vectors = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
        self._batch, self._one_thread = faiss.IDSelectorBatch, faiss.omp_set_num_threads
        self._texts = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._texts.execute(
            "CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'porter unicode61 remove_diacritics 2')"
        )

    def __len__(self) -> int:
        return int(self._vectors.ntotal)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows that are not there yet."""
        if not rows:
            return
        self._vectors.add_with_ids(
            np.stack([row.vector for row in rows]),  # (rows, dimension)
            np.array([row.seq for row in rows], dtype=np.int64),
        )
        self._change("INSERT INTO texts(rowid, text) VALUES (?, ?)", [(row.seq, row.record.text) for row in rows])

    def remove(self, seqs: Sequence[int]) -> None:
        """Take out rows that are there."""
        if not seqs:
            return
        self._vectors.remove_ids(self._batch(np.array(seqs, dtype=np.int64)))
        self._change("DELETE FROM texts WHERE rowid = ?", [(seq,) for seq in seqs])

    def nearest(self, vector: Vectors, depth: int) -> list[Hit]:
        """The `depth` rows with the highest cosine to `vector`, shape (dimension,), best first."""
        if not len(self):
            return []
        # A setting of the calling thread, and two threads make one query 25 times slower.
        self._one_thread(1)
        scores, seqs = self._vectors.search(vector[np.newaxis], min(depth, len(self)))
        return list(zip(seqs[0].tolist(), scores[0].tolist(), strict=True))

    def matching(self, text: str, depth: int) -> list[Hit]:
        """The `depth` rows with the highest BM25 score for the words of `text`, best first; only rows with a word in
        common."""
        different = {word.casefold(): word for word in _SEPARATORS.split(text) if word}
        if not different:
            return []
        terms = list(different.values())[:MAX_TERMS]
        # A quoted term is a string to FTS5, whatever it holds: no query can be an operator or a column's name.
        found = self._texts.execute(
            "SELECT rowid, -rank FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT ?",
            (" OR ".join(f'"{term}"' for term in terms), depth),
        )
        return found.fetchall()

    def close(self) -> None:
        """Give the memory back."""
        self._vectors.reset()
        self._texts.close()

    def _change(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._texts.execute("BEGIN")
        self._texts.executemany(statement, rows)
        self._texts.execute("COMMIT")


def is_statement(kind: Kind) -> bool:
    """Whether records of this kind stand on the shelf that is read first."""
    return kind == "statement"
