"""Files that are whole, whatever ends the process that writes them, and disks that are full.

A file appears under its name only when it is complete: it is written beside it and moved there.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jc1.errors import StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


@contextmanager
def translate_disk_full() -> Iterator[None]:
    """Raise `StorageFull` where the body finds the disk full."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if not _is_full(error):
            raise
        raise StorageFull("The disk is full: free some space, then continue the sweep with --resume.") from None


def _is_full(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL
    return error.errno in _FULL


def write_whole(path: Path, text: str) -> None:
    """Write text into a file, whole or not at all. Raises `StorageFull`."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with translate_disk_full():
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
