"""Transactions of the database: reads of one moment, durable writes, and long writes that let others write between.

Knows how SQLite and PostgreSQL lock and isolate. Knows nothing about the tables or who uses them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, Engine

from jc1.database.errors import translated
from jc1.database.turns import WriteTurns

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.sql.schema import Table

T = TypeVar("T")
R = TypeVar("R")

BUSY_SECONDS = 10
"""Seconds that a writer waits for another one before it gives up."""
BATCH_SECONDS = 0.1
"""Seconds for which one transaction of a long write holds the lock, about."""
FIRST_BATCH, MAX_BATCH = 100, 1000
"""Items of a long write's first transaction, and of any."""
WRITES, TURNS = "jc1_writes", "jc1_turns"
"""Names of execution options: that a connection's transaction may write, and the `WriteTurns` of an engine."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose statements all see the database as it was at one moment."""
    with translated(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine, task: str = "a write") -> Iterator[Connection]:
    """Yield a connection in a transaction that may write: durable when the body ends, undone if it raises.

    SQLite has one writer at a time, so the lock is taken at the start: later it could only be refused. Errors of
    those who wait for it in vain name the `task`.

    Raises `DatabaseUnavailable`, `StorageFull` or `DatabaseCorrupt`.
    """
    with turn_to_write(engine, task), translated(), engine.connect() as connection:
        connection.execution_options(**{WRITES: True})
        with connection.begin():
            yield connection


@contextmanager
def turn_to_write(engine: Engine, task: str) -> Iterator[None]:
    """Hold the right to write to an SQLite database against the other threads of this process, while the body runs."""
    turns: WriteTurns | None = engine.get_execution_options().get(TURNS)
    with turns.take(task, BUSY_SECONDS) if turns is not None else nullcontext():
        yield


def write_in_batches(
    engine: Engine, task: str, items: Sequence[T], write: Callable[[Connection, Sequence[T]], R]
) -> list[R]:
    """Call `write` with some of the items at a time, each time in a transaction of its own, and return all its results.

    The transactions are short, and between two of them is a pause as long: in it others write, those of other processes
    too, which look for the lock every tenth of a second. What was written when a later batch fails stays.
    """
    results = []
    start, size = 0, FIRST_BATCH
    while start < len(items):
        # 1) One batch in a transaction of its own
        with writing(engine, task) as connection:
            began = time.monotonic()
            results.append(write(connection, items[start : start + size]))
        seconds = time.monotonic() - began
        # 2) The size of the next by how long this one took
        start += size
        size = max(1, min(int(size * BATCH_SECONDS / max(seconds, 1e-3)), 2 * size, MAX_BATCH))
        # 3) A pause, in which others write
        if start < len(items):
            time.sleep(min(seconds, BATCH_SECONDS))
    return results


def upsert(connection: Connection, table: Table) -> SqliteInsert | PostgresInsert:
    """Return an INSERT that knows ON CONFLICT, which both dialects spell alike but SQLAlchemy keeps apart."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
