"""Who writes: threads take turns, long writes leave room for others, and who waits in vain is told for whom."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from jc1.database import connection as transactions
from jc1.database import opening, reading, writing
from jc1.database.connection import MAX_BATCH, write_in_batches
from jc1.database.tables import owners
from jc1.errors import DatabaseUnavailable
from tests.support.database import new_database


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One that waits for nobody: neither for its own threads nor for other connections."""
    monkeypatch.setattr(transactions, "BUSY_SECONDS", 0)
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0)
    engine = new_database(tmp_path / "jc1.db")
    yield engine
    engine.dispose()


def add(connection: Connection, names: Sequence[str]) -> int:
    connection.execute(insert(owners), [{"owner": name, "version": 1} for name in names])
    return len(names)


def stored(database: Engine) -> int:
    with reading(database) as connection:
        return connection.execute(select(func.count()).select_from(owners)).scalar_one()


def test_who_waits_in_vain_is_told_what_the_database_is_busy_with(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(database, "an import"):
            begun.set()
            end.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(60)
    with (
        pytest.raises(DatabaseUnavailable, match="busy with an import") as error,
        writing(database, "storing a turn"),
    ):
        pass
    assert error.value.headers == {"retry-after": "1"}
    end.set()
    holder.join()
    (warning,) = caplog.messages
    assert warning.startswith("storing a turn gave up after 0 s: an import has held the database for")
    with writing(database) as connection:
        add(connection, ["ann"])


def test_the_log_names_the_process_that_keeps_the_database_locked(
    database: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked by another program") as error, writing(database):
            pass
        assert error.value.headers == {"retry-after": "1"}
    (warning,) = caplog.messages
    assert warning.startswith(f"process {os.getpid()} (")


def test_a_long_write_lets_others_write_after_each_of_its_short_transactions(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    seen: list[int] = []

    def meanwhile(seconds: float) -> None:
        seen.append(stored(database) - len(others))
        with writing(database) as connection:
            others.append(f"other {len(others)}")
            add(connection, others[-1:])

    monkeypatch.setattr(time, "sleep", meanwhile)
    names = [f"owner {number}" for number in range(5000)]
    sizes = write_in_batches(database, "an import", names, add)
    assert sum(sizes) == 5000
    assert max(sizes) <= MAX_BATCH
    assert seen == [sum(sizes[: n + 1]) for n in range(len(sizes) - 1)]
    assert len(others) >= 5


def test_a_slow_long_write_holds_the_lock_for_less_at_a_time(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def slow(connection: Connection, names: Sequence[str]) -> int:
        nonlocal now
        now += len(names) / 64
        return len(names)

    assert write_in_batches(database, "an import", ["x"] * 118, slow) == [100, 6, 6, 6]


def test_what_a_long_write_has_stored_stays_when_a_later_part_fails(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "MAX_BATCH", 100)

    def fails_late(connection: Connection, names: Sequence[str]) -> None:
        add(connection, names)
        if "owner 150" in names:
            raise KeyError

    with pytest.raises(KeyError):
        write_in_batches(database, "an import", [f"owner {number}" for number in range(300)], fails_late)
    assert stored(database) == 100
