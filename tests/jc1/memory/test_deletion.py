"""Forgetting: what goes, what stays, what comes back, and what is removed for good."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from sqlalchemy import Engine, func, select

from jc1.database import reading
from jc1.database.tables import edits, metadata, records, turns
from jc1.errors import InvalidRequest, NotFound, UnknownRecord, UnknownSession
from jc1.memory.base import Filter, NewRecord, Record, Selection
from jc1.memory.deletion import MAX_SELECTED
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from tests.jc1.memory.test_store import recalled, tell

EVERYTHING = Selection(everything=True)


@pytest.fixture(params=[1000, 1], ids=["together", "one by one"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Much is written in many transactions, here of one row each."""
    monkeypatch.setattr("jc1.database.connection.FIRST_BATCH", request.param)
    monkeypatch.setattr("jc1.database.connection.MAX_BATCH", request.param)


@pytest.fixture
def sessions(database: Engine) -> Sessions:
    return Sessions(database)


def say(memory: DatabaseMemory, sessions: Sessions, text: str, reply: str, session: str = "s") -> tuple[Record, Record]:
    """A turn, stored as the pipeline does."""
    turn = sessions.append("ann", session, user=text, reply=reply)
    said = NewRecord(text, session=session, turn=turn.number)
    answered = NewRecord(reply, "assistant", "reply", session=session, turn=turn.number)
    first, second = memory.add("ann", [said, answered])
    return first, second


def rows(database: Engine) -> dict[str, int]:
    """How many rows the tables of texts hold."""
    with reading(database) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
            if table.name in ("records", "edits", "turns", "sessions")
        }


def test_a_message_takes_its_turn_and_the_replies_to_it(memory: DatabaseMemory, sessions: Sessions) -> None:
    cat, reply = say(memory, sessions, "My cat is called Ada.", "Hello Ada!")
    dog, other = say(memory, sessions, "My dog is called Bo.", "Hello Bo!")
    memory.edit("ann", cat.id, "My cat is called Eve.")
    going = memory.preview("ann", cat.id)
    assert (going.records, going.cascaded, going.edits, going.turns) == (2, 1, 1, 1)
    assert {record.id for record in going.first} == {cat.id, reply.id}
    assert memory.list("ann").total == 4
    assert len(sessions.history("ann", "s")) == 2
    assert memory.forget("ann", cat.id).impact.records == 2
    assert {record.id for record in memory.list("ann").records} == {dog.id, other.id}
    assert set(recalled(memory, "Ada Eve cat")) == {dog.text, other.text}
    assert [turn.user for turn in sessions.history("ann", "s")] == ["My dog is called Bo."]
    (info,) = sessions.list("ann")
    assert (info.title, info.turns) == ("My dog is called Bo.", 1)


def test_a_reply_goes_with_its_turn_and_leaves_the_message_remembered(
    memory: DatabaseMemory, sessions: Sessions
) -> None:
    cat, reply = say(memory, sessions, "My cat is called Ada.", "Hello Ada!")
    going = memory.forget("ann", reply.id).impact
    assert (going.records, going.cascaded, going.turns) == (1, 0, 1)
    assert memory.list("ann").records == (cat,)
    assert sessions.history("ann", "s") == ()
    assert sessions.list("ann") == ()


def test_a_turn_that_has_only_its_number_in_common_stays(memory: DatabaseMemory, sessions: Sessions) -> None:
    sessions.append("ann", "s", user="Not to be remembered.", reply="Fine.")
    (imported,) = memory.add("ann", [NewRecord("Imported from elsewhere.", session="s", turn=1)])
    memory.forget("ann", imported.id)
    assert [turn.number for turn in sessions.history("ann", "s")] == [1]


def test_a_record_that_was_once_cut_takes_its_turn_too(memory: DatabaseMemory, sessions: Sessions) -> None:
    turn = sessions.append("ann", "s", user="walrus " * 2000, reply="Long.")
    (said,) = memory.add("ann", [NewRecord("walrus " * 1000 + "…", session="s", turn=turn.number)])
    assert memory.forget("ann", said.id).impact.turns == 1


def test_the_preview_names_what_holds_the_same_text_and_stays(memory: DatabaseMemory) -> None:
    first, second, _ = tell(memory, "The PIN is 1234.", "Again: the pin is 1234.", "The dog is Bo.")
    assert [record.id for record in memory.preview("ann", first).duplicates_kept] == [second]
    assert [record.id for record in memory.preview("ann", second).duplicates_kept] == [first]


