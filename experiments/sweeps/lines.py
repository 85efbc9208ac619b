"""A file to which whole lines are added, whatever ends the process that writes it.

Knows how half a line is cut off, and what becomes of a line that the disk has no room for. Knows nothing about what
the lines say.
"""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

from jc1.errors import Conflict, StorageFull


class Lines:
    """The lines of the file at `path`, which is made where there is none. One process at a time has it open.

    Raises `Conflict` where another process has.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Conflict(
                f"Another process runs the sweep {path.parent.name!r}: wait for it, or give another --name."
            ) from None

    def read(self) -> list[bytes]:
        """The whole lines; half a line, left by a killed process, is cut off."""
        self._file.seek(0)
        found = self._file.read()
        whole = found.rfind(b"\n") + 1
        self._file.truncate(whole)
        return found[:whole].splitlines()

    def add(self, line: bytes) -> None:
        """Add a line, which ends with a line feed. Raises `StorageFull`, and adds nothing, where the disk is full."""
        end = self._file.seek(0, 2)
        try:
            written = self._file.write(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            written = 0
        if written < len(line):
            self._file.truncate(end)
            raise StorageFull("The disk is full: free some space, then continue the sweep with --resume.")

    def close(self) -> None:
        self._file.close()
