"""The same stores on a real PostgreSQL server: schema, transactions, writers at once, followed versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, insert, select

import jc1.sessions
from jc1.access.keys import Keys
from jc1.cache.redis import RedisCache
from jc1.database import open_database, reading, writing
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.database.schema import VERSION_TABLE, upgrade
from jc1.database.tables import metadata, owners
from jc1.errors import Conflict, Unauthenticated
from jc1.memory.base import Filter, Imported, NewRecord, Retrieval, Selection
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from tests.api.test_serve import serving
from tests.jc1.database.test_schema import check_first_rows, fill_first_version, migrated
from tests.jc1.memory.conftest import HashingEmbedder
from tests.support.redis_server import RedisServer


def programs() -> Path | None:
    """The newest PostgreSQL's folder of programs."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of our own, which listens on a socket in its folder and on no port."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    # It refuses to run as root, and its socket's path may not be long.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="jc1-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(found / program), "-D", data, *arguments], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL
        )

    run("initdb", "--auth=trust", "--username=jc1", "--no-sync")
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses= -F", "start")
    try:
        yield f"postgresql://jc1@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str) -> Iterator[Engine]:
    engine = open_database(server)
    yield engine
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()


def recalled(memory: DatabaseMemory, query: str) -> set[str]:
    return {receipt.record.text for receipt in memory.search("ann", query, Retrieval(k=99)).receipts}


def test_the_migrated_schema_is_the_one_that_the_tables_describe(database: Engine) -> None:
    with reading(database) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_a_reader_sees_one_moment(database: Engine) -> None:
    with reading(database) as reader:
        assert reader.execute(select(owners)).all() == []
        with writing(database) as writer:
            writer.execute(insert(owners).values(owner="ann", version=1))
        assert reader.execute(select(owners)).all() == []


def test_turns_appended_at_once_are_numbered_without_gap_or_double(database: Engine) -> None:
    sessions = Sessions(database)
    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(lambda n: sessions.append("ann", "s", user=f"u{n} \0", reply=""), range(24)))
    assert sorted(turn.number for turn in turns) == list(range(1, 25))
    assert sessions.history("ann", "s") == tuple(sorted(turns, key=lambda turn: turn.number))
    sessions.delete("ann", "s")
    assert sessions.history("ann", "s") == ()


def test_replicas_that_share_a_cache_read_the_same_history(
    database: Engine, server: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    caches = [RedisCache(redis_server.url) for _ in range(2)]
    here, there = Sessions(database, cache=caches[0]), Sessions(open_database(server), cache=caches[1])
    for number in range(5):
        turn = (here, there)[number % 2].append("ann", "s", user=f"u{number}", reply="r")
        assert here.history("ann", "s") == there.history("ann", "s")
        assert here.history("ann", "s")[-1] == turn
    assert caches[1].lookups.totals()["history", "hit"] >= 4
    there.delete("ann", "s")
    assert here.history("ann", "s") == ()
    there.append("ann", "s", user="again", reply="r")
    assert [turn.user for turn in here.history("ann", "s")] == ["again"]
    for cache in caches:
        cache.close()
    there._database.dispose()


async def test_keys_rotated_at_once_keep_a_secret_that_somebody_has(database: Engine) -> None:
    keys = Keys(KeyRepository(database))
    first = keys.create("ann", models={"jc1-tiny"})
    with ThreadPoolExecutor(4) as pool:
        issued = list(pool.map(lambda _: keys.rotate(first.key.id, grace=timedelta(hours=1)), range(4)))
        signed_by = set(pool.map(lambda _: keys.signing_secret("session"), range(4)))
    assert len(signed_by) == 1
    good = []
    for it in issued:
        with suppress(Unauthenticated):
            good.append(await keys.authenticate(it.token))
    assert [key.models for key in good] == [{"jc1-tiny"}] * 2
    keys.revoke(first.key.id)
    assert not keys.any_valid()
    keys.close()
    assert keys.get(first.key.id).last_used is not None


def test_versions_of_a_preset_saved_at_once_are_refused_or_numbered(database: Engine) -> None:
    rows = PresetRepository(database)

    def save(number: int) -> int | None:
        try:
            return rows.save("a", {"n": number})
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        saved = sorted(version for version in pool.map(save, range(16)) if version)
    assert saved == list(range(1, len(saved) + 1))
    rows.set_alias("champion", "a", 1)
    rows.set_alias("champion", "a", 2)
    assert rows.aliases() == {"champion": ("a", 2)}


def test_an_alias_moved_and_taken_back_at_once_points_where_its_last_move_says(database: Engine) -> None:
    rows = PresetRepository(database)
    rows.set_alias("champion", "a", 1)

    def move(number: int) -> None:
        if number % 3:
            rows.set_alias("champion", "a", number)
        else:
            rows.undo_alias("champion")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(move, range(2, 26)))
    standing = [(name, version) for name, version, _, undone in rows.moves("champion") if undone is None]
    assert rows.aliases() == {"champion": standing[0]}
    while (target := rows.undo_alias("champion")) is not None:
        standing.pop(0)
        assert target == standing[0]
    assert (len(standing), rows.aliases()) == (1, {})


@pytest.mark.parametrize("before", [None, ("a", 1)])
def test_of_moves_from_the_same_place_at_once_one_is_made(database: Engine, before: tuple[str, int] | None) -> None:
    rows = PresetRepository(database)
    if before:
        rows.set_alias("champion", *before)

    def move(number: int) -> int | None:
        try:
            rows.set_alias("champion", "b", number, expected=before)
        except Conflict:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        moved = [number for number in pool.map(move, range(16)) if number is not None]
    assert rows.aliases() == {"champion": ("b", *moved)}
    assert len(rows.moves("champion")) == (2 if before else 1)