@pytest.mark.usefixtures("batches")
def test_a_session_a_document_and_everything_can_be_forgotten(memory: DatabaseMemory, sessions: Sessions) -> None:
    say(memory, sessions, "My cat is called Ada.", "Hello!")
    say(memory, sessions, "My dog is called Bo.", "Hello!", session="t")
    sessions.append("ann", "s", user="Not to be remembered.", reply="Fine.")
    memory.add("ann", [NewRecord(f"Part {n}", document="Book", turn=n) for n in range(3)])
    going = memory.preview("ann", Selection(session="s"))
    assert (going.records, going.turns) == (2, 2)
    memory.forget("ann", Selection(session="s"))
    assert [info.id for info in sessions.list("ann")] == ["t"]
    assert memory.forget("ann", Selection(document="Book")).impact.records == 3
    assert {record.session for record in memory.list("ann").records} == {"t"}
    memory.forget("ann", EVERYTHING)
    assert (memory.list("ann").total, sessions.list("ann")) == (0, ())
    restored = memory.restore("ann", EVERYTHING)
    assert (restored.records, restored.turns) == (7, 3)
    assert {(info.id, info.title, info.turns) for info in sessions.list("ann")} == {
        ("s", "My cat is called Ada.", 2),
        ("t", "My dog is called Bo.", 1),
    }


@pytest.mark.usefixtures("batches")
def test_what_is_restored_is_as_it_was(memory: DatabaseMemory, sessions: Sessions) -> None:
    tell(memory, "I live in Oslo.", "I moved to Lyon.", "I moved to Rome.", "My cat is called Ada.")
    said, reply = say(memory, sessions, "Actually my cat is now called Bo.", "Noted.")
    memory.edit("ann", reply.id, "Noted!")
    memory.mark("ann", said.id, pinned=True)
    before = memory.list("ann"), recalled(memory, "cat"), sessions.history("ann", "s"), sessions.list("ann")
    for what in (said.id, reply.id, EVERYTHING, Selection(session="s")):
        memory.forget("ann", what)
        assert memory.list("ann") != before[0]
        memory.restore("ann", what)
        assert (memory.list("ann"), sessions.history("ann", "s"), sessions.list("ann")) == (before[0], *before[2:])
        assert set(recalled(memory, "cat")) == set(before[1])
    assert [edit.text for edit in memory.history("ann", reply.id)] == ["Noted."]


@pytest.mark.usefixtures("batches")
def test_what_superseded_what_is_kept_where_no_wording_tells_it(memory: DatabaseMemory) -> None:
    lines = [
        {"id": f"mem_{n}", "text": text, "role": "user", "kind": "statement", "created": f"2026-01-0{n}T00:00:00Z",
         "superseded_by": f"mem_{n + 1}" if n < 3 else None}
        for n, text in enumerate(["red", "green", "blue"], start=1)
    ]  # fmt: skip
    memory.import_lines("ann", BytesIO("\n".join(json.dumps(line) for line in lines).encode()))
    before = memory.list("ann").records
    assert [record.superseded_by for record in before] == [None, "mem_3", "mem_2"]
    for what in (EVERYTHING, Selection(records=("mem_1", "mem_2"))):
        memory.forget("ann", what)
        memory.restore("ann", what)
        assert memory.list("ann").records == before


def test_a_restored_statement_gives_way_to_what_was_said_meanwhile(memory: DatabaseMemory) -> None:
    (oslo,) = tell(memory, "I live in Oslo.")
    memory.forget("ann", oslo)
    (lyon,) = tell(memory, "I moved to Lyon.")
    memory.restore("ann", oslo)
    assert memory.get("ann", oslo).superseded_by == lyon
    memory.forget("ann", lyon)
    assert recalled(memory, "live") == ["I live in Oslo."]
    memory.restore("ann", lyon)
    assert recalled(memory, "live") == ["I moved to Lyon."]


def test_a_turn_is_shown_again_only_when_none_of_its_records_is_forgotten(
    memory: DatabaseMemory, sessions: Sessions
) -> None:
    cat, reply = say(memory, sessions, "My cat is called Ada.", "Hello Ada!")
    memory.forget("ann", reply.id)
    memory.forget("ann", cat.id)
    assert memory.restore("ann", reply.id).turns == 0
    assert sessions.history("ann", "s") == ()
    assert memory.restore("ann", cat.id).turns == 1
    assert len(sessions.history("ann", "s")) == 1


def test_a_reply_that_was_forgotten_before_does_not_come_back_with_its_message(
    memory: DatabaseMemory, sessions: Sessions
) -> None:
    cat, reply = say(memory, sessions, "My cat is called Ada.", "Hello Ada!")
    memory.forget("ann", reply.id)
    memory.forget("ann", cat.id)
    assert memory.restore("ann", cat.id).records == 1
    with pytest.raises(UnknownRecord):
        memory.get("ann", reply.id)


@pytest.mark.usefixtures("batches")
def test_a_purge_leaves_no_row_of_what_was_forgotten(
    memory: DatabaseMemory, sessions: Sessions, database: Engine
) -> None:
    cat, _ = say(memory, sessions, "My cat is called Ada.", "Hello Ada!")
    keep, _ = say(memory, sessions, "My dog is called Bo.", "Hello Bo!")
    memory.edit("ann", cat.id, "My cat is called Eve.")
    memory.forget("ann", cat.id)
    purged = memory.purge("ann")
    assert (len(purged.records), purged.edits, purged.turns) == (2, 1, 1)
    assert rows(database) == {"records": 2, "edits": 0, "turns": 1, "sessions": 1}
    with pytest.raises(UnknownRecord):
        memory.restore("ann", cat.id)
    memory.forget("ann", EVERYTHING)
    assert len(memory.purge("ann", keep.id).records) == 2
    assert rows(database) == {"records": 0, "edits": 0, "turns": 0, "sessions": 0}
    assert memory.purge("ann") == memory.purge("nobody")


