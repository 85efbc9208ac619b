"""Documents in memory: stored once, replaced as a whole, cited, and whole again after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, update

from jc1.database import reading, writing
from jc1.database.tables import records
from jc1.documents.formats import read
from jc1.documents.ingest import BATCH, Ingested, ingest, title_of
from jc1.documents.parts import Part
from jc1.embedding.base import Vectors
from jc1.errors import Conflict, EmbedderUnavailable, InvalidRequest
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder
from tests.support import pdfs

MANY = [Part(f"Walrus number {number} sleeps.", f"page {number}") for number in range(1, 2 * BATCH + 11)]


def kept(memory: DatabaseMemory, owner: str = "ann") -> list[tuple[str | None, int | None, str]]:
    """Title, number and text of all of an owner's records, in the order of parts."""
    found = memory.list(owner, limit=1000).records
    return sorted((record.document, record.turn, record.text) for record in found)


def as_kept(title: str, parts: Sequence[Part]) -> list[tuple[str | None, int | None, str]]:
    return [(title, number, part.text) for number, part in enumerate(parts, start=1)]


def test_a_question_finds_the_part_with_document_and_place(memory: DatabaseMemory) -> None:
    text = b"# Setup\n\n## Linux\n\nRun make to install.\n\n## Windows\n\nThere is no installer.\n"
    ingest(memory, "ann", "handbook.md", read("markdown", text))
    ingest(memory, "ann", "walrus.pdf", read("pdf", pdfs.written("A walrus eats clams.", "A walrus weighs a ton.")))
    for query, document, place in [
        ("How do I install with make?", "handbook.md", "Setup > Linux"),
        ("How much does a walrus weigh?", "walrus.pdf", "page 2"),
    ]:
        (receipt,) = memory.search("ann", query, Retrieval(k=1)).receipts
        assert (receipt.record.document, receipt.record.place) == (document, place)
        assert (receipt.record.role, receipt.record.kind) == ("user", "statement")


def test_the_window_of_a_recall_brings_the_parts_beside_it(memory: DatabaseMemory) -> None:
    ingest(memory, "ann", "walrus.pdf", MANY)
    receipts = memory.search("ann", "number 70", Retrieval(k=1, window=1)).receipts
    assert {receipt.record.turn for receipt in receipts} == {69, 70, 71}


def test_a_part_neither_supersedes_nor_is_superseded(memory: DatabaseMemory) -> None:
    (said,) = memory.add("ann", [NewRecord("My cat is called Ada.")])
    ingest(memory, "ann", "a.txt", [Part("My cat is called Bo.")])
    memory.add("ann", [NewRecord("My cat is called Cy.")])
    ingested = next(record for record in memory.list("ann").records if record.document)
    assert ingested.superseded_by is None
    assert memory.get("ann", said.id).superseded_by is not None


def test_the_same_document_is_stored_once_and_keeps_what_was_changed(memory: DatabaseMemory, database: Engine) -> None:
    first = ingest(memory, "ann", "walrus.pdf", MANY)
    with writing(database) as connection:
        connection.execute(update(records).where(records.c.turn == 3).values(pinned=True))
    again = ingest(memory, "ann", "walrus.pdf", MANY)
    assert (first.added, first.removed) == (len(MANY), 0)
    assert again == Ingested("walrus.pdf", first.session, len(MANY), first.characters, 0, 0)
    assert kept(memory) == as_kept("walrus.pdf", MANY)
    assert [record.turn for record in memory.list("ann", limit=1000).records if record.pinned] == [3]


def test_a_changed_document_takes_the_place_of_the_one_before(memory: DatabaseMemory) -> None:
    ingest(memory, "ann", "walrus.pdf", MANY)
    ingest(memory, "ann", "seal.pdf", MANY[:3])
    memory.search("ann", "walrus", Retrieval())  # the index is built, and has to follow
    changed = [*MANY[:5], Part("A new walrus came.")]
    assert ingest(memory, "ann", "walrus.pdf", changed).removed == len(MANY)
    assert kept(memory) == as_kept("seal.pdf", MANY[:3]) + as_kept("walrus.pdf", changed)
    found = memory.search("ann", "walrus number", Retrieval(k=100)).receipts
    assert len(found) == len(changed) + 3


def test_owners_have_documents_of_their_own(memory: DatabaseMemory) -> None:
    ingest(memory, "ann", "walrus.pdf", MANY[:2])
    ingest(memory, "ben", "walrus.pdf", MANY[:1])
    assert kept(memory, "ann") == as_kept("walrus.pdf", MANY[:2])
    assert [document.parts for document in memory.documents("ben")] == [1]
    assert memory.documents("cy") == ()