def test_two_replicas_see_each_others_records(database: Engine, server: str) -> None:
    here, there = DatabaseMemory(database, HashingEmbedder()), DatabaseMemory(open_database(server), HashingEmbedder())
    (old, walrus) = here.add("ann", [NewRecord("I live in Oslo."), NewRecord("The walrus \0 sleeps.")])
    assert recalled(there, "live") == {old.text, walrus.text}
    (new,) = there.add("ann", [NewRecord("I moved to Lyon.")])
    assert recalled(here, "live") == {new.text, walrus.text}
    here.forget("ann", new.id)
    assert recalled(here, "live") == recalled(there, "live") == {old.text, walrus.text}
    first = here.list("ann", limit=1)
    second = there.list("ann", limit=1, cursor=first.next_cursor)
    assert [*first.records, *second.records] == [walrus, old]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (here, there)[n % 2].add("ann", [NewRecord(f"walrus {n}")]), range(24)))
    assert len(recalled(here, "walrus")) == len(recalled(there, "walrus")) == 26
    here.close()
    there.close()


def test_rows_of_the_first_version_are_kept_by_every_migration_since(database: Engine) -> None:
    with writing(database) as connection:
        migrated(connection, command.downgrade, "base")
        migrated(connection, command.upgrade, "0001")
        fill_first_version(connection)
    upgrade(database)
    check_first_rows(database)


def test_what_is_stored_through_one_server_is_recalled_through_the_other_within_a_second(
    database: Engine, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JC1_DATABASE", server)
    with serving(tmp_path / "a") as here, serving(tmp_path / "b") as there:
        for replica in (here, there):  # each has its index, without what comes next
            assert replica.http.get("/v1/memory/search", params={"q": "walrus"}).json()["data"] == []
        for number, (writer, reader) in enumerate([(here, there), (there, here), (here, there)]):
            text = f"Walrus number {number} is called Ida."
            writer.http.post("/v1/memory", json={"text": text}).raise_for_status()
            began = time.monotonic()
            found = reader.http.get("/v1/memory/search", params={"q": "walrus"}).json()["data"]
            assert text in [hit["memory"]["text"] for hit in found]
            assert time.monotonic() - began < 1


def test_memory_is_governed_as_on_sqlite(database: Engine, server: str) -> None:
    """Edit, mark, filters, figures, forget, restore, purge, export, import; seen by another replica."""
    memory, sessions = DatabaseMemory(database, HashingEmbedder()), Sessions(database)
    there = DatabaseMemory(open_database(server), HashingEmbedder())
    turn = sessions.append("ann", "s", user="My cat is called Ada.", reply="Hello Ada!")
    said, reply = memory.add(
        "ann",
        [
            NewRecord("My cat is called Ada.", session="s", turn=turn.number),
            NewRecord("Hello Ada!", "assistant", session="s", turn=turn.number),
        ],
    )
    oslo, lyon = memory.add("ann", [NewRecord("I live in Oslo."), NewRecord("I moved to Lyon.")])
    assert memory.edit("ann", lyon.id, "The 100% walrus sleeps.").superseded_by is None
    assert memory.edit("ann", lyon.id, "I moved to Rome.").text == "I moved to Rome."
    assert memory.get("ann", oslo.id).superseded_by == lyon.id
    assert [edit.text for edit in there.history("ann", lyon.id)] == ["I moved to Lyon.", "The 100% walrus sleeps."]
    memory.mark("ann", said.id, pinned=True)
    memory.mark("ann", reply.id, excluded=True)
    assert recalled(there, "cat") == {"My cat is called Ada.", "I moved to Rome."}
    found = memory.list("ann", only=Filter(contains="ROME", pinned=False, superseded=False)).records
    assert [record.id for record in found] == [lyon.id]
    figures = there.statistics("ann")
    assert (figures.records, figures.pinned, figures.excluded, figures.superseded, figures.edited) == (4, 1, 1, 1, 1)
    assert figures.bytes == figures.characters + len("I moved to Lyon.The 100% walrus sleeps.") + 4 * 2 * 128
    with closing(memory.export_lines("ann")) as lines:
        exported = list(lines)
    assert len(exported) == 4

    assert memory.preview("ann", said.id).turns == 1
    assert memory.forget("ann", Selection(records=(said.id, lyon.id))).impact.records == 3
    assert (recalled(there, "cat"), sessions.history("ann", "s")) == ({"I live in Oslo."}, ())
    assert there.restore("ann", said.id).turns == 1
    assert sessions.history("ann", "s") == (replace(turn, outdated=True),)
    assert len(memory.list("ann", only=Filter(forgotten=True)).records) == 1
    memory.forget("ann", Selection(everything=True))
    assert recalled(there, "cat") == set()
    purged = there.purge("ann")
    assert (len(purged.records), purged.edits, purged.turns) == (4, 2, 1)
    assert not memory.vacuum(lambda: True)  # its files are not JC1's to clear
    assert sessions.list("ann") == ()

    file = BytesIO("".join(exported).encode())
    assert memory.import_lines("ann", file) == Imported(added=4)
    with closing(there.export_lines("ann")) as lines:
        assert list(lines) == exported
    file.seek(0)
    assert there.import_lines("ann", file) == Imported(same=4)
    file.seek(0)
    assert there.import_lines("bob", file) == Imported(added=4)
    assert there.expire("bob", datetime.now(UTC)) == 3
    memory.close()
    there.close()
