"""Erasure in every part: after a purge a text is in no file, and what was made of it is gone."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from jc1 import Settings, SyncPipeline, Workbench
from jc1.access.keys import Keys
from jc1.database import writing
from jc1.database.keys import KeyRepository
from jc1.database.tables import records, turns
from jc1.documents.ingest import ingest
from jc1.documents.parts import Part
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.erasure import Purge, forget, purge, purge_overdue, purging_daily, remains, restore
from jc1.errors import DatabaseUnavailable
from jc1.memory.base import Filter, NewRecord, SeenPicture, Selection
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.trace import Trace
from tests.support.database import new_database

MARKER = "zygomorphic-quokka-4711"


def holding(folder: Path, text: str) -> list[str]:
    """The files under a folder that have the text in them."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_text_that_was_said_forgotten_and_purged_is_in_no_file(home: Path) -> None:
    settings = Settings(home=home, engine="echo", cache_replies=3600)
    with SyncPipeline(settings) as chat:
        workbench, owner = chat.workbench, settings.owner
        for number in range(40):
            chat.chat(f"Number {number} of what stays. " + "It is long. " * number, session="s")
        chat.chat(f"My locker's word is {MARKER}.", session="s")
        for number in range(20):  # so many later, its session's history is written to the cache once more
            chat.chat(f"Number {number} of what stays, too.", session="s")
        chat.chat(f"And {MARKER} again, remembered nowhere.", session="t", memory="off")
        asked = chat.chat("What is my locker's word?", session="t")
        (said,) = [r for r in workbench.memory.list(owner, only=Filter(contains=MARKER)).records if r.role == "user"]
        workbench.memory.edit(owner, said.id, f"My other locker's word is {MARKER[::-1]}.")
        assert said.id in [item["id"] for item in asked.trace.recalled]
        assert "data.mdb" in {Path(file).name for file in holding(home, MARKER)}
        assert len(holding(home, MARKER)) > 1
        assert forget(workbench, owner, said.id).impact.turns == 1
        forget(workbench, owner, Selection(session="t"))
        assert workbench.memory.list(owner, only=Filter(contains="locker")).total == 0
        assert [info.id for info in workbench.sessions.list(owner)] == ["s"]
        assert not any(MARKER in turn.user + turn.reply for turn in workbench.sessions.history(owner, "s"))
        assert workbench.telemetry.recent.get(asked.trace.id) is asked.trace
        assert purge(workbench, owner) == Purge(records=4, edits=1, turns=3)
        assert holding(home, MARKER) == holding(home, MARKER[::-1]) == []
        assert holding(home, "of what stays")
        assert asked.trace not in workbench.telemetry.recent.list()
        assert workbench.memory.list(owner).total == 120
    assert holding(home, MARKER) == holding(home, MARKER[::-1]) == []


def test_a_picture_that_was_purged_is_in_no_file(home: Path) -> None:
    thumbnail = b"\xff\xd8\xff" + MARKER.encode() * 100
    with SyncPipeline(Settings(home=home, engine="echo")) as chat:
        memory, owner = chat.workbench.memory, chat.workbench.settings.owner
        seen = SeenPicture("ab" * 32, 9, 9, "a.png", thumbnail)
        (record,) = memory.add(owner, [NewRecord("a.png, a picture", speaker="picture", picture=seen)])
        memory.add(owner, [NewRecord(f"Number {number} of what stays.") for number in range(40)])
        assert holding(home, MARKER)
        forget(chat.workbench, owner, record.id)
        assert memory.list(owner).total == 40
        assert holding(home, MARKER)
        assert purge(chat.workbench, owner) == Purge(records=1)
        assert holding(home, MARKER) == []


@pytest.fixture
def database(home: Path) -> Engine:
    settings = Settings(home=home)
    settings.prepare_home()
    return new_database(home / "jc1.db")


@pytest.fixture
def workbench(home: Path, database: Engine, embedder: Embedder) -> Workbench:
    """Stores without an engine that runs; what is older than a year is forgotten."""
    return Workbench(
        Settings(home=home, engine="echo", memory_retention_days=365),
        engine=EchoEngine(),
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=None,  # type: ignore[arg-type]
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
    )


def age(database: Engine, days: int) -> None:
    """Let what is forgotten have been forgotten some days earlier."""
    with writing(database) as connection:
        for table in (records, turns):
            then = datetime.now(UTC) - timedelta(days=days)
            connection.execute(update(table).where(table.c.forgotten.is_not(None)).values(forgotten=then))


def test_the_daily_purge_takes_what_is_overdue_of_every_owner(workbench: Workbench, database: Engine) -> None:
    memory = workbench.memory
    old = datetime.now(UTC) - timedelta(days=400)
    (anns, pinned) = memory.add("ann", [NewRecord("old", created=old), NewRecord("kept", created=old, pinned=True)])
    (bobs,) = memory.add("bob", [NewRecord("new")])
    workbench.telemetry.record(trace := Trace(owner="bob"))
    trace.recalled = [{"id": bobs.id, "expanded_from": None}]
    forget(workbench, "bob", bobs.id)
    assert purge_overdue(workbench) == Purge()
    assert memory.list("ann").records == (pinned,)
    assert restore(workbench, "ann", anns.id).records == 1
    assert purge_overdue(workbench) == Purge()
    age(database, days=6)
    assert purge_overdue(workbench) == Purge()
    age(database, days=8)
    assert purge_overdue(workbench) == Purge(records=2)
    assert memory.list("ann", only=Filter(forgotten=True)).total == 0
    assert workbench.telemetry.recent.list() == ()
    memory.close()


