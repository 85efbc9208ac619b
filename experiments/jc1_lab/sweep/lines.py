"""Files that are whole, whatever ends the process that writes them: lines that are added, texts that are put there.

Knows how half a line is cut off, and what becomes of what the disk has no room for. Knows nothing about what the files
say.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jc1.errors import Conflict, StorageFull

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def room() -> Iterator[None]:
    """Raises `StorageFull` where the disk is."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull("The disk is full: free some space, then continue the sweep with --resume.") from None


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Put the pieces into a file, whole or not at all. Raises `StorageFull`."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with room(), beside.open("wb") as file:
            file.writelines(pieces)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(path)


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
            with room():
                if self._file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, "half a line")
        except StorageFull:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        self._file.close()
