"""What a person sees of a memory: filtered pages and figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jc1.errors import InvalidRequest
from jc1.memory.base import Filter, NewRecord
from jc1.memory.queries import MAX_CONTAINS
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.test_store import tell


@pytest.fixture
def filled(memory: DatabaseMemory) -> DatabaseMemory:
    """Records that differ in all that a filter asks for."""
    memory.add(
        "ann",
        [
            NewRecord("I live in Oslo.", session="s", turn=1, created=datetime(2020, 1, 1, tzinfo=UTC)),
            NewRecord("Nice: 100% fjord_land.", "assistant", session="s", turn=1),
            NewRecord("Where do I live?", session="t", turn=1),
            NewRecord("I moved to Lyon.", pinned=True),
            NewRecord("Chapter one", document="Book", turn=1),
        ],
    )
    return memory


@pytest.mark.parametrize(
    ("only", "found"),
    [
        (Filter(), 5),
        (Filter(session="s"), 2),
        (Filter(session="s", role="user"), 1),
        (Filter(session="nowhere"), 0),
        (Filter(document="Book"), 1),
        (Filter(kind="question"), 1),
        (Filter(kind="reply"), 1),
        (Filter(pinned=True), 1),
        (Filter(pinned=False), 4),
        (Filter(excluded=True), 0),
        (Filter(superseded=True), 1),
        (Filter(superseded=False), 4),
        (Filter(contains="LIVE"), 2),
        (Filter(contains="100% fjord_land"), 1),
        (Filter(contains="%"), 1),
        (Filter(contains="_"), 1),
        (Filter(contains="\\"), 0),
        (Filter(contains="' OR 1=1"), 0),
        (Filter(forgotten=True), 0),
    ],
)
def test_a_filter_lets_through_that_of_which_all_is_true(filled: DatabaseMemory, only: Filter, found: int) -> None:
    page = filled.list("ann", only=only)
    assert (len(page.records), page.total) == (found, found)


def test_pages_of_a_filter_hold_its_records_alone(filled: DatabaseMemory) -> None:
    only = Filter(role="user")
    first = filled.list("ann", limit=3, only=only)
    rest = filled.list("ann", limit=3, cursor=first.next_cursor, only=only)
    assert [record.role for record in (*first.records, *rest.records)] == ["user"] * 4
    assert (first.total, rest.next_cursor) == (4, None)


def test_what_is_forgotten_is_listed_where_that_is_asked_for(filled: DatabaseMemory) -> None:
    filled.forget("ann", filled.list("ann", only=Filter(document="Book")).records[0].id)
    assert filled.list("ann").total == 4
    assert [r.text for r in filled.list("ann", only=Filter(forgotten=True)).records] == ["Chapter one"]


def test_a_text_too_long_to_look_for_is_refused(memory: DatabaseMemory) -> None:
    with pytest.raises(InvalidRequest, match="contains"):
        memory.list("ann", only=Filter(contains="x" * (MAX_CONTAINS + 1)))


def test_the_figures_count_what_is_there(filled: DatabaseMemory) -> None:
    (record,) = filled.list("ann", only=Filter(kind="question")).records
    filled.edit("ann", record.id, "Where was that?")
    filled.mark("ann", record.id, excluded=True)
    (gone,) = tell(filled, "à bientôt")
    before = filled.statistics("ann").bytes
    filled.forget("ann", gone)
    figures = filled.statistics("ann")
    shown = filled.list("ann").records
    assert figures.records == 5
    assert figures.kinds == {"statement": 3, "question": 1, "reply": 1}
    assert figures.roles == {"user": 4, "assistant": 1}
    assert figures.sessions == {"s": 2, "t": 1}
    assert figures.documents == {"Book": 1}
    assert (figures.superseded, figures.pinned, figures.excluded, figures.edited, figures.forgotten) == (1, 1, 1, 1, 1)
    assert figures.characters == sum(len(r.text) for r in shown)
    assert (figures.first, figures.last) == (shown[-1].created, shown[0].created)
    vectors = 6 * 2 * 128
    assert figures.bytes == before == figures.characters + len("à bientôt".encode()) + len("Where do I live?") + vectors


def test_an_owner_with_nothing_has_figures_of_nothing(memory: DatabaseMemory) -> None:
    figures = memory.statistics("nobody")
    assert (figures.records, figures.kinds, figures.characters, figures.bytes, figures.first) == (0, {}, 0, 0, None)


@pytest.mark.parametrize(("text", "found"), [("ZÜRICH", 1), ("łÓDŹ", 1), ("СОФИ", 1), ("zurich", 0), ("%Ü", 0)])
def test_the_case_of_any_letter_is_ignored(memory: DatabaseMemory, text: str, found: int) -> None:
    memory.add("ann", [NewRecord(f"I met Zoë in {town}.") for town in ("Zürich", "Łódź", "София")])
    assert memory.list("ann", only=Filter(contains=text)).total == found