READER = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM records").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program_reading(home: Path) -> Iterator[None]:
    """A process that reads the database as it is now, all the while."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(home / "jc1.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        yield
        process.stdin.close()


def test_files_are_called_clean_only_once_nobody_reads_what_was_purged(
    workbench: Workbench, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.database.vacuum.READERS_SECONDS", 0.0)
    memory = workbench.memory
    (record,) = memory.add("ann", [NewRecord(f"The word is {MARKER}.")])
    with another_program_reading(home):
        forget(workbench, "ann", record.id)
        assert purge(workbench, "ann") == Purge(records=1, clean=False)
        for again in (purge(workbench, "ann"), purge(workbench, "bob"), purge_overdue(workbench)):
            assert again == Purge(clean=False)
            assert holding(home, MARKER)
        memory.add("bob", [NewRecord("Who tries to clear the files leaves the database to others.")])
    assert purge(workbench, "ann") == Purge()
    assert holding(home, MARKER) == []
    memory.close()


PURGER = """
import sys, time
from pathlib import Path
from jc1 import Settings, SyncPipeline
from jc1.erasure import forget, purge
from jc1.memory.base import Selection

with SyncPipeline(Settings(home=Path(sys.argv[1]), engine="echo", cache_replies=3600)) as chat:
    workbench, owner = chat.workbench, chat.workbench.settings.owner
    chat.chat(sys.argv[2], session="s", temperature=0)
    forget(workbench, owner, Selection(everything=True))

    def killed_here():
        print("purged", flush=True)
        time.sleep(600)

    workbench.replies.cache.vacuum = killed_here
    purge(workbench, owner)
"""


@pytest.fixture
def killed(home: Path) -> None:
    """A home that a process left which was killed when it had purged a text and was about to clear the files."""
    command = [sys.executable, "-c", PURGER, str(home), MARKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "purged\n"
        process.kill()
    assert str(home / "jc1.db-wal") in holding(home, MARKER)


@pytest.mark.usefixtures("killed")
async def test_a_kill_before_the_files_are_cleared_is_made_up_for_at_the_next_start(home: Path) -> None:
    async with Workbench.open(Settings(home=home, engine="echo")) as started, purging_daily(started):
        pass
    assert holding(home, MARKER) == []


@pytest.mark.usefixtures("killed")
async def test_a_kill_before_the_files_are_cleared_is_made_up_for_by_the_next_purge_without_the_cache(
    home: Path,
) -> None:
    async with Workbench.open(Settings(home=home, engine="echo", cache="off")) as started:
        assert purge(started, "somebody else") == Purge()
    assert holding(home, MARKER) == []


def test_whatever_deletes_a_text_for_good_owes_clean_files(workbench: Workbench, database: Engine, home: Path) -> None:
    sessions = Sessions(database)
    sessions.append("ann", "s", user=MARKER, reply="")
    sessions.delete("ann", "s")
    assert holding(home, MARKER)
    assert purge(workbench, "ann") == Purge()
    assert holding(home, MARKER) == []
    for version in ("one", "two"):
        ingest(workbench.memory, "ann", "Book", [Part(f"{MARKER[::-1]} {version}", "")])
    assert purge(workbench, "ann") == Purge()
    assert holding(home, f"{MARKER[::-1]} one") == []
    assert holding(home, f"{MARKER[::-1]} two")
    workbench.memory.close()


async def test_purging_runs_at_the_start_and_ends_with_what_it_serves(workbench: Workbench, database: Engine) -> None:
    (record,) = workbench.memory.add("ann", [NewRecord("old")])
    workbench.memory.forget("ann", record.id)
    age(database, days=8)
    async with purging_daily(workbench):
        pass
    assert workbench.memory.statistics("ann").forgotten == 0
    workbench.memory.close()


async def test_a_purge_that_fails_ends_nothing(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (DatabaseUnavailable("The database does not answer."), KeyError("hunter2")):

        def down(error: Exception = error) -> tuple[str, ...]:
            raise error

        monkeypatch.setattr(workbench.memory, "owners", down)
        with caplog.at_level(logging.WARNING):
            async with purging_daily(workbench):
                pass
    assert [record.message.split(":")[0] for record in caplog.records] == ["nothing was purged today"] * 2


def test_the_places_out_of_reach_are_named(home: Path) -> None:
    plain = " ".join(remains(Settings(home=home)))
    assert "Backups" in plain
    assert "MLflow" in plain
    assert "PostgreSQL" not in plain
    shared = Settings(home=home, database="postgresql://u:hunter2@h/d", base_url="http://u:hunter2@gpu/v1")
    assert "VACUUM FULL" in " ".join(remains(shared))
    assert "gpu/v1" in " ".join(remains(shared))
    assert "hunter2" not in " ".join(remains(shared))
