"""One owner's index: found by vector, found by words, put in and taken out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.memory.base import Kind, Record
from jc1.memory.index import OwnerIndex, Row


def row(seq: int, text: str, angle: float = 0.0, kind: Kind = "statement", turn: int | None = None) -> Row:
    session = None if turn is None else "s"
    record = Record(f"r{seq}", "ann", text, "user", kind, datetime(2026, 1, 1, tzinfo=UTC), session, turn)
    return Row(seq, record, np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))


NORTH = np.array([1.0, 0.0], dtype=np.float32)


@pytest.fixture
def index() -> Iterator[OwnerIndex]:
    made = OwnerIndex(2)
    yield made
    made.close()


def test_the_nearest_come_first_with_their_cosine(index: OwnerIndex) -> None:
    index.put([row(1, "a", 1.0), row(2, "b", 0.1), row(3, "c", 2.0)])
    assert index.statements.nearest(NORTH, 2) == [
        (2, pytest.approx(np.cos(0.1))),
        (1, pytest.approx(np.cos(1.0))),
    ]


def test_words_are_found_in_any_form_and_the_rarer_word_counts_more(index: OwnerIndex) -> None:
    index.put([row(n, "the cats sat") for n in range(1, 9)] + [row(9, "a sleeping walrus"), row(10, "Café au lait")])
    assert index.statements.matching("my cat sleeps", 3)[0][0] == 9
    assert [seq for seq, _ in index.statements.matching("cafe", 3)] == [10]
    assert index.statements.matching("elephant", 3) == []


def test_scores_by_words_are_higher_where_the_match_is_better(index: OwnerIndex) -> None:
    index.put([row(1, "walrus"), row(2, "walrus and penguin"), row(3, "a"), row(4, "b"), row(5, "c")])
    (first, best), (second, next_best) = index.statements.matching("walrus penguin", 5)
    assert (first, second) == (2, 1)
    assert best > next_best > 0


def test_an_empty_index_finds_nothing(index: OwnerIndex) -> None:
    assert index.statements.nearest(NORTH, 5) == []
    assert index.statements.matching("cat", 5) == []


def test_a_removed_row_is_found_no_more_and_the_others_keep_their_numbers(index: OwnerIndex) -> None:
    index.put([row(n, f"cat {n}", n / 10) for n in range(1, 6)])
    index.remove([2, 4, 99])
    assert len(index) == 3
    assert [seq for seq, _ in index.statements.nearest(NORTH, 9)] == [1, 3, 5]
    assert {seq for seq, _ in index.statements.matching("cat", 9)} == {1, 3, 5}


def test_a_row_put_again_replaces_the_first(index: OwnerIndex) -> None:
    index.put([row(1, "cat", 0.0)])
    index.put([row(1, "dog", 1.0, kind="question")])
    assert len(index) == 1
    assert index.statements.nearest(NORTH, 9) == []
    assert [seq for seq, _ in index.others.matching("dog", 9)] == [1]
    assert index.others.matching("cat", 9) == []


def test_a_sessions_turns_are_listed_in_order(index: OwnerIndex) -> None:
    index.put([row(seq, "x", turn=turn) for seq, turn in ((5, 1), (4, 2), (3, 3), (2, 4))] + [row(9, "x")])
    assert index.in_session("s", range(2, 9)) == [4, 3, 2]
    assert index.in_session("s", {1, 4}) == [5, 2]
    index.remove([5, 4, 3, 2])
    assert index.in_session("s", range(9)) == []


@pytest.mark.parametrize(
    "query", ['"', "cat OR", "cat AND NOT", "text:cat", "cat*", "^cat", "NEAR(cat dog)", "(cat", "cat's", "{cat}", "“"]
)
def test_nothing_in_a_query_is_an_operator(index: OwnerIndex, query: str) -> None:
    index.put([row(1, "a cat"), row(2, "a dog's life")])
    assert {seq for seq, _ in index.statements.matching(query, 9)} <= {1, 2}


@given(st.text())
def test_every_text_can_be_asked_for(query: str) -> None:
    index = OwnerIndex(2)
    index.put([row(1, "a cat")])
    assert len(index.statements.matching(query, 9)) <= 1
    index.close()
