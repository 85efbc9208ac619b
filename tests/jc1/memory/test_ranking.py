"""The order of recall: fusion, tiers, neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from jc1.memory.base import Kind, Receipt, Record, Retrieval
from jc1.memory.index import OwnerIndex, Row
from jc1.memory.ranking import RRF_K, fuse, search

START = datetime(2026, 1, 1, tzinfo=UTC)
NORTH = np.array([1.0, 0.0], dtype=np.float32)


def row(seq: int, text: str, angle: float = 0.0, kind: Kind = "statement", turn: int | None = None) -> Row:
    session = None if turn is None else "s"
    record = Record(f"r{seq}", "ann", text, "user", kind, START + timedelta(minutes=seq), session, turn)
    return Row(seq, record, np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))


@pytest.fixture
def index() -> Iterator[OwnerIndex]:
    made = OwnerIndex(2)
    yield made
    made.close()


def ids(receipts: tuple[Receipt, ...]) -> list[str]:
    return [receipt.record.id for receipt in receipts]


def test_fusion_adds_up_reciprocal_ranks() -> None:
    assert fuse([[7, 3], [3]]) == pytest.approx({7: 1 / (RRF_K + 1), 3: 1 / (RRF_K + 2) + 1 / (RRF_K + 1)})


def test_a_record_that_both_lists_hold_outranks_one_that_leads_a_single_list(index: OwnerIndex) -> None:
    index.put([row(1, "nothing alike", 0.0), row(2, "a walrus", 0.1), *(row(n, "other", 1.0) for n in range(3, 9))])
    first, second = search(index, NORTH, "walrus", Retrieval(k=2))
    assert (first.record.id, first.dense_rank, first.lexical_rank) == ("r2", 2, 1)
    assert (second.record.id, second.dense_rank, second.lexical_rank) == ("r1", 1, None)
    assert first.score == pytest.approx(1 / (RRF_K + 2) + 1 / (RRF_K + 1))
    assert second.lexical_score is None
    assert first.dense_score == pytest.approx(np.cos(0.1))
    assert [first.rank, second.rank] == [1, 2]


def test_no_question_or_reply_outranks_a_statement(index: OwnerIndex) -> None:
    index.put(
        [
            row(1, "walrus", 0.0, "question"),
            row(2, "walrus", 0.0, "reply"),
            row(3, "something else", 3.0),
            row(4, "the walrus", 0.5),
        ]
    )
    assert ids(search(index, NORTH, "walrus", Retrieval(k=4)))[:2] == ["r4", "r3"]
    assert set(ids(search(index, NORTH, "walrus", Retrieval(k=4)))[2:]) == {"r1", "r2"}
    assert ids(search(index, NORTH, "walrus", Retrieval(k=2))) == ["r4", "r3"]


@pytest.mark.parametrize("k", [5, 60, 100])
def test_an_owner_with_fewer_than_k_records_gets_all_of_them(index: OwnerIndex, k: int) -> None:
    index.put([row(n, "text", n / 50, "statement" if n % 2 else "reply") for n in range(1, k + 1)])
    found = search(index, NORTH, "nothing", Retrieval(k=k))
    assert len(set(ids(found))) == k
    assert [receipt.rank for receipt in found] == list(range(1, k + 1))


def test_among_equals_the_newer_is_first(index: OwnerIndex) -> None:
    # By meaning they are first and second, by words second and first.
    index.put([row(1, "walrus and others", 0.0), row(2, "walrus", 0.1)])
    first, second = search(index, NORTH, "walrus", Retrieval(k=2))
    assert first.score == second.score
    assert [first.record.id, second.record.id] == ["r2", "r1"]


def test_excluded_rows_make_room_for_others(index: OwnerIndex) -> None:
    index.put([row(n, "walrus", n / 100, turn=n) for n in range(1, 101)])
    found = search(index, NORTH, "walrus", Retrieval(k=5, window=2), excluded=set(range(1, 91)))
    assert set(ids(found)) == {f"r{n}" for n in range(91, 98)}


def test_neighbouring_turns_come_after_the_hits_and_name_the_one_they_came_with(index: OwnerIndex) -> None:
    index.put([row(n, "walrus" if n == 5 else "other", abs(n - 5) / 2, turn=n) for n in range(1, 9)])
    found = search(index, NORTH, "walrus", Retrieval(k=1, window=1))
    assert [(r.record.id, r.widened_from, r.rank) for r in found] == [("r5", None, 1), ("r4", "r5", 2), ("r6", "r5", 3)]


def test_a_neighbour_that_was_a_hit_itself_comes_once(index: OwnerIndex) -> None:
    index.put([row(n, "walrus", n / 10, turn=n) for n in range(1, 4)])
    found = search(index, NORTH, "walrus", Retrieval(k=3, window=2))
    assert sorted(ids(found)) == ["r1", "r2", "r3"]
    assert [r.widened_from for r in found] == [None, None, None]


def test_a_neighbouring_reply_stands_after_every_statement(index: OwnerIndex) -> None:
    index.put(
        [
            row(1, "walrus", 0.0, turn=1),
            row(2, "a reply", 0.0, "reply", turn=1),
            row(3, "far away", 2.0),
            row(4, "before", 1.0, turn=0),
        ]
    )
    found = search(index, NORTH, "walrus", Retrieval(k=1, window=1))
    assert [(r.record.id, r.widened_from) for r in found] == [("r1", None), ("r4", "r1"), ("r2", "r1")]
    assert ids(search(index, NORTH, "walrus", Retrieval(k=3, window=1)))[-1] == "r2"
