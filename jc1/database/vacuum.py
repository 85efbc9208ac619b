"""Seeing that deleted text is in no file of the database any more.

Knows what SQLite leaves behind. PostgreSQL's files are its administrator's: nothing is done about them.

`secure_delete`, which every connection sets, writes zeros over deleted rows. Copies that were left behind when pages
were split stay: VACUUM writes the file anew without them. The write-ahead log still holds the pages as they were, until
it is truncated, which waits for whoever reads.
"""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import Engine

from jc1.database.connection import translated
from jc1.errors import DatabaseUnavailable, StorageFull


def scrub(engine: Engine) -> bool:
    """Write the database's file anew and empty its log.

    False where others kept them busy for ten seconds, or the disk has no room for a second copy meanwhile.
    """
    if engine.dialect.name != "sqlite":
        return True
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            with translated():
                cursor.execute("VACUUM")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                state = cursor.fetchone()
        except (DatabaseUnavailable, StorageFull):
            return False
        return state is not None and state[0] == 0  # else somebody was in the way
