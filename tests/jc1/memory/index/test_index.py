"""One owner's index: scored by words, alone and with what stands around, by meaning; put in and taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.embedding.base import Vectors
from jc1.memory.base import Kind, Record
from jc1.memory.index.index import OwnerIndex, Row, Scores
from jc1.memory.index.vectors import FaissVectors
from jc1.memory.index.words import terms

START = datetime(2026, 1, 1, tzinfo=UTC)
Given = tuple[Row, Vectors]


def row(
    seq: int,
    text: str,
    angle: float = 0.0,
    kind: Kind = "statement",
    turn: int | None = None,
    session: str = "s",
    speaker: str | None = None,
    days: int = 0,
) -> Given:
    record = Record(
        f"r{seq}",
        "ann",
        text,
        "user",
        kind,
        START + timedelta(days=days),
        None if turn is None else session,
        turn,
        speaker,
    )
    return Row(seq, record), np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)


def put(index: OwnerIndex, given: Sequence[Given]) -> None:
    index.put([row for row, _ in given], np.array([vector for _, vector in given], np.float32).reshape(-1, 2))


NORTH = np.array([1.0, 0.0], dtype=np.float32)


def new() -> OwnerIndex:
    return OwnerIndex(lambda _: FaissVectors(2))


@pytest.fixture
def index() -> Iterator[OwnerIndex]:
    made = new()
    yield made
    made.close()


def by_seq(index: OwnerIndex, scores: Scores) -> dict[int, float]:
    """The scores that are not 0."""
    return {seq: float(scores[index.rows_of([seq])[0]]) for seq in index.records if scores[index.rows_of([seq])[0]]}


def own(index: OwnerIndex, query: str) -> dict[int, float]:
    return by_seq(index, index.bm25(terms(query)).text)


def test_words_are_found_in_any_form_and_the_rarer_word_counts_more(index: OwnerIndex) -> None:
    put(index, [row(n, "the cats sat") for n in range(1, 9)] + [row(9, "a sleeping walrus"), row(10, "Café au lait")])
    found = own(index, "my cat sleeps")
    assert found.keys() == set(range(1, 10))
    assert max(found, key=lambda seq: found[seq]) == 9
    assert own(index, "cafe").keys() == {10}
    assert own(index, "elephant") == {}


def test_bm25_is_what_the_formula_says(index: OwnerIndex) -> None:
    put(index, [row(1, "walrus walrus fish"), row(2, "walrus"), row(3, "a b c d")])
    rarity = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    average = (3 + 1 + 4) / 3
    expected = {
        seq: rarity * often * 2.2 / (often + 1.2 * (0.25 + 0.75 * length / average))
        for seq, often, length in ((1, 2, 3), (2, 1, 1))
    }
    assert own(index, "walrus") == pytest.approx(expected)


def test_a_window_has_the_words_of_two_rows_either_side_in_its_session(index: OwnerIndex) -> None:
    put(index, [row(n, "walrus" if n == 4 else f"other {n}", turn=n) for n in range(1, 8)])
    put(index, [row(9, "walrus", turn=5, session="another")])
    assert by_seq(index, index.bm25(["walrus"]).window).keys() == {2, 3, 4, 5, 6, 9}


def test_a_new_turn_and_a_removed_one_change_the_windows_around_them(index: OwnerIndex) -> None:
    put(index, [row(n, "other", turn=n) for n in (1, 2, 4, 5)])
    assert by_seq(index, index.bm25(["walrus"]).window) == {}
    put(index, [row(9, "walrus", turn=3)])
    assert by_seq(index, index.bm25(["walrus"]).window).keys() == {1, 2, 4, 5, 9}
    index.remove([2, 4])
    assert by_seq(index, index.bm25(["walrus"]).window).keys() == {1, 5, 9}
    index.remove([9])
    assert by_seq(index, index.bm25(["walrus"]).window) == {}


def test_every_row_of_a_session_has_the_sessions_score(index: OwnerIndex) -> None:
    put(
        index, [row(n, "walrus" if n == 1 else "other", turn=n) for n in range(1, 9)] + [row(20, "alone"), row(21, "b")]
    )
    scores = by_seq(index, index.bm25(["walrus"]).session)
    assert scores.keys() == set(range(1, 9))
    assert len(set(scores.values())) == 1


def test_a_day_is_found_by_any_of_its_words(index: OwnerIndex) -> None:
    put(index, [row(1, "x", days=0), row(2, "y", days=31), row(3, "z", days=400)])
    assert by_seq(index, index.bm25(terms("in February")).date).keys() == {2, 3}
    assert by_seq(index, index.bm25(terms("2027")).date).keys() == {3}
    assert by_seq(index, index.bm25(terms("on a Thursday")).date).keys() == {1}


def test_the_cosine_of_a_window_is_the_faded_mean_of_its_rows(index: OwnerIndex) -> None:
    angles = [0.3, 1.2, 0.1, 2.0, 0.9]
    put(index, [row(n, "x", angle, "reply" if n % 2 else "statement", turn=n) for n, angle in enumerate(angles)])
    cosines = np.cos(angles)
    alone, window = index.cosines(NORTH, index.rows_of([0, 2]))
    assert alone.tolist() == pytest.approx([cosines[0], cosines[2]], abs=1e-6)
    first = (cosines[0] + cosines[1] / 2 + cosines[2] / 4) / 1.75
    middle = (cosines[2] + (cosines[1] + cosines[3]) / 2 + (cosines[0] + cosines[4]) / 4) / 2.5
    assert window.tolist() == pytest.approx([first, middle], abs=1e-6)


def test_rows_of_those_whom_a_query_names_are_told(index: OwnerIndex) -> None:
    put(index, [row(1, "x", speaker="Zoë"), row(2, "y", speaker="Mary Ann"), row(3, "z"), row(4, "v", speaker="zoe")])
    assert by_seq(index, index.spoken_by_those_named(terms("What did Zoe's cat do?"))).keys() == {1, 4}
    assert by_seq(index, index.spoken_by_those_named(terms("Ann and Mary?"))).keys() == {2}
    assert by_seq(index, index.spoken_by_those_named(terms("Ann?"))) == {}


def test_an_empty_index_has_no_scores(index: OwnerIndex) -> None:
    assert own(index, "cat") == {}
    assert index.cosines(NORTH, index.rows_of([]))[0].tolist() == []


def test_a_removed_row_leaves_no_trace_in_the_scores(index: OwnerIndex) -> None:
    kept = [row(n, f"cat {n}", n / 10, turn=n, speaker="Bo") for n in (1, 3, 5)]
    put(index, [*kept, row(2, "cat dog 2", turn=2, speaker="Al"), row(4, "a cat", turn=4)])
    index.remove([2, 4, 99])
    assert len(index) == 3
    other = new()
    put(other, kept)
    for query in ("cat", "dog", "1 January", "Al Bo"):
        for field in ("text", "window", "session", "date"):
            scores, expected = (getattr(i.bm25(terms(query)), field) for i in (index, other))
            assert by_seq(index, scores) == pytest.approx(by_seq(other, expected))
        assert by_seq(index, index.spoken_by_those_named(terms(query))) == by_seq(
            other, other.spoken_by_those_named(terms(query))
        )
    seqs = [1, 3, 5]
    for mine, theirs in zip(
        index.cosines(NORTH, index.rows_of(seqs)), other.cosines(NORTH, other.rows_of(seqs)), strict=True
    ):
        assert mine.tolist() == pytest.approx(theirs.tolist())


def test_a_row_put_again_replaces_the_first(index: OwnerIndex) -> None:
    put(index, [row(1, "cat", 0.0)])
    put(index, [row(1, "dog", 1.0, kind="question")])
    assert (len(index), len(index.statements.all()), len(index.others.all())) == (1, 0, 1)
    assert own(index, "dog").keys() == {1}
    assert own(index, "cat") == {}


def test_an_index_is_worn_when_most_of_it_was_taken_out(index: OwnerIndex) -> None:
    put(index, [row(n, "x") for n in range(1500)])
    assert not index.needs_rebuild
    index.remove(range(1400))
    assert index.needs_rebuild


def test_a_sessions_turns_are_listed_in_order(index: OwnerIndex) -> None:
    put(index, [row(seq, "x", turn=turn) for seq, turn in ((5, 1), (4, 2), (3, 3), (2, 4))] + [row(9, "x")])
    assert index.in_session("s", range(2, 9)) == [4, 3, 2]
    assert index.in_session("s", {1, 4}) == [5, 2]
    index.remove([5, 4, 3, 2])
    assert index.in_session("s", range(9)) == []


@given(st.lists(st.sampled_from(["cat", "a dog", "cat and dog", ""]), max_size=12), st.data())
def test_no_order_of_putting_and_removing_changes_what_is_found(texts: Sequence[str], data: st.DataObject) -> None:
    rows = [row(n, text, n / 7, "reply" if n % 3 == 0 else "statement", n // 2) for n, text in enumerate(texts)]
    gone = data.draw(st.sets(st.sampled_from(range(len(rows))))) if rows else set()
    built, changed = new(), new()
    put(built, [given for given in rows if given[0].seq not in gone])
    for one in data.draw(st.permutations(rows)):
        put(changed, [one])
    changed.remove(gone)
    for field in ("text", "window", "session", "date"):
        expected, scores = (getattr(i.bm25(["cat", "dog"]), field) for i in (built, changed))
        assert by_seq(changed, scores) == pytest.approx(by_seq(built, expected))
    left = sorted(built.records)
    for mine, theirs in zip(
        changed.cosines(NORTH, np.array([changed.rows_of([n])[0] for n in left], np.int64)),
        built.cosines(NORTH, np.array([built.rows_of([n])[0] for n in left], np.int64)),
        strict=True,
    ):
        assert mine.tolist() == pytest.approx(theirs.tolist())
    built.close()
    changed.close()


def test_a_part_of_a_document_is_found_by_its_title_and_place(index: OwnerIndex) -> None:
    part, vector = row(1, "run make")
    record = replace(part.record, document="handbook.md", place="Setup > Linux")
    put(index, [(replace(part, record=record), vector), row(2, "run")])
    assert own(index, "linux").keys() == own(index, "handbook").keys() == {1}
