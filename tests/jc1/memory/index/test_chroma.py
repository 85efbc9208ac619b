"""Memory whose vectors are in Chroma: the same answers, replicas that share it, what is left behind, a dead server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, update

from jc1.database import writing
from jc1.database.tables import owners, records
from jc1.errors import InvalidSettings, VectorsUnavailable
from jc1.memory import open_memory
from jc1.memory.base import NewRecord, Recall, Retrieval, Selection
from jc1.memory.index.chroma import ChromaStore
from jc1.memory.store import DatabaseMemory
from jc1.settings import Settings
from tests.jc1.memory.chroma_server import ChromaServer
from tests.jc1.memory.conftest import HashingEmbedder

TEXTS = [f"the {animal} likes {food}" for animal in ("cat", "dog", "walrus") for food in ("fish", "milk", "bread")]


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path, embedder: HashingEmbedder) -> Iterator[ChromaStore]:
    if request.param == "embedded":
        made = ChromaStore(fingerprint=embedder.fingerprint, path=tmp_path / "chroma")
    else:
        server: ChromaServer = request.getfixturevalue("chroma_server")
        made = ChromaStore(fingerprint=f"{embedder.fingerprint} {tmp_path}", url=server.url)
    yield made
    made.close()


@pytest.fixture
def in_chroma(database: Engine, embedder: HashingEmbedder, store: ChromaStore) -> DatabaseMemory:
    return DatabaseMemory(database, embedder, vectors=store)


def told(found: Recall) -> Sequence[tuple[Any, ...]]:
    return [(r.record.id, r.rank, r.dense_rank, r.lexical_rank, r.expanded_from) for r in found.receipts]


def keys(store: ChromaStore) -> set[str]:
    """All keys of Ann's that are in Chroma."""
    partitions = [store.of("ann", 0)(partition) for partition in ("statements", "others")]
    return {key for partition in partitions for key in partition._collection.get()["ids"]}


def test_the_same_is_recalled_in_the_same_order_as_from_faiss(
    database: Engine, embedder: HashingEmbedder, in_chroma: DatabaseMemory
) -> None:
    in_faiss = DatabaseMemory(database, embedder)
    in_faiss.add("ann", [NewRecord(text, session="s", turn=i) for i, text in enumerate(TEXTS)])
    in_faiss.add("ben", [NewRecord("the cat is somebody else's")])
    for query in ("what does the walrus like?", "who likes milk?", "cat"):
        for retrieval in (Retrieval(k=3), Retrieval(k=4, window=1)):
            expected, found = (memory.search("ann", query, retrieval) for memory in (in_faiss, in_chroma))
            assert told(found) == told(expected)
            scores = [receipt.score for receipt in expected.receipts]
            assert [receipt.score for receipt in found.receipts] == pytest.approx(scores, abs=1e-3)
    in_faiss.close()


def test_what_is_added_changed_and_forgotten_is_followed(in_chroma: DatabaseMemory, store: ChromaStore) -> None:
    (first,) = in_chroma.add("ann", [NewRecord("My cat is called Ada.")])
    assert [r.record.id for r in in_chroma.search("ann", "cat", Retrieval()).receipts] == [first.id]
    (second,) = in_chroma.add("ann", [NewRecord("My cat is called Bo.")])
    assert [r.record.id for r in in_chroma.search("ann", "cat", Retrieval()).receipts] == [second.id]
    assert {key.partition(".")[0] for key in keys(store)} == {second.id}
    assert all("Bo" not in str(key) for key in keys(store))


def test_what_was_left_behind_goes_when_the_index_is_built(
    database: Engine, embedder: HashingEmbedder, in_chroma: DatabaseMemory, store: ChromaStore
) -> None:
    gone, kept = in_chroma.add("ann", [NewRecord(text) for text in TEXTS[:2]])
    in_chroma.search("ann", "cat", Retrieval())
    assert len(keys(store)) == 2
    with writing(database) as connection:  # by a process that ended before Chroma heard of it
        connection.execute(update(owners).values(version=owners.c.version + 1))
        connection.execute(delete(records).where(records.c.id == gone.id))
    another = DatabaseMemory(database, embedder, vectors=store)
    assert [r.record.id for r in another.search("ann", "cat", Retrieval()).receipts] == [kept.id]
    assert {key.partition(".")[0] for key in keys(store)} == {kept.id}


@pytest.mark.parametrize("stay", [0, 1])
def test_what_was_purged_is_not_in_chroma_after_the_next_search(
    database: Engine, embedder: HashingEmbedder, in_chroma: DatabaseMemory, store: ChromaStore, stay: int
) -> None:
    ids = [in_chroma.add("ann", [NewRecord(text)])[0].id for text in TEXTS[:3]]
    in_chroma.search("ann", "cat", Retrieval())
    elsewhere = DatabaseMemory(database, embedder)
    elsewhere.forget("ann", Selection(records=tuple(ids[stay:])))
    elsewhere.purge("ann")
    another = DatabaseMemory(database, embedder, vectors=store)
    assert len(another.search("ann", "cat", Retrieval()).receipts) == stay
    assert len(keys(store)) == stay
    elsewhere.close()


def test_two_replicas_share_the_vectors_and_follow_each_other(
    database: Engine, embedder: HashingEmbedder, in_chroma: DatabaseMemory, store: ChromaStore
) -> None:
    another = DatabaseMemory(database, embedder, vectors=store)
    for i, text in enumerate(TEXTS):
        writer, reader = (in_chroma, another) if i % 2 else (another, in_chroma)
        (added,) = writer.add("ann", [NewRecord(text)])
        for memory in (reader, writer):
            assert added.id in [r.record.id for r in memory.search("ann", text, Retrieval(k=2)).receipts]
    assert len(keys(store)) == len(TEXTS)


def test_a_server_that_died_is_named_and_nothing_is_lost(
    database: Engine, embedder: HashingEmbedder, tmp_path: Path
) -> None:
    server = ChromaServer(tmp_path / "chroma")
    server.start()
    try:
        memory = DatabaseMemory(
            database, embedder, vectors=ChromaStore(fingerprint=embedder.fingerprint, url=server.url)
        )
        memory.add("ann", [NewRecord(TEXTS[0])])
        memory.search("ann", "cat", Retrieval())
        server.kill()
        (added,) = memory.add("ann", [NewRecord("My walrus is called Ida.")])  # the database has it
        with pytest.raises(VectorsUnavailable, match="see that it runs"):
            memory.search("ann", "walrus", Retrieval())
        with pytest.raises(VectorsUnavailable):
            ChromaStore(fingerprint="x", url=server.url)
        server.start()
        assert added.id in [r.record.id for r in memory.search("ann", "walrus", Retrieval()).receipts]
        memory.close()
    finally:
        server.kill()


def test_the_settings_choose_chroma_in_the_home_folder(
    database: Engine, embedder: HashingEmbedder, tmp_path: Path
) -> None:
    memory = open_memory(Settings(home=tmp_path, vectors="chroma"), database, embedder)
    memory.add("ann", [NewRecord(json.dumps(TEXTS))])
    assert memory.search("ann", "cat", Retrieval()).receipts
    memory.close()
    assert (tmp_path / "chroma" / "chroma.sqlite3").exists()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="http://HOST:PORT"):
        ChromaStore(fingerprint="x", url=url)
