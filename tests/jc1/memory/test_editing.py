"""What a person changes about one record: its text, with its history, and its marks."""

from __future__ import annotations

import pytest

from jc1.errors import InvalidRequest, RequestTooLarge, UnknownRecord
from jc1.memory.base import MAX_CHARACTERS, NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder
from tests.jc1.memory.test_store import recalled, tell


def test_an_edited_record_is_found_by_its_new_words_under_its_old_id_and_time(memory: DatabaseMemory) -> None:
    (walrus,) = memory.add("ann", [NewRecord("The walrus sleeps.", session="s", turn=2)])
    recalled(memory, "walrus")
    edited = memory.edit("ann", walrus.id, " The penguin swims. ")
    assert edited == memory.get("ann", walrus.id)
    assert (edited.id, edited.created, edited.session, edited.turn) == (walrus.id, walrus.created, "s", 2)
    assert edited.text == "The penguin swims."
    assert edited.edited is not None
    assert edited.edited >= walrus.created
    (receipt,) = memory.search("ann", "penguin swims", Retrieval(k=1)).receipts
    assert receipt.record == edited
    assert receipt.lexical_score is not None
    assert receipt.dense_score == pytest.approx((2 / 3) ** 0.5, abs=0.01)  # two of its three words


def test_the_history_is_what_it_said_oldest_first(memory: DatabaseMemory) -> None:
    (record_id,) = tell(memory, "one")
    for text in ("two", "two", "three"):
        memory.edit("ann", record_id, text)
    assert [edit.text for edit in memory.history("ann", record_id)] == ["one", "two"]
    first, second = memory.history("ann", record_id)
    assert first.replaced <= second.replaced == memory.get("ann", record_id).edited
    assert memory.history("ann", *tell(memory, "another")) == ()


def test_the_kind_of_the_new_text_is_decided_anew(memory: DatabaseMemory) -> None:
    (record_id,) = tell(memory, "My cat is called Ada.")
    assert memory.edit("ann", record_id, "What is my cat called?").kind == "question"
    (reply,) = memory.add("ann", [NewRecord("Your cat is called Ada.", "assistant")])
    assert memory.edit("ann", reply.id, "Bo, I think.").kind == "reply"


def test_what_the_old_text_superseded_counts_again_and_what_the_new_one_supersedes_does_not(
    memory: DatabaseMemory,
) -> None:
    home, cat, moved = tell(memory, "I live in Oslo.", "My cat is called Ada.", "I moved to Lyon.")
    edited = memory.edit("ann", moved, "Actually my cat is now called Bo.")
    assert edited.superseded_by is None
    assert memory.get("ann", home).superseded_by is None
    assert memory.get("ann", cat).superseded_by == moved
    assert set(recalled(memory, "cat")) == {"I live in Oslo.", "Actually my cat is now called Bo."}


def test_an_edited_statement_stays_behind_what_was_said_after_it(memory: DatabaseMemory) -> None:
    old, new = tell(memory, "I live in Oslo.", "I moved to Lyon.")
    assert memory.edit("ann", old, "I live in Bergen.").superseded_by == new
    assert memory.edit("ann", old, "My cat is called Ada.").superseded_by is None
    assert memory.edit("ann", old, "I live in Bergen.").superseded_by == new


def test_editing_one_in_the_middle_leaves_the_newest_in_force(memory: DatabaseMemory) -> None:
    first, second, third = tell(memory, "I live in Oslo.", "I moved to Lyon.", "I moved to Rome.")
    memory.edit("ann", second, "The walrus sleeps.")
    assert memory.get("ann", first).superseded_by == third
    assert set(recalled(memory, "live")) == {"I moved to Rome.", "The walrus sleeps."}


def test_a_speakers_text_is_embedded_with_the_name(memory: DatabaseMemory, embedder: HashingEmbedder) -> None:
    (said,) = memory.add("ann", [NewRecord("I like figs.", speaker="Bob")])
    memory.edit("ann", said.id, "I like dates.")
    assert embedder.texts == ["Bob: I like figs.", "Bob: I like dates."]


def test_a_text_that_cannot_be_a_records_leaves_it_as_it_is(memory: DatabaseMemory) -> None:
    (record_id,) = tell(memory, "one")
    with pytest.raises(InvalidRequest):
        memory.edit("ann", record_id, " \n")
    with pytest.raises(RequestTooLarge):
        memory.edit("ann", record_id, "x" * (MAX_CHARACTERS + 1))
    assert memory.get("ann", record_id).text == "one"


def test_an_excluded_record_is_listed_and_never_recalled(memory: DatabaseMemory) -> None:
    walrus, penguin = tell(memory, "The walrus sleeps.", "The penguin swims.")
    assert len(recalled(memory, "walrus")) == 2
    assert memory.mark("ann", walrus, excluded=True).excluded
    assert recalled(memory, "walrus") == ["The penguin swims."]
    assert {record.id for record in memory.list("ann").records} == {walrus, penguin}
    assert not memory.mark("ann", walrus, excluded=False).excluded
    assert len(recalled(memory, "walrus")) == 2


def test_a_mark_that_is_not_given_stays(memory: DatabaseMemory) -> None:
    (record,) = memory.add("ann", [NewRecord("one", pinned=True)])
    assert memory.mark("ann", record.id) == record
    both = memory.mark("ann", record.id, excluded=True)
    assert (both.pinned, both.excluded) == (True, True)
    assert memory.mark("ann", record.id, pinned=False) == memory.get("ann", record.id)


def test_a_record_that_is_not_there_cannot_be_changed(memory: DatabaseMemory) -> None:
    (gone,) = tell(memory, "one")
    memory.forget("ann", gone)
    for record_id in (gone, "mem_none", "\ud800"):
        for change in (
            lambda some: memory.edit("ann", some, "text"),
            lambda some: memory.mark("ann", some, pinned=True),
            lambda some: memory.history("ann", some),
        ):
            with pytest.raises(UnknownRecord):
                change(record_id)


def test_a_part_of_a_document_stays_a_statement_when_it_is_edited(memory: DatabaseMemory) -> None:
    (part,) = memory.add("ann", [NewRecord("Where is the ofice?", kind="statement", document="faq.md")])
    assert memory.edit("ann", part.id, "Where is the office?").kind == "statement"


def test_what_an_excluded_record_superseded_counts_again_until_it_is_included(memory: DatabaseMemory) -> None:
    old, new = (memory.add("ann", [NewRecord(text)])[0] for text in ("My cat is called Ada.", "My cat is called Bo."))
    memory.mark("ann", new.id, excluded=True)
    assert memory.get("ann", old.id).superseded_by is None
    assert [r.record.id for r in memory.search("ann", "cat", Retrieval()).receipts] == [old.id]
    memory.mark("ann", new.id, excluded=False)
    assert memory.get("ann", old.id).superseded_by == new.id


def test_an_edited_record_is_recalled_beside_the_turn_that_says_otherwise(memory: DatabaseMemory) -> None:
    (said,) = memory.add("ann", [NewRecord("My cat is called Ada.", session="s", turn=1)])
    read = ("s", {1})
    assert memory.search("ann", "cat", Retrieval(), already_read=read).receipts == ()
    memory.edit("ann", said.id, "My cat is called Bo.")
    assert len(memory.search("ann", "cat", Retrieval(), already_read=read).receipts) == 1
