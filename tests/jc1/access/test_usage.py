"""What was asked is counted once, stored soon, and found again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from jc1.access.usage import Usage
from jc1.database.usage import UsageRepository
from jc1.errors import DatabaseUnavailable
from tests.support.database import new_database


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 12, 1, 23, 59, 50, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    made = new_database(tmp_path / "jc1.db")
    yield made
    made.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_counts_add_up_by_key_model_and_day_and_outlive_the_process(database: Engine, clock: Clock) -> None:
    usage = Usage(UsageRepository(database), clock=clock)
    usage.record("k1", "tiny", requests=1, prompt_tokens=10, completion_tokens=5)
    usage.record("k1", "tiny", requests=1, prompt_tokens=3)
    usage.record("k2", "tiny", refused=1)
    usage.close()
    clock.now += timedelta(seconds=20)
    again = Usage(UsageRepository(database), clock=clock)
    again.record("k1", "tiny", requests=1, completion_tokens=2)
    rows = again.list(2)
    again.close()
    assert [(str(row["day"]), row["key"], row["requests"], row["prompt_tokens"]) for row in rows] == [
        ("2026-12-02", "k1", 1, 0),
        ("2026-12-01", "k1", 2, 13),
        ("2026-12-01", "k2", 0, 0),
    ]
    assert (rows[1]["completion_tokens"], rows[2]["refused"]) == (5, 1)
    assert again.list(1, "k1") == rows[:1]


async def test_the_tokens_of_a_day_are_those_of_every_process_and_begin_anew_at_midnight(
    database: Engine, clock: Clock
) -> None:
    here, there = (Usage(UsageRepository(database), clock=clock) for _ in range(2))
    here.record("k", "tiny", prompt_tokens=10)
    assert await here.tokens_today("k") == 10
    here.record("k", "other", completion_tokens=1)
    assert await here.tokens_today("k") == 11
    there.record("k", "tiny", prompt_tokens=100)
    there.flush()
    clock.now += timedelta(seconds=5)
    assert await here.tokens_today("k") == 111
    assert await here.tokens_today("other") == 0
    clock.now += timedelta(seconds=5)
    assert await here.tokens_today("k") == 0
    here.close()
    there.close()


async def test_what_cannot_be_stored_is_kept_until_it_can_and_told_once(
    database: Engine, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = UsageRepository(database)

    def refuse(_: object) -> None:
        raise DatabaseUnavailable("The database does not answer.")

    usage = Usage(rows, clock=clock)
    with monkeypatch.context() as broken:
        broken.setattr(rows, "add", refuse)
        for _ in range(3):
            usage.record("k", "tiny", requests=1)
            usage.flush()
    assert len(caplog.records) == 1
    usage.close()
    assert [row["requests"] for row in usage.list(1)] == [3]


async def test_it_is_stored_without_being_asked(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.access.usage.FLUSH_SECONDS", 0.0)
    usage = Usage(UsageRepository(database))
    usage.record("k", "tiny", requests=1)
    usage._writer.submit(lambda: None).result()  # stands behind the flush
    assert UsageRepository(database).list(datetime.now(UTC).date() - timedelta(days=1), None)
    usage.close()
