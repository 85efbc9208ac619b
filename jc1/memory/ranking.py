"""The order in which an owner's records are recalled: two lists fused, statements first, then neighbouring turns.

Knows how candidates become receipts. Knows nothing about how they are found, embedded or stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from jc1.embedding.base import Vectors
from jc1.memory.base import Receipt, Retrieval
from jc1.memory.index import Hit, OwnerIndex, Shelf, is_statement

RRF_K = 10
"""The constant k of reciprocal rank fusion, score = sum over the lists of 1 / (k + rank): Cormack, Clarke and
Buettcher, SIGIR 2009. They chose 60, for long lists of documents. On the turns of conversations 10 recalls more: .747
against .70 of what is wanted within the first ten (LoCoMo, six lists)."""
DEPTH = 50
"""How far each list is read, where `k` does not ask for more."""


@dataclass(slots=True)
class _Candidate:
    seq: int
    score: float = 0.0
    dense: tuple[float, int] | None = None
    lexical: tuple[float, int] | None = None


@dataclass(slots=True)
class _Ranking:
    """What a search has brought together so far: hits and neighbours of one shelf."""

    hits: list[_Candidate] = field(default_factory=list)
    neighbours: list[tuple[_Candidate, str]] = field(default_factory=list)


def fuse(lists: Sequence[Sequence[int]], k: int = RRF_K) -> dict[int, float]:
    """The fused score of every row in `lists`, each of which is best first.

    >>> fuse([[7, 3], [3]], k=1) == {7: 1 / 2, 3: 1 / 3 + 1 / 2}
    True
    """
    scores: dict[int, float] = {}
    for ranked in lists:
        for rank, seq in enumerate(ranked, start=1):
            scores[seq] = scores.get(seq, 0.0) + 1 / (k + rank)
    return scores


def search(
    index: OwnerIndex, vector: Vectors, words: str, retrieval: Retrieval, *, excluded: AbstractSet[int] = frozenset()
) -> tuple[Receipt, ...]:
    """The `retrieval.k` best rows for a query, given as its vector, shape (dimension,), and its words; then neighbours.

    Every statement stands before every question and reply, however well those match. An owner with fewer than k
    records gets all of them, ranked. Rows in `excluded` are neither found nor widened to.
    """
    statements, others = _Ranking(), _Ranking()
    known: dict[int, _Candidate] = {}
    for ranking, shelf in ((statements, index.statements), (others, index.others)):
        room = retrieval.k - len(statements.hits)
        if room > 0:
            candidates = _candidates(index, shelf, vector, words, max(DEPTH, retrieval.k), excluded)
            known.update((candidate.seq, candidate) for candidate in candidates)
            ranking.hits = candidates[:room]
    if retrieval.window:
        _widen(index, statements, others, known, retrieval.window, excluded)
    receipts: list[Receipt] = []
    for ranking in (statements, others):
        for candidate, source in [*((hit, None) for hit in ranking.hits), *ranking.neighbours]:
            receipts.append(_receipt(index, candidate, len(receipts) + 1, source))
    return tuple(receipts)


def _candidates(
    index: OwnerIndex, shelf: Shelf, vector: Vectors, words: str, depth: int, excluded: AbstractSet[int]
) -> list[_Candidate]:
    """The rows of a shelf that either list holds, best first; among equals the newer is first."""
    reach = depth + len(excluded)
    dense = _without(shelf.nearest(vector, reach), excluded)[:depth]
    lexical = _without(shelf.matching(words, reach), excluded)[:depth]
    found = {
        seq: _Candidate(seq, score)
        for seq, score in fuse([[seq for seq, _ in dense], [seq for seq, _ in lexical]]).items()
    }
    for rank, (seq, score) in enumerate(dense, start=1):
        found[seq].dense = (score, rank)
    for rank, (seq, score) in enumerate(lexical, start=1):
        found[seq].lexical = (score, rank)
    return sorted(found.values(), key=lambda c: (c.score, index.records[c.seq].created, c.seq), reverse=True)


def _without(hits: list[Hit], excluded: AbstractSet[int]) -> list[Hit]:
    return [hit for hit in hits if hit[0] not in excluded] if excluded else hits


def _widen(
    index: OwnerIndex,
    statements: _Ranking,
    others: _Ranking,
    known: dict[int, _Candidate],
    window: int,
    excluded: AbstractSet[int],
) -> None:
    """Add what was said within `window` turns of each hit in its session, best hit first."""
    hits = [*statements.hits, *others.hits]
    seen = {hit.seq for hit in hits} | excluded
    for hit in hits:
        record = index.records[hit.seq]
        if record.session is None or record.turn is None:
            continue
        for seq in index.in_session(record.session, range(record.turn - window, record.turn + window + 1)):
            if seq not in seen:
                seen.add(seq)
                ranking = statements if is_statement(index.records[seq].kind) else others
                ranking.neighbours.append((known.get(seq) or _Candidate(seq), record.id))


def _receipt(index: OwnerIndex, candidate: _Candidate, rank: int, widened_from: str | None) -> Receipt:
    dense_score, dense_rank = candidate.dense or (None, None)
    lexical_score, lexical_rank = candidate.lexical or (None, None)
    return Receipt(
        record=index.records[candidate.seq],
        rank=rank,
        score=candidate.score,
        dense_score=dense_score,
        dense_rank=dense_rank,
        lexical_score=lexical_score,
        lexical_rank=lexical_rank,
        widened_from=widened_from,
    )
