"""Opening the database, its transactions, and its errors in JC1's own words.

Knows SQLite's and PostgreSQL's ways. Knows nothing about the tables or who uses them.

SQLite runs in WAL mode with `synchronous=FULL`: once a transaction is committed, its data has been handed to the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jc1.errors import DatabaseCorrupt, DatabaseUnavailable, InvalidSettings, Jc1Error, StorageFull

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.sql.schema import Table

BUSY_SECONDS = 10
"""How long a writer waits for another one before it gives up."""
CHECKED_BYTES = 64 * 1024 * 1024
"""Largest SQLite file that is read through when it is opened (about 0.1 s); of a larger one, header and schema are."""

_MAGIC = b"SQLite format 3\0"
_WAL = b"\x02\x02"  # bytes 18 and 19 of the header: https://www.sqlite.org/fileformat2.html#file_format_version_numbers


def open_database(url: str) -> Engine:
    """The database at a SQLAlchemy URL (`sqlite:///path` or `postgresql://...`), brought to the newest schema.

    A SQLite file is made with mode 0600 where there is none. A damaged one is refused and left as it is.

    Raises `InvalidSettings` for a URL that is not usable, `DatabaseCorrupt`, `DatabaseUnavailable`, `StorageFull`.
    """
    from jc1.database.schema import upgrade

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidSettings("The database's URL cannot be read: write sqlite:///path or postgresql://...") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = _open_sqlite(parsed)
    elif backend == "postgresql":
        engine = _open_postgres(parsed)
    else:
        raise InvalidSettings(f"JC1 keeps its data in sqlite or postgresql, not in {backend!r}: change the URL.")
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection whose statements all see the database as it was at one moment."""
    with translated(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that may write: committed, and durable, when the body ends; undone if it raises.

    SQLite has one writer at a time, so the lock is taken at the start: later it could only be refused.
    """
    with translated(), engine.connect() as connection:
        connection.execution_options(jc1_writes=True)
        with connection.begin():
            yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn the errors of driver and SQLAlchemy into JC1's; those that only a bug can cause pass as they are."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            raise
        raise _meaning(error.orig) from error
    except sqlite3.Error as error:
        raise _meaning(error) from error
    except PoolTimeout as error:
        raise DatabaseUnavailable("The database is too busy: try again in a moment.") from error


def upsert(connection: Connection, table: Table) -> SqliteInsert | PostgresInsert:
    """An INSERT that knows ON CONFLICT, which both dialects spell alike but SQLAlchemy keeps apart."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise InvalidSettings(
            "The SQLite database needs a file: write sqlite:///path (four slashes for an absolute one)."
        )
    path = Path(url.database)
    with translated():
        try:
            _prepare_file(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _full() from None
            raise DatabaseUnavailable(
                f"The database {path} cannot be opened ({error.strerror}): check the folder and its permissions."
            ) from None
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
        pool_size=8,
        max_overflow=56,
        pool_timeout=BUSY_SECONDS,
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _open_postgres(url: URL) -> Engine:
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_timeout=BUSY_SECONDS)
    except ModuleNotFoundError:
        raise InvalidSettings("PostgreSQL needs its driver: pip install -e '.[postgres]' in JC1's folder.") from None


def _set_pragmas(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: Connection) -> None:
    # The driver is told to leave transactions alone (isolation_level None): on its own it begins one at the first
    # write only, so that reads would not be of one moment and DDL could not be undone.
    writes = connection.get_execution_options().get("jc1_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_file(path: Path) -> None:
    """See that the file is there, sound and in WAL mode. A sound one in WAL mode is only read."""
    header = _header(path)
    if header:
        _check(path, header)
    if header[18:20] != _WAL:
        with _locked(path.parent):
            if _header(path)[18:20] != _WAL:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":
                    raise DatabaseUnavailable(
                        f"The file system of {path} cannot hold a shared database: use a local one."
                    )


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(20)
    except FileNotFoundError:
        return b""


def _check(path: Path, header: bytes) -> None:
    """Raise `DatabaseCorrupt` for a damaged file, through a connection that cannot write."""
    damaged = DatabaseCorrupt(
        f"The database {path} is damaged and was left as it is: restore a backup, or move it away to start anew."
    )
    if not header.startswith(_MAGIC):
        raise damaged
    pragma = "quick_check(1)" if path.stat().st_size <= CHECKED_BYTES else "schema_version"
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        ) as connection:
            (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(meaning := _meaning(error), DatabaseCorrupt):
            raise damaged from None
        raise meaning from error
    if pragma != "schema_version" and found != "ok":
        raise damaged


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time makes the database or switches its journal: SQLite does not wait there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _meaning(error: BaseException | None) -> Jc1Error:
    if isinstance(error, sqlite3.Error):
        return _sqlite_meaning(getattr(error, "sqlite_errorcode", 0))
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate.startswith("53100"):
        return _full()
    if sqlstate in ("XX001", "XX002"):
        return _corrupt()
    if sqlstate in ("40001", "40P01"):
        return DatabaseUnavailable("Others were writing the same rows: try again.")
    return DatabaseUnavailable("The database does not answer: see that it runs and can be reached, then try again.")


def _sqlite_meaning(code: int) -> Jc1Error:
    # Extended codes carry the primary one in their low byte: https://www.sqlite.org/rescode.html
    if code & 0xFF == sqlite3.SQLITE_FULL or code in (
        # A quota or a limit on file size, and no room for the shared-memory file.
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    ):
        return _full()
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt()
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DatabaseUnavailable("The database is locked by another program: end it, or try again in a moment.")
    if code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return DatabaseUnavailable(
            "The database cannot be opened for writing: check the file's and folder's permissions."
        )
    return DatabaseUnavailable("The database cannot be read or written: check the disk, then try again.")


def _full() -> StorageFull:
    return StorageFull("The disk is full, so nothing was stored: make room (or raise the quota) and try again.")


def _corrupt() -> DatabaseCorrupt:
    return DatabaseCorrupt("The database is damaged: stop JC1 and restore a backup.")
