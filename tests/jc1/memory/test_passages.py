"""Long texts: stored whole, found by what stands at their end, each as one record with the passage that answers."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, update

from jc1.database import writing
from jc1.database.tables import records
from jc1.memory.base import MAX_CHARACTERS, NewRecord, Receipt, Retrieval
from jc1.memory.passages import embedding_texts, passages
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder
from tests.jc1.memory.test_store import tell

CHAT = "We walked along the river and talked about the weather of last week. "
END = "The zygomorphic quokka sleeps under the stairs."
LONG = CHAT * 150 + END
ONLY_DENSE = Retrieval(k=3, weights={"bm25": 0, "bm25_window": 0, "bm25_session": 0})


def long_one(memory: DatabaseMemory, question: str, retrieval: Retrieval = ONLY_DENSE) -> Receipt:
    (receipt,) = [
        found for found in memory.search("ann", question, retrieval).receipts if len(found.record.text) > 1000
    ]
    return receipt


def test_a_short_text_is_one_passage_as_it_is() -> None:
    assert passages(" two  words ") == [" two  words "]
    assert passages("") == [""]
    assert embedding_texts("Ann", "Hello.") == ["Ann: Hello."]


def test_no_word_of_a_long_text_is_in_no_passage() -> None:
    assert " ".join(passages(LONG)).split() == LONG.split()
    assert len(passages(LONG)) > 5
    assert all(text.startswith("Ann: ") for text in embedding_texts("Ann", LONG))


def test_a_long_text_is_stored_whole_and_found_by_the_meaning_of_its_end(memory: DatabaseMemory) -> None:
    (whole,) = memory.add("ann", [NewRecord(LONG)])
    tell(memory, "I like tea.", *(f"Number {n} of what else was said." for n in range(20)))
    assert memory.get("ann", whole.id).text == LONG
    receipt = long_one(memory, END)
    assert receipt.rank == 1
    assert receipt.passage is not None
    assert receipt.passage.endswith(END)
    assert len(receipt.passage) < 1500
    assert (receipt.quoted.id, receipt.quoted.text, receipt.record.text) == (whole.id, receipt.passage, LONG)


def test_the_passage_is_the_one_that_answers(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord(f"{CHAT * 40}My dog is called Rex. {CHAT * 40}My cat is called Ada.")])
    assert "Rex" in str(long_one(memory, "What is my dog called?", Retrieval()).passage)
    assert "Ada" in str(long_one(memory, "What is my cat called?", Retrieval()).passage)


def test_a_short_text_is_quoted_as_it_is(memory: DatabaseMemory) -> None:
    tell(memory, "I like tea.")
    (receipt,) = memory.search("ann", "tea", Retrieval()).receipts
    assert receipt.passage is None
    assert receipt.quoted == receipt.record


def test_a_long_text_is_edited_excluded_and_forgotten_as_one(memory: DatabaseMemory) -> None:
    (whole,) = memory.add("ann", [NewRecord(LONG)])
    tell(memory, "I like tea.")
    assert long_one(memory, END).record.id == whole.id
    memory.edit("ann", whole.id, CHAT * 60 + "The walrus snores.")
    assert "walrus" in str(long_one(memory, "walrus snores").passage)
    memory.edit("ann", whole.id, "Short.")
    assert sorted(receipt.record.text for receipt in memory.search("ann", END, ONLY_DENSE).receipts) == [
        "I like tea.", "Short.",
    ]  # fmt: skip
    memory.forget("ann", whole.id)
    assert len(memory.search("ann", END, ONLY_DENSE).receipts) == 1


def test_the_longest_text_is_stored_and_a_longer_one_refused_whole(memory: DatabaseMemory) -> None:
    text = (CHAT * (MAX_CHARACTERS // len(CHAT) + 1))[: MAX_CHARACTERS - len(END)] + END
    memory.add("ann", [NewRecord(text)])
    assert str(long_one(memory, END).passage).endswith(END)


def test_vectors_of_a_long_text_that_tell_of_its_beginning_alone_are_made_anew(
    memory: DatabaseMemory, database: Engine, embedder: HashingEmbedder
) -> None:
    (whole,) = memory.add("ann", [NewRecord(LONG)])
    beginning = embedder.embed([LONG[:1000]])[0].astype("<f2").tobytes()
    with writing(database) as connection:
        connection.execute(update(records).where(records.c.id == whole.id).values(vector=beginning))
    assert str(long_one(memory, END).passage).endswith(END)
    assert long_one(DatabaseMemory(database, embedder), END).dense_score == pytest.approx(
        long_one(memory, END).dense_score, abs=1e-3
    )
