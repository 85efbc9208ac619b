"""The order in which an owner's records are recalled: what speaks for each, weighed and added.

Knows what the signals are worth and how candidates become receipts. Knows nothing about how they are found, embedded or
stored.

Each signal is first made comparable: a record gets its z-score, how many standard deviations it lies above the mean of
its partition. Ranks, which reciprocal rank fusion takes, forget by how much one record is better than the next, and
they recalled less of the turns of conversations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from jc1.embedding.base import Vectors
from jc1.errors import InvalidRequest
from jc1.memory.base import Receipt, Retrieval
from jc1.memory.index.index import Bm25, OwnerIndex, Scores
from jc1.memory.index.partition import Partition
from jc1.memory.index.vectors import Rows
from jc1.memory.index.words import terms

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "dense": 1.0,
        "dense_window": 0.75,
        "bm25": 0.5,
        "bm25_window": 1.0,
        "bm25_session": 0.5,
        "date": 1.0,
        "speaker": 1.5,
    }
)
"""Points for a standard deviation of each signal, and for a speaker whom the query names. Round numbers, chosen by
hand on one half of LoCoMo; docs/memory.md says what each is good for."""
DEPTH = 500
"""Candidates that vectors and words each bring, where `k` does not ask for more."""
MAX_TERMS = 64
"""Most different terms of a query that are searched for."""


@dataclass(frozen=True, slots=True)
class _Query:
    """A query as the signals take it, their weights, and the rows that must not be found."""

    vector: Vectors
    terms: Sequence[str]
    bm25: Bm25
    speakers: Scores
    weights: Mapping[str, float]
    excluded: Rows
    questions: bool


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The candidates of a partition, best first; among equals the newer is first. All arrays have one entry each."""

    rows: Rows
    scores: Scores
    parts: Mapping[str, Scores]
    """Each signal's share of the score."""
    cosines: Scores
    bm25: Scores

    def place(self, row: int) -> int | None:
        """Return the place of a row, from 0; `None` where it is no candidate."""
        places = np.flatnonzero(self.rows == row)
        return int(places[0]) if len(places) else None


def search(
    index: OwnerIndex,
    vector: Vectors,
    query: str,
    words: str,
    retrieval: Retrieval,
    *,
    excluded: AbstractSet[int] = frozenset(),
) -> tuple[Receipt, ...]:
    """Return receipts of the `retrieval.k` best records for a query, then of their neighbours.

    Pinned records stand first, all of them; then every statement stands before any question or reply, however well
    those match. An owner with fewer than k records gets all of them, ranked, without questions where those are left
    out. Records in `excluded` are neither found nor widened to.

    Args:
        index: the owner's records.
        vector: the query's embedding, shape (dimension,).
        query: its text, in which speakers are looked for.
        words: those of its words that are searched for.
        retrieval: how many records, which window, and weights other than the usual ones.
        excluded: row numbers of the database.

    Raises:
        InvalidRequest: for a weight of no signal.
    """
    if unknown := sorted(retrieval.weights.keys() - WEIGHTS.keys()):
        raise InvalidRequest(f"There is no signal {unknown[0]!r} to weigh: use {', '.join(WEIGHTS)}.", param="weights")
    searched = list(dict.fromkeys(terms(words)))[:MAX_TERMS]
    request = _Query(
        vector,
        searched,
        index.bm25(searched),
        index.spoken_by_those_named(terms(query)),
        {**WEIGHTS, **retrieval.weights},
        index.rows_of(excluded),
        retrieval.questions,
    )
    # 2) The statements ranked, and the others where there are too few of these or any record is pinned
    depth = max(DEPTH, retrieval.k)
    ranked = [_rank(index, index.statements, request, depth)]
    if len(ranked[0].rows) < retrieval.k or index.pinned:
        ranked.append(_rank(index, index.others, request, depth))
    # 3) The k best, pinned ones first
    rows = [row for partition in ranked for row in partition.rows.tolist()]
    pinned = [row for row in rows if row in index.pinned] if index.pinned else []
    hits = pinned + [row for row in rows if row not in index.pinned][: max(retrieval.k - len(pinned), 0)]
    results: list[tuple[int, int | None]] = [(row, None) for row in hits]
    # 4) What stands beside them
    if retrieval.window:
        results += _neighbours(index, hits, retrieval.window, excluded)
        results.sort(key=lambda entry: (entry[0] not in index.pinned, not index.statements.has(entry[0])))
    return tuple(
        replace(_receipt(index, ranked, row, rank, source), passage=index.passage(row, request.vector, request.terms))
        for rank, (row, source) in enumerate(results, start=1)
    )


