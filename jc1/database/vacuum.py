"""Removal of deleted text from the database's files, and a record of whether that is still to be done.

Knows what SQLite leaves behind, and that a rewriting is owed from a deletion until it was done, through every crash.
PostgreSQL's files are its administrator's: they are never called clean.

`secure_delete`, which every connection sets, writes zeros over deleted rows. Copies that were left behind when pages
were split stay: VACUUM writes the file anew without them. The write-ahead log still holds the pages as they were, until
it is truncated, which waits for whoever reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select

from jc1.database.connection import BUSY_SECONDS, reading, turn_to_write, writing
from jc1.database.errors import translated
from jc1.database.tables import vacuums_owed
from jc1.errors import DatabaseUnavailable, StorageFull

READERS_SECONDS = 5.0
"""Seconds for which truncating the log is tried while others read."""
TRY_SECONDS = 0.1
"""Seconds that one try waits for them: it holds the write lock meanwhile."""


def owe_vacuum(connection: Connection) -> None:
    """Store, in the transaction that deletes a text for good, that it may still stand in a file."""
    connection.execute(insert(vacuums_owed).values(since=datetime.now(UTC)))


def vacuum(engine: Engine, elsewhere: Callable[[], bool] = lambda: True) -> bool:
    """Rewrite the files if a deletion owes it, and return whether none of them holds what was deleted.

    The debt is paid when `elsewhere`, which clears the files of caches, has succeeded too. On PostgreSQL the result is
    always false: its files are its administrator's.
    """
    # Only what is owed by now is paid: a later deletion may come after the rewriting.
    with reading(engine) as connection:
        owed = connection.execute(select(func.max(vacuums_owed.c.number))).scalar()
    if owed is None:
        return engine.dialect.name == "sqlite"
    clean = elsewhere()
    if engine.dialect.name == "sqlite":
        clean = _rewrite(engine) and clean
    if clean:
        with writing(engine) as connection:
            connection.execute(delete(vacuums_owed).where(vacuums_owed.c.number <= owed))
    return clean and engine.dialect.name == "sqlite"


def _rewrite(engine: Engine) -> bool:
    """Rewrite an SQLite file, empty its log, and return whether both were done.

    False where others read or write all the while, or the disk has no space for a second copy meanwhile.
    """
    with closing(engine.raw_connection()) as connection:
        cursor: Any = connection.cursor()
        try:
            # Before the file is copied into the log, so that a reader who stays does not make it grow at every try.
            if not _truncate(engine, cursor):
                return False
            with turn_to_write(engine, "a vacuum"), translated():
                cursor.execute("VACUUM")
            return _truncate(engine, cursor)
        except (DatabaseUnavailable, StorageFull):
            return False


def _truncate(engine: Engine, cursor: Any) -> bool:
    """Move the log into the file and empty it, and return whether that was done within `READERS_SECONDS`.

    SQLite reports it as busy while anybody reads an older state.
    """
    cursor.execute(f"PRAGMA busy_timeout = {1000 * TRY_SECONDS:.0f}")
    try:
        end = time.monotonic() + READERS_SECONDS
        while True:
            with turn_to_write(engine, "a checkpoint"), translated():
                # (busy, pages in the log, pages moved): https://www.sqlite.org/pragma.html#pragma_wal_checkpoint
                if cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0):
                    return True
            if time.monotonic() > end:
                return False
            time.sleep(2 * TRY_SECONDS)
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")
