"""The order of recall: signals, tiers, pins, neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from jc1.errors import InvalidRequest
from jc1.memory.base import Kind, Receipt, Record, Retrieval
from jc1.memory.index import ranking
from jc1.memory.index.index import OwnerIndex, Row
from jc1.memory.index.ranking import WEIGHTS
from jc1.memory.index.vectors import FaissVectors
from tests.jc1.memory.index.test_index import Given, put

START = datetime(2026, 1, 1, tzinfo=UTC)
NORTH = np.array([1.0, 0.0], dtype=np.float32)


def row(seq: int, text: str, angle: float = 0.0, kind: Kind = "statement", turn: int | None = None) -> Given:
    session = None if turn is None else "s"
    record = Record(f"r{seq}", "ann", text, "user", kind, START + timedelta(minutes=seq), session, turn)
    return Row(seq, record), np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def changed(given: Given, **fields: Any) -> Given:
    made, vector = given
    return replace(made, record=replace(made.record, **fields)), vector


@pytest.fixture
def index() -> Iterator[OwnerIndex]:
    made = OwnerIndex(lambda _: FaissVectors(2))
    yield made
    made.close()


def search(
    index: OwnerIndex, query: str, retrieval: Retrieval, excluded: frozenset[int] = frozenset()
) -> tuple[Receipt, ...]:
    return ranking.search(index, NORTH, query, query, retrieval, excluded=excluded)


def ids(receipts: tuple[Receipt, ...]) -> list[str]:
    return [receipt.record.id for receipt in receipts]


def test_a_record_that_meaning_and_words_bring_outranks_one_that_leads_by_one_of_them(index: OwnerIndex) -> None:
    put(index, [row(1, "nothing alike", 0.0), row(2, "a walrus", 0.1), *(row(n, "other", 1.0) for n in range(3, 9))])
    first, second = search(index, "walrus", Retrieval(k=2))
    assert (first.record.id, first.dense_rank, first.lexical_rank) == ("r2", 2, 1)
    assert (second.record.id, second.dense_rank, second.lexical_rank) == ("r1", 1, None)
    assert second.lexical_score is None
    assert first.dense_score == pytest.approx(np.cos(0.1))
    assert [first.rank, second.rank] == [1, 2]


def test_the_parts_of_a_receipt_add_up_to_its_score(index: OwnerIndex) -> None:
    put(index, [changed(row(n, "walrus " * (n % 3), n / 9, turn=n), speaker="Bo" if n % 2 else "Al") for n in range(9)])
    for receipt in search(index, "Did Bo see the walrus on Thursday?", Retrieval(k=9)):
        assert receipt.parts.keys() == WEIGHTS.keys()
        assert receipt.score == pytest.approx(sum(receipt.parts.values()), abs=1e-5)


def test_a_weight_of_the_retrieval_stands_in_for_the_common_one(index: OwnerIndex) -> None:
    put(index, [row(1, "walrus", 1.5), row(2, "other", 0.0), row(3, "third", 0.8)])
    off = dict.fromkeys(WEIGHTS, 0.0)
    assert ids(search(index, "walrus", Retrieval(k=1, weights={**off, "bm25": 1.0}))) == ["r1"]
    assert ids(search(index, "walrus", Retrieval(k=1, weights={**off, "dense": 1.0}))) == ["r2"]


def test_a_weight_of_no_signal_is_refused_with_the_signals(index: OwnerIndex) -> None:
    with pytest.raises(InvalidRequest, match=r"'luck'.*dense, dense_window"):
        search(index, "walrus", Retrieval(weights={"luck": 1.0}))


def test_the_turns_of_whom_the_query_names_stand_higher(index: OwnerIndex) -> None:
    put(index, [changed(row(n, "the same", turn=n), speaker="Bo" if n == 2 else "Al") for n in range(1, 5)])
    assert ids(search(index, "What did Bo say?", Retrieval(k=1))) == ["r2"]


def test_no_question_or_reply_outranks_a_statement(index: OwnerIndex) -> None:
    put(
        index,
        [
            row(1, "walrus", 0.0, "question"),
            row(2, "walrus", 0.0, "reply"),
            row(3, "something else", 3.0),
            row(4, "the walrus", 0.5),
        ],
    )
    with_questions = Retrieval(k=4, questions=True)
    assert ids(search(index, "walrus", with_questions))[:2] == ["r4", "r3"]
    assert set(ids(search(index, "walrus", with_questions))[2:]) == {"r1", "r2"}
    assert ids(search(index, "walrus", Retrieval(k=2))) == ["r4", "r3"]


def test_a_question_is_left_out_unless_asked_for_or_pinned(index: OwnerIndex) -> None:
    pinned = changed(row(3, "walrus", 0.0, "question"), pinned=True)
    put(index, [row(1, "walrus", 0.0, "question"), row(2, "walrus", 0.0, "reply"), pinned])
    assert ids(search(index, "walrus", Retrieval(k=4))) == ["r3", "r2"]
    assert set(ids(search(index, "walrus", Retrieval(k=4, questions=True)))) == {"r1", "r2", "r3"}


@pytest.mark.parametrize("k", [5, 60, 100])
def test_an_owner_with_fewer_than_k_records_gets_all_of_them(index: OwnerIndex, k: int) -> None:
    put(index, [row(n, "text", n / 50, "statement" if n % 2 else "reply") for n in range(1, k + 1)])
    found = search(index, "nothing", Retrieval(k=k))
    assert len(set(ids(found))) == k
    assert [receipt.rank for receipt in found] == list(range(1, k + 1))


def test_among_equals_the_newer_is_first(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus", 0.3) for n in range(1, 40)])
    found = search(index, "walrus", Retrieval(k=3))
    assert ids(found) == ["r39", "r38", "r37"]
    assert len({receipt.score for receipt in found}) == 1


def test_pinned_records_are_always_found_and_stand_first(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus", n / 100) for n in range(1, 30)])
    put(
        index, [changed(row(90, "unrelated", 3.0), pinned=True), changed(row(91, "so am I", 3.1, "reply"), pinned=True)]
    )
    assert ids(search(index, "walrus", Retrieval(k=4)))[:2] == ["r90", "r91"]
    assert len(search(index, "walrus", Retrieval(k=4))) == 4
    assert set(ids(search(index, "walrus", Retrieval(k=1)))) == {"r90", "r91"}


def test_beyond_the_candidates_depth_the_best_by_meaning_words_and_pin_are_found(
    index: OwnerIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "DEPTH", 5)
    put(index, [row(n, f"other {n}", 1 + n / 1000) for n in range(1, 300)])
    put(index, [row(900, "the walrus", 3.0), row(901, "near", 0.0), changed(row(902, "pin", 3.1), pinned=True)])
    assert ids(search(index, "walrus", Retrieval(k=3)))[0] == "r902"
    assert set(ids(search(index, "walrus", Retrieval(k=3)))) == {"r900", "r901", "r902"}


def test_excluded_rows_make_room_for_others(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus", n / 100, turn=n) for n in range(1, 101)])
    found = search(index, "walrus", Retrieval(k=5, window=2), excluded=frozenset(range(1, 91)))
    assert len(found) >= 5
    assert set(ids(found)) <= {f"r{n}" for n in range(91, 101)}


def test_neighbouring_turns_come_after_the_hits_and_name_the_one_they_came_with(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus" if n == 5 else "other", abs(n - 5) / 2, turn=n) for n in range(1, 9)])
    found = search(index, "walrus", Retrieval(k=1, window=1))
    assert [(r.record.id, r.expanded_from, r.rank) for r in found] == [
        ("r5", None, 1),
        ("r4", "r5", 2),
        ("r6", "r5", 3),
    ]


def test_a_neighbour_that_was_a_hit_itself_comes_once(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus", n / 10, turn=n) for n in range(1, 4)])
    found = search(index, "walrus", Retrieval(k=3, window=2))
    assert sorted(ids(found)) == ["r1", "r2", "r3"]
    assert [r.expanded_from for r in found] == [None, None, None]


def test_a_neighbouring_reply_stands_after_every_statement(index: OwnerIndex) -> None:
    put(
        index,
        [
            row(1, "walrus", 0.0, turn=1),
            row(2, "a reply", 0.0, "reply", turn=1),
            row(3, "far away", 2.0),
            row(4, "before", 1.0, turn=0),
        ],
    )
    found = search(index, "walrus", Retrieval(k=1, window=1))
    assert [(r.record.id, r.expanded_from) for r in found] == [("r1", None), ("r4", "r1"), ("r2", "r1")]
    assert ids(search(index, "walrus", Retrieval(k=3, window=1)))[-1] == "r2"