def _rank(index: OwnerIndex, partition: Partition, request: _Query, depth: int) -> _Ranked:
    """Rank the candidates of a partition: those that vectors or words bring, and the pinned; all rows where few."""
    # 1) Signals that are known for every row at once
    members = partition.all()  # (members,)
    lexical = {
        "bm25": request.bm25.text,
        "bm25_window": request.bm25.window,
        "bm25_session": request.bm25.session,
        "date": request.bm25.date,
    }
    weights = request.weights
    weighed = {name: weights[name] * _z(scores[members], scores[members]) for name, scores in lexical.items()}
    weighed["speaker"] = weights["speaker"] * request.speakers[members]
    # 2) Candidates, as places in `members`
    chosen = np.arange(len(members))
    if len(members) > depth:
        by_words = np.argpartition(-sum(weighed.values(), np.zeros(len(members))), depth)[:depth]
        nearest = partition.nearest(request.vector, depth)
        pinned = np.array([row for row in index.pinned if partition.has(row)], np.int64)
        chosen = np.union1d(by_words, np.searchsorted(members, np.concatenate([nearest, pinned])))
    chosen = chosen[~np.isin(members[chosen], request.excluded)]
    if not request.questions:
        chosen = chosen[~index.questions(members[chosen])]
    # 3) Cosines of the candidates alone; their mean and deviation are estimated from a sample of the partition
    rows, sample = members[chosen], partition.sample()
    text, window = index.cosines(request.vector, np.concatenate([rows, sample]))  # (rows + sample,) each
    parts = {
        "dense": weights["dense"] * _z(text[: len(rows)], text[len(rows) :]),
        "dense_window": weights["dense_window"] * _z(window[: len(rows)], window[len(rows) :]),
        **{name: scores[chosen] for name, scores in weighed.items()},
    }
    # 4) The sum, best first, among equals the newer. Rounded, since equal vectors need not have equal cosines to the
    # last bit.
    scores = np.round(sum(parts.values(), np.zeros(len(rows))), 6)
    order = np.lexsort((*index.age(rows), -scores))
    return _Ranked(
        rows=rows[order],
        scores=scores[order],
        parts={name: part[order] for name, part in parts.items()},
        cosines=text[: len(rows)][order],
        bm25=request.bm25.text[rows[order]],
    )


def _z(scores: Scores, sample: Scores) -> Scores:
    """Return the z-scores of `scores`: standard deviations above the mean of `sample`; 0 where that does not vary."""
    spread = float(sample.std()) if len(sample) else 0.0
    return (scores - sample.mean()) / spread if spread > 1e-9 else np.zeros(len(scores))


def _neighbours(
    index: OwnerIndex, hits: Sequence[int], window: int, excluded: AbstractSet[int]
) -> list[tuple[int, int | None]]:
    """Return the rows within `window` turns of each hit in its session, best hit first, each with its hit."""
    seen = {*hits, *index.rows_of(excluded).tolist()}
    neighbours: list[tuple[int, int | None]] = []
    for hit in hits:
        record = index.record(hit)
        if record.session is None or record.turn is None:
            continue
        for seq in index.in_session(record.session, range(record.turn - window, record.turn + window + 1)):
            (row,) = index.rows_of([seq]).tolist()
            if row not in seen:
                seen.add(row)
                neighbours.append((row, hit))
    return neighbours


def _receipt(index: OwnerIndex, ranked: Sequence[_Ranked], row: int, rank: int, expanded_from: int | None) -> Receipt:
    """Return the receipt of a row, with its scores where it was a candidate."""
    receipt = Receipt(
        record=index.record(row),
        rank=rank,
        score=0.0,
        expanded_from=None if expanded_from is None else index.record(expanded_from).id,
    )
    for partition in ranked:
        place = partition.place(row)
        if place is not None:
            bm25 = float(partition.bm25[place])
            return replace(
                receipt,
                score=float(partition.scores[place]),
                parts={name: float(part[place]) for name, part in partition.parts.items()},
                dense_score=float(partition.cosines[place]),
                dense_rank=1 + int(np.count_nonzero(partition.cosines > partition.cosines[place])),
                lexical_score=bm25 or None,
                lexical_rank=1 + int(np.count_nonzero(partition.bm25 > bm25)) if bm25 else None,
            )
    return receipt
