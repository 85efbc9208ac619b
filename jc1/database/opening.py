"""Opening the database: making an SQLite file or connecting to PostgreSQL, and refusing what is not usable.

Knows SQLite's files and settings. Knows nothing about the tables or who uses them.

SQLite runs in WAL mode with `synchronous=FULL`: once a transaction is committed, its data has been handed to the disk.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from jc1.database.connection import BUSY_SECONDS, TURNS, WRITES
from jc1.database.errors import storage_full, translate, translated
from jc1.database.schema import upgrade
from jc1.database.turns import WriteTurns, other_writer
from jc1.errors import DatabaseCorrupt, DatabaseUnavailable, InvalidSettings

log = logging.getLogger(__name__)

CHECKED_BYTES = 64 * 1024 * 1024
"""Size of the largest SQLite file that is checked whole when it is opened (about 0.1 s); of a larger one, header and
schema are."""

_MAGIC = b"SQLite format 3\0"
_WAL = b"\x02\x02"  # bytes 18 and 19 of the header: https://www.sqlite.org/fileformat2.html#file_format_version_numbers


def open_database(url: str) -> Engine:
    """Open the database at a SQLAlchemy URL (`sqlite:///path` or `postgresql://...`) and bring it to the newest schema.

    A SQLite file is made with mode 0600 where there is none. A damaged one is refused and left as it is.

    Raises:
        InvalidSettings: for a URL that is not usable, a driver that is not installed, or another program's tables.
        DatabaseCorrupt: for a damaged file.
        DatabaseUnavailable: where the file cannot be opened, the server does not answer, or a newer JC1 wrote it.
        StorageFull: where the disk takes no more.
    """
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
                raise storage_full() from None
            raise DatabaseUnavailable(
                f"The database {path} cannot be opened ({error.strerror}): check the folder and its permissions."
            ) from None
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
        pool_size=8,
        max_overflow=56,
        pool_timeout=BUSY_SECONDS,
        execution_options={TURNS: WriteTurns()},
        hide_parameters=True,  # an error that is logged would quote what is stored
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _open_postgres(url: URL) -> Engine:
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_timeout=BUSY_SECONDS,
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise InvalidSettings("PostgreSQL needs its driver: pip install -e '.[postgres]' in JC1's folder.") from None


def _set_pragmas(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # deleted text is overwritten: see jc1/database/vacuum.py
    connection.create_function("lower", 1, _folded, deterministic=True)  # its own knows A to Z alone


def _folded(text: str | None) -> str | None:
    """Return the text without the case of its letters, as a search that ignores it compares them."""
    return text and text.casefold()


def _begin(connection: Connection) -> None:
    # The driver is told to leave transactions alone (isolation_level None): on its own it begins one at the first
    # write only, so that reads would not be of one moment and DDL could not be undone.
    if not connection.get_execution_options().get(WRITES, False):
        connection.exec_driver_sql("BEGIN")
        return
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            log.warning("%s keeps the database locked", other_writer(Path(str(connection.engine.url.database))))
        raise


def _prepare_file(path: Path) -> None:
    """Make sure that the file is there, sound and in WAL mode. A sound one in WAL mode is only read.

    Raises `DatabaseCorrupt`, `DatabaseUnavailable` or `OSError`.
    """
    header = _header(path)
    if header:
        _check(path, header)
    if header[18:20] != _WAL:
        with _locked(path.parent):
            # Again, under the lock: another process may have been faster.
            if _header(path)[18:20] != _WAL:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
                    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":
                    raise DatabaseUnavailable(
                        f"The file system of {path} cannot hold a shared database: use a local one."
                    )


def _header(path: Path) -> bytes:
    """Return the first 20 bytes of a file; none where it is not there."""
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
            (verdict,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(meaning := translate(error), DatabaseCorrupt):
            raise damaged from None
        raise meaning from error
    if pragma != "schema_version" and verdict != "ok":
        raise damaged


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, to make the database or switch its journal: SQLite does not wait for others there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
