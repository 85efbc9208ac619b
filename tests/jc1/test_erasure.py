"""Forgetting across the house: after a purge a text is in no file, and what was made of it is gone."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from jc1 import Pipeline, Settings, SyncPipeline
from jc1.database import open_database, reading, writing
from jc1.database.connection import BUSY_SECONDS
from jc1.database.tables import records, turns
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.erasure import Purge, forget, purge, purge_overdue, purging_daily, remains, restore
from jc1.errors import DatabaseUnavailable
from jc1.memory.base import Filter, NewRecord, Selection
from jc1.memory.store import LocalMemory
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
        pipeline, owner = chat.pipeline, settings.owner
        for number in range(40):
            chat.chat(f"Number {number} of what stays. " + "It is long. " * number, session="s")
        chat.chat(f"My locker's word is {MARKER}.", session="s")
        for number in range(20):  # so many later, its session's history is written to the cache once more
            chat.chat(f"Number {number} of what stays, too.", session="s")
        chat.chat(f"And {MARKER} again, remembered nowhere.", session="t", memory="off")
        asked = chat.chat("What is my locker's word?", session="t")
        (said,) = [r for r in pipeline.memory.list(owner, only=Filter(contains=MARKER)).records if r.role == "user"]
        pipeline.memory.edit(owner, said.id, f"My other locker's word is {MARKER[::-1]}.")
        assert said.id in [item["id"] for item in asked.trace.recalled]
        assert str(home / "cache" / "data.mdb") in holding(home, MARKER)
        assert len(holding(home, MARKER)) > 1
        assert forget(pipeline, owner, said.id).going.turns == 1
        forget(pipeline, owner, Selection(session="t"))
        assert pipeline.memory.list(owner, only=Filter(contains="locker")).total == 0
        assert [info.id for info in pipeline.sessions.list(owner)] == ["s"]
        assert not any(MARKER in turn.user + turn.reply for turn in pipeline.sessions.history(owner, "s"))
        assert pipeline.telemetry.recent.get(asked.trace.id) is asked.trace
        assert purge(pipeline, owner) == Purge(records=4, edits=1, turns=3)
        assert holding(home, MARKER) == holding(home, MARKER[::-1]) == []
        assert holding(home, "of what stays")
        assert asked.trace not in pipeline.telemetry.recent.list()
        assert pipeline.memory.list(owner).total == 120
    assert holding(home, MARKER) == holding(home, MARKER[::-1]) == []


@pytest.fixture
def database(home: Path) -> Engine:
    settings = Settings(home=home)
    settings.prepare_home()
    return new_database(home / "jc1.db")


@pytest.fixture
def pipeline(home: Path, database: Engine, embedder: Embedder) -> Pipeline:
    """Stores without an engine that runs; what is older than a year is forgotten."""
    return Pipeline(
        Settings(home=home, engine="echo", memory_retention_days=365),
        engine=EchoEngine(),
        memory=LocalMemory(database, embedder),
        sessions=Sessions(database),
        presets=None,  # type: ignore[arg-type]
        telemetry=Telemetry(),
    )


def age(database: Engine, days: int) -> None:
    """Let what is forgotten have been forgotten some days earlier."""
    with writing(database) as connection:
        for table in (records, turns):
            then = datetime.now(UTC) - timedelta(days=days)
            connection.execute(update(table).where(table.c.forgotten.is_not(None)).values(forgotten=then))


def test_the_daily_purge_takes_what_is_overdue_of_every_owner(pipeline: Pipeline, database: Engine) -> None:
    memory = pipeline.memory
    old = datetime.now(UTC) - timedelta(days=400)
    (anns, pinned) = memory.add("ann", [NewRecord("old", created=old), NewRecord("kept", created=old, pinned=True)])
    (bobs,) = memory.add("bob", [NewRecord("new")])
    pipeline.telemetry.record(trace := Trace(owner="bob"))
    trace.recalled = [{"id": bobs.id, "widened_from": None}]
    forget(pipeline, "bob", bobs.id)
    assert purge_overdue(pipeline) == Purge()
    assert memory.list("ann").records == (pinned,)
    assert restore(pipeline, "ann", anns.id).records == 1
    assert purge_overdue(pipeline) == Purge()
    age(database, days=6)
    assert purge_overdue(pipeline) == Purge()
    age(database, days=8)
    assert purge_overdue(pipeline) == Purge(records=2)
    assert memory.list("ann", only=Filter(forgotten=True)).total == 0
    assert pipeline.telemetry.recent.list() == ()
    memory.close()


def test_files_that_others_keep_busy_are_told_of_and_seen_to_the_next_time(
    pipeline: Pipeline, database: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.database.connection.BUSY_SECONDS", 0)
    database = open_database(str(database.url))
    memory = LocalMemory(database, pipeline.memory._embedder)  # type: ignore[attr-defined]
    pipeline.memory = memory
    (record,) = memory.add("ann", [NewRecord(f"The word is {MARKER}.")])
    with reading(database) as reader:
        assert reader.execute(records.select()).all()
        forget(pipeline, "ann", record.id)
        assert purge(pipeline, "ann") == Purge(records=1, clean=False)
        assert holding(home, MARKER)
    assert purge_overdue(pipeline, scrub=True) == Purge()
    assert holding(home, MARKER) == []
    assert BUSY_SECONDS > 0
    memory.close()


async def test_purging_runs_at_the_start_and_ends_with_what_it_serves(pipeline: Pipeline, database: Engine) -> None:
    (record,) = pipeline.memory.add("ann", [NewRecord("old")])
    pipeline.memory.forget("ann", record.id)
    age(database, days=8)
    async with purging_daily(pipeline):
        pass
    assert pipeline.memory.statistics("ann").forgotten == 0
    pipeline.memory.close()


async def test_a_purge_that_fails_ends_nothing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (DatabaseUnavailable("The database does not answer."), KeyError("hunter2")):

        def down(error: Exception = error) -> tuple[str, ...]:
            raise error

        monkeypatch.setattr(pipeline.memory, "owners", down)
        with caplog.at_level(logging.WARNING):
            async with purging_daily(pipeline):
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


def test_closing_leaves_no_log_behind(pipeline: Pipeline, home: Path) -> None:
    with closing(pipeline.memory):
        pipeline.memory.add("ann", [NewRecord("one")])
        assert pipeline.memory.scrub()
        assert (home / "jc1.db-wal").stat().st_size == 0