def test_documents_are_listed_with_their_figures_last_stored_first(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("I live in Oslo.")])
    ingest(memory, "ann", "walrus.pdf", MANY[:2])
    done = ingest(memory, "ann", "seal.txt", [Part("Zürich"), Part("A seal.")])
    seal, walrus = memory.documents("ann")
    assert (seal.title, seal.session, seal.parts, seal.missing, seal.characters) == ("seal.txt", done.session, 2, 0, 13)
    assert (walrus.title, walrus.created < seal.created) == ("walrus.pdf", True)
    assert memory.documents("ann", limit=1) == (seal,)
    with pytest.raises(InvalidRequest):
        memory.documents("ann", limit=0)


def test_a_part_that_was_added_by_hand_is_listed_with_its_document(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("A seal.", document="seal.txt")])
    assert [(d.title, d.session, d.parts, d.missing) for d in memory.documents("ann")] == [("seal.txt", None, 1, 0)]
    ingest(memory, "ann", "seal.txt", [Part("A seal."), Part("Two seals.")])
    assert kept(memory) == as_kept("seal.txt", [Part("A seal."), Part("Two seals.")])


class Failing(HashingEmbedder):
    """Fails after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self.left == 0:
            raise EmbedderUnavailable("The embedder is closed: open a new pipeline.")
        self.left -= 1
        return super().embed(texts)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_an_interrupted_ingestion_leaves_the_version_before_and_ends_the_same_when_run_again(
    memory: DatabaseMemory, database: Engine, calls: int
) -> None:
    before = MANY[:4]
    ingest(memory, "ann", "walrus.pdf", before)
    changed = [Part(f"New: {part.text}", part.place) for part in MANY]
    with pytest.raises(EmbedderUnavailable):
        ingest(DatabaseMemory(database, Failing(calls)), "ann", "walrus.pdf", changed)
    assert {document.title: document.missing for document in memory.documents("ann") if document.parts == 4} == {
        "walrus.pdf": 0
    }
    assert sum(document.missing for document in memory.documents("ann")) == (len(MANY) - calls * BATCH if calls else 0)
    seen: list[int] = []
    done = ingest(memory, "ann", "walrus.pdf", changed, seen.append)
    assert (done.added, done.removed) == (len(MANY) - calls * BATCH, len(before))
    assert seen[0] == calls * BATCH
    assert seen[-1] == len(MANY)
    assert kept(memory) == as_kept("walrus.pdf", changed)


def test_whoever_hears_of_the_progress_may_stop_it(memory: DatabaseMemory) -> None:
    def stop(stored: int) -> None:
        if stored:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(memory, "ann", "walrus.pdf", MANY, stop)
    assert [document.parts for document in memory.documents("ann")] == [BATCH]
    ingest(memory, "ann", "walrus.pdf", MANY)
    assert kept(memory) == as_kept("walrus.pdf", MANY)


def test_the_same_document_sent_many_times_at_once_is_there_once(memory: DatabaseMemory) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ingest, memory, "ann", "walrus.pdf", MANY) for _ in range(4)]:
            assert done.result().parts == len(MANY)
    assert kept(memory) == as_kept("walrus.pdf", MANY)


def test_of_two_versions_stored_at_once_one_is_whole_and_the_other_is_told(memory: DatabaseMemory) -> None:
    def other(stored: int) -> None:
        if stored == BATCH:
            ingest(memory, "ann", "walrus.pdf", MANY[:3])

    with pytest.raises(Conflict, match="store it again"):
        ingest(memory, "ann", "walrus.pdf", MANY, other)
    ingest(memory, "ann", "walrus.pdf", MANY)
    assert kept(memory) == as_kept("walrus.pdf", MANY)


def test_what_was_forgotten_comes_back_when_it_is_stored_again_and_only_once(
    memory: DatabaseMemory, database: Engine
) -> None:
    ingest(memory, "ann", "walrus.pdf", MANY[:3])
    hidden = update(records).where(records.c.turn != 2).values(forgotten=memory.list("ann").records[0].created)
    with writing(database) as connection:
        connection.execute(hidden)
    (document,) = memory.documents("ann")
    assert (document.parts, document.missing) == (1, 2)
    assert ingest(memory, "ann", "walrus.pdf", MANY[:3]).added == 2
    assert kept(memory) == as_kept("walrus.pdf", MANY[:3])
    with reading(database) as connection:
        assert len(connection.execute(select(records.c.seq)).all()) == 3


@pytest.mark.parametrize("title", ["", " ", "x" * 201, "a\0b"])
def test_a_title_that_cannot_be_one_is_refused_before_anything_is_stored(memory: DatabaseMemory, title: str) -> None:
    with pytest.raises(InvalidRequest, match="title") as refused:
        ingest(memory, "ann", title, MANY)
    assert refused.value.param == "title"
    assert memory.list("ann").total == 0


@pytest.mark.parametrize("name", ["walrus.pdf", "/home/ann/walrus.pdf", r"C:\Ann\walrus.pdf", "../walrus.pdf"])
def test_the_title_of_a_file_is_its_name(name: str) -> None:
    assert title_of(name) == "walrus.pdf"
