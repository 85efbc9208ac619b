"""One owner's index: vectors, words and who said what next to what, derived from the database and thrown away at will.

Knows how rows are found by meaning and scored by words, alone and with what stands around them. Knows nothing about the
database, about what the scores are worth, or about any other owner: word statistics are this owner's own.

A turn of a conversation is often understood only beside its neighbours, so of each row three texts are scored: its own,
its window (two rows either side in its session), and its session. None of them is stored or embedded: a window's words
are counted from its rows', its cosine is the mean of theirs. So a new turn changes its neighbours' windows at no cost.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from jc1.embedding.base import Vectors
from jc1.memory.base import Kind, Record
from jc1.memory.index.partition import Mask, Partition
from jc1.memory.index.vectors import Rows, VectorIndexes
from jc1.memory.index.words import Postings, terms
from jc1.memory.passages import passages

WINDOW = 2
"""Rows either side that make a row's window."""
FADING = 0.5
"""Weight of a neighbour's cosine in its window's mean, to the power of its distance in rows."""
K1, B = 1.2, 0.75
"""BM25's constants, as Robertson and Zaragoza recommend them (2009, section 3.5)."""
SHARED = 0.2
"""What it adds to a passage's cosine to hold all terms of a query, where a text's best passage is looked for."""

Scores = NDArray[np.float64]
Counts = NDArray[np.integer] | Scores

_ROW = np.dtype(
    [
        ("seq", "i8"), ("created", "f8"), ("session", "i4"), ("length", "i4"), ("days", "i4"),
        ("near", "i4", (2 * WINDOW,)), ("alive", "?"), ("question", "?"),
    ]
)  # fmt: skip
_Entry = tuple[int, int, int]
"""A row of a session: its turn, seq and row."""
_FADED = FADING ** np.array([*range(WINDOW, 0, -1), *range(1, WINDOW + 1)])


@dataclass(frozen=True, slots=True)
class Row:
    """A record as the index takes it in: the database's row number, the record, and a key that no other vector of this
    owner's ever had."""

    seq: int
    record: Record
    key: str = ""


@dataclass(frozen=True, slots=True)
class Bm25:
    """BM25 scores of every row for the words of a query: of its own text, its window, its session and its date."""

    text: Scores
    window: Scores
    session: Scores
    date: Scores


class _Texts:
    """Texts that BM25 compares: their lengths in terms, 0 where there is none (any more)."""

    def __init__(self, lengths: Counts) -> None:
        self._count = int(np.count_nonzero(lengths))
        average = float(lengths.sum()) / max(self._count, 1)
        self._norms = K1 * (1 - B + B * lengths / max(average, 1.0))

    def score(self, scores: Scores, texts: NDArray[np.integer], counts: Counts) -> None:
        """Add one term's BM25 to `scores`, given the texts that hold it and how often each does: its counts.

        The inverse document frequency is Lucene's, which is never negative: ln(1 + (N - n + 0.5) / (n + 0.5)).
        """
        if len(texts):
            rarity = math.log1p((self._count - len(texts) + 0.5) / (len(texts) + 0.5))
            scores[texts] += rarity * (K1 + 1) * counts / (counts + self._norms[texts])


@dataclass(frozen=True, slots=True)
class _Statistics:
    """Statistics of all rows that BM25 needs; computed anew after a change."""

    alive: Mask
    near: NDArray[np.int32]
    session: NDArray[np.int32]
    texts: _Texts
    windows: _Texts
    sessions: _Texts
    days: _Texts


