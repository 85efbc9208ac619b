"""Local memory: what is stored, superseded, forgotten, and how the indexes follow the database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from jc1.database import reading
from jc1.database.tables import records
from jc1.errors import InvalidRequest, RequestTooLarge, UnknownRecord
from jc1.memory.base import MAX_CHARACTERS, NewRecord, Receipt, Retrieval
from jc1.memory.indexes import EMPTY_INDEX
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

ALL = Retrieval(k=100)


def tell(memory: DatabaseMemory, *texts: str, owner: str = "ann") -> list[str]:
    return [memory.add(owner, [NewRecord(text)])[0].id for text in texts]


def recalled(memory: DatabaseMemory, query: str, owner: str = "ann", retrieval: Retrieval = ALL) -> list[str]:
    return [receipt.record.text for receipt in memory.search(owner, query, retrieval).receipts]


def test_what_was_added_is_found_by_its_words_and_explained(memory: DatabaseMemory) -> None:
    (added,) = memory.add("ann", [NewRecord("My cat is called Ada.", session="s", turn=3)])
    tell(memory, "I work at Acme.")
    found = memory.search("ann", "What is my cat called?", Retrieval(k=1))
    (receipt,) = found.receipts
    assert receipt.record == added
    assert isinstance(receipt, Receipt)
    assert (receipt.rank, receipt.dense_rank, receipt.lexical_rank) == (1, 1, 1)
    assert receipt.dense_score == pytest.approx(4 / 5, abs=0.01)  # four of the five words, on either side
    assert receipt.lexical_score is not None
    assert set(found.seconds) == {"embed", "recall"}
    assert all(seconds >= 0 for seconds in found.seconds.values())


def test_the_kind_is_decided_from_role_and_wording_unless_it_is_given(memory: DatabaseMemory) -> None:
    added = memory.add(
        "ann",
        [
            NewRecord("My cat is called Ada."),
            NewRecord("What is my cat called?"),
            NewRecord("Your cat is called Ada.", "assistant"),
            NewRecord("Is it?", kind="statement"),
        ],
    )
    assert [record.kind for record in added] == ["statement", "question", "reply", "statement"]


def test_stopwords_are_left_out_of_the_query_unless_asked_for(memory: DatabaseMemory) -> None:
    tell(memory, "What is it that you do?", "The walrus sleeps")
    (with_them, without) = (
        memory.search("ann", "what is the walrus", Retrieval(k=9, stopwords=stopwords, questions=True)).receipts
        for stopwords in (False, True)
    )
    assert [receipt.lexical_rank is not None for receipt in with_them] == [True, True]
    assert [receipt.lexical_rank is not None for receipt in without] == [True, False]


def test_a_superseded_record_is_kept_and_never_recalled(memory: DatabaseMemory) -> None:
    old, new = tell(memory, "My cat is called Ada.", "Actually my cat is now called Bo.")
    assert memory.get("ann", old).superseded_by == new
    assert memory.get("ann", new).superseded_by is None
    assert recalled(memory, "What is my cat called?") == ["Actually my cat is now called Bo."]
    assert memory.list("ann").total == 2


def test_a_record_that_was_recalled_before_is_not_once_it_is_superseded(memory: DatabaseMemory) -> None:
    tell(memory, "I live in Oslo.")
    assert recalled(memory, "Where do I live?") == ["I live in Oslo."]
    tell(memory, "I moved to Lyon.")
    assert recalled(memory, "Where do I live?") == ["I moved to Lyon."]


def test_within_one_call_the_later_statement_supersedes(memory: DatabaseMemory) -> None:
    first, second = memory.add("ann", [NewRecord("I live in Oslo."), NewRecord("I moved to Lyon.")])
    assert first.superseded_by == second.id
    assert memory.get("ann", first.id) == first


def test_of_two_statements_of_one_time_the_one_stored_later_counts(memory: DatabaseMemory) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    memory.add("ann", [NewRecord("I live in Oslo.", created=when), NewRecord("I moved to Lyon.", created=when)])
    assert recalled(memory, "Where do I live?") == ["I moved to Lyon."]


def test_a_statement_from_earlier_that_is_imported_later_does_not_win(memory: DatabaseMemory) -> None:
    (new,) = memory.add("ann", [NewRecord("I moved to Lyon.")])
    (old,) = memory.add("ann", [NewRecord("I live in Oslo.", created=datetime(2020, 1, 1, tzinfo=UTC))])
    assert old.superseded_by == new.id
    assert recalled(memory, "Where do I live?") == ["I moved to Lyon."]


def test_of_several_that_may_be_meant_none_is_superseded(memory: DatabaseMemory) -> None:
    ada, bo = tell(memory, "I have a cat called Ada.", "I have a cat called Bo.")
    tell(memory, "My cat is now called Cleo.")
    assert [memory.get("ann", cat).superseded_by for cat in (ada, bo)] == [None, None]
    friends = tell(memory, "My friend lives in Oslo.", "my friend lives in oslo.")
    (moved,) = tell(memory, "My friend moved to Lyon.")
    assert [memory.get("ann", friend).superseded_by for friend in friends] == [moved, moved]


def test_what_was_not_so_before_is_not_what_changed(memory: DatabaseMemory) -> None:
    home, oslo = tell(memory, "I live in Oslo.", "I moved from Nokia to Globex.")
    assert memory.get("ann", home).superseded_by is None
    (moved,) = tell(memory, "I moved from Oslo to Lyon.", owner="ann")
    assert memory.get("ann", home).superseded_by == moved
    assert memory.get("ann", oslo).superseded_by is None


def test_neither_a_question_nor_a_reply_supersedes(memory: DatabaseMemory) -> None:
    tell(memory, "My cat is called Ada.")
    memory.add("ann", [NewRecord("My cat is called Bo?"), NewRecord("My cat is called Bo.", "assistant")])
    assert recalled(memory, "cat")[0] == "My cat is called Ada."


def test_forgetting_the_newer_brings_the_older_back(memory: DatabaseMemory) -> None:
    old, new = tell(memory, "I live in Oslo.", "I moved to Lyon.")
    assert recalled(memory, "live") == ["I moved to Lyon."]
    memory.forget("ann", new)
    assert memory.get("ann", old).superseded_by is None
    assert recalled(memory, "live") == ["I live in Oslo."]


def test_forgetting_one_in_the_middle_leaves_the_newest_in_force(memory: DatabaseMemory) -> None:
    first, second, third = tell(memory, "I live in Oslo.", "I moved to Lyon.", "I moved to Rome.")
    memory.forget("ann", second)
    assert memory.get("ann", first).superseded_by == third
    assert recalled(memory, "live") == ["I moved to Rome."]


def test_a_forgotten_record_is_gone_from_every_answer_and_a_purged_one_from_the_database(
    memory: DatabaseMemory, database: Engine
) -> None:
    keep, lose = tell(memory, "The walrus sleeps.", "The penguin swims.")
    assert len(recalled(memory, "penguin")) == 2
    memory.forget("ann", lose)
    assert recalled(memory, "penguin") == ["The walrus sleeps."]
    assert memory.purge("ann").records == (lose,)
    assert recalled(memory, "penguin") == ["The walrus sleeps."]
    with reading(database) as connection:
        assert connection.execute(select(records.c.id)).scalars().all() == [keep]
    with pytest.raises(UnknownRecord):
        memory.get("ann", lose)
    with pytest.raises(UnknownRecord):
        memory.forget("ann", lose)


def test_turns_that_stand_in_the_prompt_are_left_out(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord(f"walrus {turn}", session="s", turn=turn) for turn in range(1, 5)])
    memory.add("ann", [NewRecord("walrus elsewhere", session="t", turn=4)])
    found = memory.search("ann", "walrus", Retrieval(k=9, window=3), already_read=("s", {3, 4})).receipts
    assert {receipt.record.text for receipt in found} == {"walrus 1", "walrus 2", "walrus elsewhere"}
    found = memory.search("ann", "walrus", Retrieval(k=9, window=3), already_read=("s", {1, 2, 4})).receipts
    assert {receipt.record.text for receipt in found} == {"walrus 3", "walrus elsewhere"}


def test_pages_hold_every_record_once_newest_first(memory: DatabaseMemory) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    texts = [f"text {n}" for n in range(25)]
    memory.add("ann", [NewRecord(text, created=when + timedelta(days=n // 2)) for n, text in enumerate(texts)])
    seen: list[str] = []
    cursor = None
    while True:
        page = memory.list("ann", limit=4, cursor=cursor)
        assert page.total == 25
        seen += [record.text for record in page.records]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == sorted(texts)
    assert [int(text.split()[1]) // 2 for text in seen] == sorted((n // 2 for n in range(25)), reverse=True)


def test_a_page_goes_on_where_the_one_before_ended_though_its_last_record_was_forgotten(memory: DatabaseMemory) -> None:
    ids = tell(memory, *(f"text {n}" for n in range(4)))
    page = memory.list("ann", limit=2)
    memory.forget("ann", ids[2])
    rest = memory.list("ann", limit=2, cursor=page.next_cursor)
    assert [record.text for record in rest.records] == ["text 1", "text 0"]


@pytest.mark.parametrize("cursor", ["", "x", "2026-01-01T00:00:00_mem_1", "2026-01-01T00:00:00+00:00", "\0_\ud800"])
def test_a_cursor_that_is_none_is_refused(memory: DatabaseMemory, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        memory.list("ann", cursor=cursor)


def test_an_empty_text_or_query_is_refused_and_nothing_of_the_call_is_stored(memory: DatabaseMemory) -> None:
    with pytest.raises(InvalidRequest):
        memory.add("ann", [NewRecord("fine"), NewRecord(" \n")])
    with pytest.raises(InvalidRequest):
        memory.search("ann", "  ", ALL)
    assert memory.list("ann").total == 0


def test_a_text_longer_than_a_record_is_refused(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("x" * MAX_CHARACTERS)])
    for role in ("user", "assistant"):
        with pytest.raises(RequestTooLarge):
            memory.add("ann", [NewRecord("x" * (MAX_CHARACTERS + 1), role)])


def test_a_time_without_a_zone_is_refused(memory: DatabaseMemory) -> None:
    with pytest.raises(InvalidRequest, match="zone"):
        memory.add("ann", [NewRecord("text", created=datetime(2026, 1, 1))])


def test_any_text_can_be_stored_and_asked_for(memory: DatabaseMemory) -> None:
    (record,) = memory.add("ann", [NewRecord("nul \0, half \ud800, emoji 🙂, quote '\"; --")])
    assert record.text == "nul \ufffd, half \ufffd, emoji 🙂, quote '\"; --"
    assert recalled(memory, "half \ud800 \0 🙂 '\"") == [record.text]


def test_adding_nothing_does_nothing(memory: DatabaseMemory, embedder: HashingEmbedder) -> None:
    assert memory.add("ann", []) == ()
    assert embedder.texts == []


@pytest.fixture
def other(database: Engine) -> Iterator[DatabaseMemory]:
    """A second memory on the same database, as another process has."""
    store = DatabaseMemory(database, HashingEmbedder())
    yield store
    store.close()


def test_what_another_process_writes_is_seen_at_the_next_search(memory: DatabaseMemory, other: DatabaseMemory) -> None:
    tell(memory, "I live in Oslo.", "The walrus sleeps.")
    assert len(recalled(other, "walrus")) == 2
    (new,) = tell(memory, "I moved to Lyon.")
    assert set(recalled(other, "walrus")) == {"I moved to Lyon.", "The walrus sleeps."}
    memory.forget("ann", new)
    tell(memory, "The penguin swims.")
    assert set(recalled(other, "walrus")) == {"I live in Oslo.", "The walrus sleeps.", "The penguin swims."}


def test_what_another_process_deleted_for_good_is_gone_at_the_next_search(
    memory: DatabaseMemory, other: DatabaseMemory
) -> None:
    """Between two searches: no row is left that would say that it changed."""
    gone, _ = tell(memory, "The walrus sleeps.", "The penguin swims.")
    assert len(recalled(other, "walrus")) == 2
    memory.forget("ann", gone)
    memory.purge("ann")
    assert recalled(other, "walrus") == ["The penguin swims."]
    tell(memory, "The seal dives.")
    assert set(recalled(other, "walrus")) == {"The penguin swims.", "The seal dives."}


def test_an_index_is_rebuilt_without_embedding_anything_again(
    memory: DatabaseMemory, database: Engine, embedder: HashingEmbedder
) -> None:
    tell(memory, "The walrus sleeps.", "The penguin swims.")
    before = memory.search("ann", "walrus", ALL).receipts
    fresh = HashingEmbedder()
    assert DatabaseMemory(database, fresh).search("ann", "walrus", ALL).receipts == before
    assert fresh.texts == ["walrus"]


def test_vectors_of_another_embedder_are_made_anew_and_kept(memory: DatabaseMemory, database: Engine) -> None:
    tell(memory, "The walrus sleeps.", "The penguin swims.")
    for expected in (["walrus", "The walrus sleeps.", "The penguin swims."], ["walrus"]):
        newer = HashingEmbedder("hashing/2")
        newer.dimension = 64
        assert (
            DatabaseMemory(database, newer).search("ann", "walrus", ALL).receipts[0].record.text == "The walrus sleeps."
        )
        assert newer.texts == expected


def test_indexes_over_the_capacity_are_dropped_and_come_back(database: Engine) -> None:
    small = DatabaseMemory(database, HashingEmbedder(), capacity=2 * EMPTY_INDEX + 5)
    for owner in ("ann", "bob", "eve"):
        tell(small, f"I am {owner}", "one", "two", owner=owner)
        assert len(recalled(small, "I", owner)) == 3
    assert [owner for owner in ("ann", "bob", "eve") if small.holds(owner)] == ["eve"]
    assert recalled(small, "I am", "ann")[0] == "I am ann"
    small.close()


def test_owners_without_a_record_fill_no_memory(database: Engine) -> None:
    small = DatabaseMemory(database, HashingEmbedder(), capacity=3 * EMPTY_INDEX)
    for number in range(9):
        assert recalled(small, "anything", f"owner {number}") == []
    assert [number for number in range(9) if small.holds(f"owner {number}")] == [6, 7, 8]
    small.close()


def test_one_owner_may_have_more_records_than_the_capacity(database: Engine) -> None:
    small = DatabaseMemory(database, HashingEmbedder(), capacity=1)
    tell(small, "one", "two", "three")
    assert len(recalled(small, "one")) == 3
    assert len(recalled(small, "two")) == 3
    small.close()


def test_many_threads_may_add_search_and_forget(memory: DatabaseMemory) -> None:
    def work(number: int) -> None:
        owner = f"owner {number % 3}"
        (record,) = memory.add(owner, [NewRecord(f"walrus {number}")])
        assert f"walrus {number}" in recalled(memory, "walrus", owner)
        if number % 2:
            memory.forget(owner, record.id)
            assert f"walrus {number}" not in recalled(memory, "walrus", owner)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(48)))
    left = sorted(text for n in range(3) for text in recalled(memory, "walrus", f"owner {n}"))
    assert left == sorted(f"walrus {n}" for n in range(0, 48, 2))


def test_a_closed_memory_gives_its_indexes_back(memory: DatabaseMemory) -> None:
    tell(memory, "The walrus sleeps.")
    recalled(memory, "walrus")
    assert memory.holds("ann")
    memory.close()
    assert not memory.holds("ann")


def test_a_question_finds_its_answer_by_meaning_with_the_real_embedder(database: Engine) -> None:
    from jc1.embedding.openvino import OpenVinoEmbedder

    embedder = OpenVinoEmbedder()
    memory = DatabaseMemory(database, embedder)
    facts = ("My cat is called Ada.", "I work as a nurse in Oslo.", "The car is parked behind the station.")
    tell(memory, *facts, "Which animal do I feed?")
    for question, answer in (("What is my pet's name?", 0), ("Where did I leave the automobile?", 2)):
        first, *_, last = memory.search("ann", question, Retrieval(k=4, questions=True)).receipts
        assert first.record.text == facts[answer]
        assert (first.dense_rank, last.record.kind) == (1, "question")
    exact = memory.search("ann", facts[1], Retrieval(k=1)).receipts[0]
    assert exact.dense_score == pytest.approx(1.0, abs=0.002)
    assert recalled(DatabaseMemory(database, embedder), facts[1], retrieval=Retrieval(k=1)) == [facts[1]]
    memory.close()
    embedder.close()
