"""Errors of SQLite, PostgreSQL and SQLAlchemy translated into JC1's.

Knows the error codes of SQLite and PostgreSQL. Knows nothing about who asked, or for what.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jc1.errors import DatabaseCorrupt, DatabaseUnavailable, Jc1Error, StorageFull

RETRY_SECONDS = 1
"""After how long a client may come back whom others kept from the database: clients wait longer with each time."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of driver and SQLAlchemy in the body as JC1's; those that only a bug can cause pass as they are."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            raise
        raise translate(error.orig) from error
    except sqlite3.Error as error:
        raise translate(error) from error
    except PoolTimeout as error:
        raise busy("The database is too busy: try again in a moment.") from error


def translate(error: BaseException | None) -> Jc1Error:
    """Return JC1's error for a driver's; `DatabaseUnavailable` where its code says nothing more precise."""
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(getattr(error, "sqlite_errorcode", 0))
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate.startswith("53100"):  # disk_full
        return storage_full()
    if sqlstate in ("XX001", "XX002"):  # data_corrupted, index_corrupted
        return _corrupt()
    if sqlstate in ("40001", "40P01"):  # serialization_failure, deadlock_detected
        return busy("Others were writing the same rows: try again.")
    return DatabaseUnavailable("The database does not answer: see that it runs and can be reached, then try again.")


def busy(message: str) -> DatabaseUnavailable:
    """Return the error for a database that others use, which passes by itself: it says when to come back."""
    return DatabaseUnavailable(message, headers={"retry-after": str(RETRY_SECONDS)})


def storage_full() -> StorageFull:
    """Return the error for a disk, quota or limit that takes no more."""
    return StorageFull("The disk is full and takes no more: make room (or raise the quota) and try again.")


def _of_sqlite(code: int) -> Jc1Error:
    # Extended codes carry the primary one in their low byte: https://www.sqlite.org/rescode.html
    if code & 0xFF == sqlite3.SQLITE_FULL or code in (
        # A quota or a limit on file size, and no room for the shared-memory file.
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    ):
        return storage_full()
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt()
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return busy("The database is locked by another program: end it, or try again in a moment.")
    if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return DatabaseUnavailable(
            "The database cannot be opened for writing: check the file's and folder's permissions."
        )
    return DatabaseUnavailable("The database cannot be read or written: check the disk, then try again.")


def _corrupt() -> DatabaseCorrupt:
    return DatabaseCorrupt("The database is damaged: stop JC1 and restore a backup.")