class OwnerIndex:
    """Records of one owner on two partitions: statements, and what never outranks them. Not safe for several threads.

    Inside, a record is a number, its row, which is never given again: one that `needs_rebuild` is to be built anew.
    """

    def __init__(self, vectors: VectorIndexes) -> None:
        self.records: dict[int, Record] = {}
        """Records by the database's row number, `seq`, which callers use throughout."""
        self.statements = Partition(vectors("statements"))
        self.others = Partition(vectors("others"))
        self._table = np.zeros(64, _ROW)
        self._count = 0
        self._rows: dict[int, int] = {}
        self._words, self._days = Postings(), Postings()
        self._sessions: dict[str, list[_Entry]] = {}
        """The rows of each session, in order."""
        self._numbers: dict[str, int] = {}
        self._speakers: dict[str, tuple[frozenset[str], set[int]]] = {}
        """The terms of each speaker's name, and the speaker's rows."""
        self.pinned: set[int] = set()
        """Rows that every search returns."""
        self._statistics: _Statistics | None = None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def size(self) -> int:
        """Return how many vectors there are: one for each record, of long ones one for each passage."""
        return len(self.statements.vectors) + len(self.others.vectors)

    def put(self, rows: Sequence[Row], vectors: Vectors, counts: NDArray[np.int64] | None = None) -> None:
        """Add rows; one that is there already is replaced.

        Args:
            vectors: Those of the rows one after the other, shape (vectors, dimension).
            counts: How many of them each row has; one each where nothing is said.
        """
        self.remove(row.seq for row in rows)
        numbers = self._add(rows)
        counts = np.ones(len(rows), np.int64) if counts is None else counts
        statements = np.array([is_statement(row.record.kind) for row in rows], np.bool_)
        for these, partition in ((statements, self.statements), (~statements, self.others)):
            keys = [rows[place].key for place in np.flatnonzero(these).tolist()]
            partition.add(numbers[these], vectors[np.repeat(these, counts)], counts[these], keys)

    def remove(self, seqs: Iterable[int]) -> None:
        """Remove rows by `seq`, passing over those that are not there."""
        known = [seq for seq in seqs if seq in self.records]
        if not known:
            return
        for statements, partition in ((True, self.statements), (False, self.others)):
            partition.remove([self._rows[seq] for seq in known if is_statement(self.records[seq].kind) == statements])
        for seq in known:
            self._drop(seq)

    def in_session(self, session: str, turns: Container[int]) -> list[int]:
        """Return the `seq` of each row of a session's `turns`, in order."""
        return [seq for turn, seq, _ in self._sessions.get(session, ()) if turn in turns]

    def bm25(self, query: Sequence[str]) -> Bm25:
        """Return the BM25 scores of all rows for a query's terms."""
        count, known = self._count, self._known()
        text, window, date = np.zeros(count), np.zeros(count), np.zeros(count)  # (rows,)
        session = np.zeros(len(self._numbers))  # (sessions,)
        for term in dict.fromkeys(query):
            rows, counts = self._holding(self._words, term, known.alive)
            if len(rows):
                known.texts.score(text, rows, counts)
                known.windows.score(window, *_nonzero(self._windowed(rows, counts)))
                known.sessions.score(session, *_nonzero(np.bincount(known.session[rows], counts)))
            known.days.score(date, *self._holding(self._days, term, known.alive))
        return Bm25(text, window, session[known.session], date)

    def cosines(self, vector: Vectors, rows: Rows) -> tuple[Scores, Scores]:
        """Return the cosines of `rows` to a query's vector, and those of their windows: the mean cosine of the window's
        rows, nearer ones counting more."""
        near = self._known().near[rows]  # (rows, 2 * WINDOW), -1 where there is no neighbour
        wanted = np.zeros(self._count, np.bool_)
        wanted[rows] = wanted[near[near >= 0]] = True
        needed = np.flatnonzero(wanted)
        cosines = np.zeros(self._count + 1)  # the last one stands for a neighbour that is not there
        for partition in (self.statements, self.others):
            present = needed[partition.holds(needed)]
            if len(present):
                cosines[present] = partition.cosines(vector, present)
        weights = np.where(near >= 0, _FADED, 0.0)
        text = cosines[rows]
        return text, (text + (cosines[near] * weights).sum(axis=1)) / (1 + weights.sum(axis=1))

    def passage(self, row: int, vector: Vectors, query: Sequence[str]) -> str | None:
        """Return the passage of a row's text that answers a query, given as its vector and its terms; `None` where the
        text is but one."""
        partition = self.statements if self.statements.has(row) else self.others
        cosines = partition.cosines_of_passages(vector, row)
        if len(cosines) == 1:
            return None
        texts = passages(self.record(row).text)
        shares = [len(set(query) & set(terms(text))) / max(len(query), 1) for text in texts]
        return texts[int(np.argmax(cosines + SHARED * np.array(shares)))]

    def spoken_by_those_named(self, query: Sequence[str]) -> Scores:
        """Return 1 for every row whose speaker the query's terms name, 0 for the others."""
        named = np.zeros(self._count)
        words = frozenset(query)
        for name, rows in self._speakers.values():
            if name and name <= words:
                named[list(rows)] = 1.0
        return named

    @property
    def needs_rebuild(self) -> bool:
        """Return whether so much was removed that a new index would be much smaller."""
        return self._count > 2 * len(self) + 1000

    def rows_of(self, seqs: Iterable[int]) -> Rows:
        """Return the rows of those `seqs` that are there, ascending."""
        return np.array(sorted(self._rows[seq] for seq in seqs if seq in self._rows), np.int64)

    def record(self, row: int) -> Record:
        """Return a row's record."""
        return self.records[int(self._table[row]["seq"])]

    def questions(self, rows: Rows) -> Mask:
        """Return which of the rows are mere questions, none of them pinned."""
        questions: Mask = self._table["question"][rows]
        return questions & ~np.isin(rows, list(self.pinned)) if self.pinned else questions

    def age(self, rows: Rows) -> tuple[NDArray[np.int64], Scores]:
        """Return keys that sort rows newest first, the last one counting most, as `np.lexsort` takes them."""
        return -self._table["seq"][rows], -self._table["created"][rows]

    def close(self) -> None:
        """Free the memory of vectors and records."""
        self.statements.vectors.close()
        self.others.vectors.close()
        self.records.clear()

    def _add(self, rows: Sequence[Row]) -> Rows:
        """Add rows to everything but the partitions, and return their numbers."""
        first, self._count = self._count, self._count + len(rows)
        if self._count > len(self._table):
            self._table = np.concatenate([self._table, np.zeros(self._count, _ROW)])
        numbers, entries = np.arange(first, self._count), self._table[first : self._count]
        records = [row.record for row in rows]
        entries["alive"], entries["near"] = True, -1
        entries["seq"] = [row.seq for row in rows]
        entries["created"] = [record.created.timestamp() for record in records]
        entries["question"] = [record.kind == "question" for record in records]
        # A record without a session is one by itself, under a name that no session has.
        entries["session"] = [
            self._numbers.setdefault(row.record.session or f"\0{row.seq}", len(self._numbers)) for row in rows
        ]
        entries["length"] = self._words.add(numbers, [_searched(record) for record in records])
        entries["days"] = self._days.add(numbers, [_day(record.created.date()) for record in records])
        for number, row in enumerate(rows, first):
            self.records[row.seq], self._rows[row.seq] = row.record, number
            if row.record.speaker is not None:
                if row.record.speaker not in self._speakers:
                    self._speakers[row.record.speaker] = frozenset(terms(row.record.speaker)), set()
                self._speakers[row.record.speaker][1].add(number)
            if row.record.pinned:
                self.pinned.add(number)
        self._add_to_sessions(rows, first)
        self._statistics = None
        return numbers

    def _add_to_sessions(self, rows: Sequence[Row], first: int) -> None:
        """Insert rows, numbered from `first`, into their sessions in the order of the turns."""
        added: dict[str, list[_Entry]] = {}
        for number, row in enumerate(rows, first):
            if row.record.session is not None and row.record.turn is not None:
                entry = row.record.turn, row.seq, number
                insort(self._sessions.setdefault(row.record.session, []), entry)
                added.setdefault(row.record.session, []).append(entry)
        for session, entries in added.items():
            turns = self._sessions[session]
            first_place, last_place = bisect_left(turns, min(entries)), bisect_left(turns, max(entries))
            self._update_windows(turns, first_place - WINDOW, last_place + WINDOW + 1)

    def _drop(self, seq: int) -> None:
        """Remove a row from everything but its partition; its terms stay in the postings, where it counts as dead."""
        record, number = self.records.pop(seq), self._rows.pop(seq)
        self._table[number]["alive"] = False
        if record.session is not None and record.turn is not None:
            turns = self._sessions[record.session]
            at = bisect_left(turns, (record.turn, seq, number))
            del turns[at]
            self._update_windows(turns, at - WINDOW, at + WINDOW)
            if not turns:
                del self._sessions[record.session]
        if record.speaker is not None:
            self._speakers[record.speaker][1].discard(number)
        self.pinned.discard(number)
        self._statistics = None

    def _update_windows(self, turns: Sequence[_Entry], start: int, stop: int) -> None:
        """Store the present neighbours of the rows at the places `start` to `stop` of a session."""
        start, stop = max(start, 0), min(stop, len(turns))
        if start >= stop:
            return
        row_at = np.full(len(turns) + 2 * WINDOW, -1, np.int32)  # nobody before the first or after the last
        first, last = max(start - WINDOW, 0), min(stop + WINDOW, len(turns))
        row_at[first + WINDOW : last + WINDOW] = [row for _, _, row in turns[first:last]]
        windows = sliding_window_view(row_at, 2 * WINDOW + 1)[start:stop]  # (stop - start, 2 * WINDOW + 1)
        self._table["near"][windows[:, WINDOW]] = np.delete(windows, WINDOW, axis=1)

    def _known(self) -> _Statistics:
        """Return the statistics of all rows as they are now."""
        if self._statistics is None:
            table = self._table[: self._count]
            lengths = np.where(table["alive"], table["length"], 0)
            near = np.ascontiguousarray(table["near"])  # (rows, 2 * WINDOW)
            windows = lengths + np.where(near >= 0, lengths[near], 0).sum(axis=1)  # (rows,)
            self._statistics = _Statistics(
                alive=table["alive"].copy(),
                near=near,
                session=table["session"].copy(),
                texts=_Texts(lengths),
                windows=_Texts(np.where(table["alive"], windows, 0)),
                sessions=_Texts(np.bincount(table["session"], lengths)),
                days=_Texts(np.where(table["alive"], table["days"], 0)),
            )
        return self._statistics

    @staticmethod
    def _holding(postings: Postings, term: str, alive: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows alive that hold the term, and how often each does."""
        rows, counts = postings.of(term)
        there = alive[rows]
        return rows[there], counts[there]

    def _windowed(self, rows: NDArray[np.int32], counts: NDArray[np.int32]) -> Counts:
        """Count a term in each row's window, given the rows that hold it.

        To be a neighbour is mutual, so each of these rows adds its count to its own neighbours' windows.
        """
        near = self._known().near[rows]  # (rows, 2 * WINDOW)
        there = near >= 0
        theirs = np.broadcast_to(counts[:, np.newaxis], near.shape)[there]
        return np.bincount(np.concatenate([rows, near[there]]), np.concatenate([counts, theirs]))


def is_statement(kind: Kind) -> bool:
    """Return whether records of this kind stand on the partition that is read first."""
    return kind == "statement"


def _searched(record: Record) -> str:
    """Return the text whose words find a record: speaker, document and place besides its own."""
    return " ".join(part for part in (record.speaker, record.document, record.place, record.text) if part)


def _nonzero(counts: Counts) -> tuple[NDArray[np.int64], Counts]:
    """Return the places of counts other than zero, and those counts."""
    places = np.flatnonzero(counts)
    return places, counts[places]


@lru_cache(maxsize=10_000)
def _day(day: date) -> str:
    """Return a day in the words that a question may name it by."""
    return f"{day.day} {day:%B %Y %A}"