def test_only_what_was_forgotten_long_enough_ago_is_purged(memory: DatabaseMemory) -> None:
    first, second = tell(memory, "one", "two")
    early = memory.forget("ann", first)
    memory.forget("ann", second)
    assert memory.purge("ann", before=early.until - timedelta(days=8)).records == ()
    assert memory.purge("ann", before=early.until - timedelta(days=7)).records == (first,)
    assert [r.id for r in memory.list("ann", only=Filter(forgotten=True)).records] == [second]


def test_the_time_to_undo_is_as_it_was_set(database: Engine, memory: DatabaseMemory) -> None:
    short = DatabaseMemory(database, memory._embedder, undo_days=2)
    (record,) = tell(memory, "one")
    now = datetime.now(UTC)
    assert timedelta(days=2) <= short.forget("ann", record).until - now < timedelta(days=2, minutes=5)


@pytest.mark.usefixtures("batches")
def test_a_chain_that_loses_its_links_still_leads_to_the_newest(memory: DatabaseMemory) -> None:
    first, second, third, fourth = tell(
        memory, "I live in Oslo.", "I moved to Lyon.", "I moved to Rome.", "I moved to Bonn."
    )
    memory.forget("ann", Selection(records=(second, third)))
    assert memory.get("ann", first).superseded_by == fourth
    memory.purge("ann", second)
    memory.restore("ann", third)
    assert memory.get("ann", third).superseded_by == fourth
    memory.forget("ann", fourth)
    memory.purge("ann")
    assert recalled(memory, "live") == ["I moved to Rome."]


def test_what_is_older_than_a_time_expires_unless_it_is_pinned(memory: DatabaseMemory, sessions: Sessions) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    memory.add("ann", [NewRecord("old", created=old), NewRecord("old, pinned", created=old, pinned=True)])
    say(memory, sessions, "new", "new")
    assert memory.expire("ann", old) == 0
    assert memory.expire("ann", old + timedelta(days=1)) == 1
    assert memory.expire("ann", old + timedelta(days=1)) == 0
    assert {record.text for record in memory.list("ann").records} == {"old, pinned", "new"}
    assert memory.expire("ann", datetime.now(UTC)) == 3, "two records and their turn"
    assert sessions.history("ann", "s") == ()
    assert memory.restore("ann", EVERYTHING).records == 3


def test_a_session_that_was_forgotten_can_be_used_again(memory: DatabaseMemory, sessions: Sessions) -> None:
    say(memory, sessions, "My cat is called Ada.", "Hello!")
    memory.forget("ann", Selection(session="s"))
    turn = sessions.append("ann", "s", user="Anew.", reply="Yes.")
    assert turn.number == 2
    assert [(info.title, info.turns) for info in sessions.list("ann")] == [("Anew.", 1)]
    memory.purge("ann")
    assert sessions.history("ann", "s") == (turn,)


def test_what_is_not_there_cannot_be_forgotten_or_restored(memory: DatabaseMemory) -> None:
    (record,) = tell(memory, "one")
    for call in (memory.preview, memory.forget):
        with pytest.raises(UnknownRecord):
            call("ann", Selection(records=(record, "mem_none")))
        with pytest.raises(UnknownSession):
            call("ann", Selection(session="none"))
        with pytest.raises(NotFound, match="document"):
            call("ann", Selection(document="none"))
    with pytest.raises(UnknownRecord):
        memory.restore("ann", record)
    assert memory.list("ann").total == 1


def test_a_selection_says_one_thing(memory: DatabaseMemory) -> None:
    for fields in ({}, {"session": "s", "document": "d"}, {"records": ("mem_1",), "everything": True}):
        with pytest.raises(InvalidRequest, match="one way"):
            Selection(**fields)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="parts"):
        memory.forget("ann", Selection(records=tuple(f"mem_{n}" for n in range(MAX_SELECTED + 1))))


def test_a_preview_of_much_shows_its_beginning(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord(f"text {n}") for n in range(50)])
    going = memory.preview("ann", EVERYTHING)
    assert (going.records, len(going.first)) == (50, 20)
    assert going.first[0].text == "text 49"


def test_the_owners_are_those_with_records_or_sessions(memory: DatabaseMemory, sessions: Sessions) -> None:
    tell(memory, "one", owner="bob")
    sessions.append("ann", "s", user="u", reply="r")
    assert memory.owners() == ("ann", "bob")


@pytest.mark.usefixtures("batches")
def test_no_hidden_row_is_left_out_of_a_purge(memory: DatabaseMemory, sessions: Sessions, database: Engine) -> None:
    for n in range(3):
        say(memory, sessions, f"My cat is called Ada{n}.", f"Hello {n}!")
    memory.forget("ann", EVERYTHING)
    memory.purge("ann")
    with reading(database) as connection:
        for table in (records, edits, turns):
            assert connection.execute(select(table)).all() == []
