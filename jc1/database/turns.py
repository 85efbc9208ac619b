"""Turns at writing: SQLite has one writer at a time, and does not say which.

Knows the threads of this process, and on Linux which other program holds a database's lock. Knows nothing about
transactions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jc1.database.errors import busy

log = logging.getLogger(__name__)

_WRITE_LOCK = 120
"""The byte of the shared-memory file that SQLite locks for a writer: https://www.sqlite.org/walformat.html#wal_locks"""
_LOCKS = Path("/proc/locks")


class WriteTurns:
    """The writers of this process, one after another. SQLite's own waiting is a poll, which a busy writer starves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = ("", 0.0)

    @contextmanager
    def take(self, task: str, patience: float) -> Iterator[None]:
        """Wait for the turn and hold it for `task` while the body runs; errors of those who wait in vain name the task.

        Raises `DatabaseUnavailable` after `patience` seconds.
        """
        if not self._lock.acquire(timeout=patience):
            holder, began = self._holder
            seconds = time.monotonic() - began
            log.warning("%s gave up after %g s: %s has held the database for %.1f s", task, patience, holder, seconds)
            raise busy(f"The database is busy with {holder}: try again in a moment.")
        try:
            self._holder = (task, time.monotonic())
            yield
        finally:
            self._lock.release()


def other_writer(database: Path) -> str:
    """Return a phrase for the process that holds an SQLite database's write lock: "another program" where unknown."""
    try:
        inode = database.with_name(f"{database.name}-shm").stat().st_ino
        for line in _LOCKS.read_text().splitlines():
            # 12: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120
            fields = line.split()
            if fields[1] != "POSIX" or int(fields[5].rpartition(":")[2]) != inode or fields[3] != "WRITE":
                continue
            if int(fields[6]) <= _WRITE_LOCK and (fields[7] == "EOF" or int(fields[7]) >= _WRITE_LOCK):
                return f"process {fields[4]} ({Path('/proc', fields[4], 'comm').read_text().strip()})"
    except (OSError, ValueError, IndexError):
        pass
    return "another program"
